#include "data/dataset.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/warn.h"
#include "data/dataset_format.h"
#include "data/decode.h"
#include "data/part.h"

const char dataset_formats[] = "auto|cifar10|cifar100|idx|folder|tar|frames|shapes|series";
static const struct dataset_format *const formats[] = {
    &dataset_shapes, &dataset_series, &dataset_cifar10, &dataset_cifar100,
    &dataset_idx,    &dataset_frames, &dataset_tar,     &dataset_folder,
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* What is known of a set in sequence: its samples, if they fit; if not, those that were read before
 * that was known, of a set that cannot begin again. */
struct held {
    struct sample *samples;
    int64_t n, capacity, bytes;
    struct arranged *list; /* of samples, where the set has a layout */
    int64_t n_list;
    bool stream;
    int64_t next;      /* of a stream: the first of samples that was not handed on */
    bool reported;     /* its damage was told in an earlier pass */
    enum part as_test; /* of a stream that comes once: what the first test image lay in */
    int64_t images;    /* of such a stream, read so far */
    char split[16];
};

/* ---- opening ---- */

static const struct dataset_format *choose(const char *path, const char *format)
{
    const bool look = strcmp(format, "auto") == 0;
    for (int i = 0; i < N_FORMATS; i++)
        if (look ? formats[i]->recognize(path) : strcmp(formats[i]->name, format) == 0)
            return formats[i];
    struct stat st;
    if (!look)
        return fail_null("unknown format '%s' (there are %s)", format, dataset_formats);
    if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        return fail_null("%s: %s", path, strerror(errno));
    return fail_null("%s: no folder, archive, IDX file or frames (--format %s)", path,
                     dataset_formats);
}

bool dataset_holds_series(const char *path, const char *format)
{
    return strcmp(format, dataset_series.name) == 0 ||
           (strcmp(format, "auto") == 0 && dataset_series.recognize(path));
}

static int64_t bytes_of(const struct sample *s)
{
    return (int64_t)(sizeof *s + s->capacity + (s->text ? strlen(s->text) + 32 : 0));
}

static int add_sample(struct held *h, struct sample *s)
{
    struct sample *grown = grow(h->samples, h->n, &h->capacity, sizeof *grown);
    if (!grown)
        return sample_fail(s, "out of memory");
    h->samples = grown;
    h->samples[h->n++] = *s;
    h->bytes += bytes_of(s);
    *s = (struct sample){0};
    return 0;
}

static void forget_samples(struct held *h)
{
    for (int64_t i = h->next; i < h->n; i++)
        sample_free(&h->samples[i]);
    free(h->samples);
    h->samples = NULL;
    h->n = h->capacity = h->bytes = h->next = 0;
}

int dataset_archive_broken(const struct dataset *set)
{
    return set->held && set->held->reported ? 0 : read_errors_add_archive(set->errors);
}

int dataset_bad_label(struct dataset *set)
{
    return read_errors_add_label(set->errors, set->bad_labels++);
}

/* Takes note of an image's size, of which its header tells. */
static void look(struct dataset *set, const struct sample *s)
{
    int width = s->width, height = s->height;
    struct decoder *d = width ? NULL : decoder_new();
    if (d && decode_start(d, s, false, &width, &height))
        width = 0;
    decoder_free(d);
    size_sample_add(&set->sizes, width, height);
}

/* The same of a stream's next image, if its turn has come. */
static void pass(struct dataset *set, const struct sample *s)
{
    if (!set->look)
        return;
    if (size_sample_wants(&set->sizes))
        look(set, s);
    else
        size_sample_skip(&set->sizes);
}

/* ---- parts and classes ---- */

int dataset_fail_empty(struct dataset *set)
{
    char text[IGNORED_TEXT];
    ignored_text(&set->ignored, text);
    return fail("%s: no PNG or JPEG file in it%s%s%s", set->name, *text ? " (" : "", text,
                *text ? ")" : "");
}

void dataset_report_ignored(struct dataset *set)
{
    if (!set->told)
        ignored_report(&set->ignored, set->name);
    set->told = true;
}

bool dataset_accept_image(struct dataset *set, enum layout_place found)
{
    static const char *const kinds[] = {
        [LAYOUT_BESIDE_CLASSES] = "images beside the folders of classes",
        [LAYOUT_BESIDE_PARTS] = "images beside the parts",
        [LAYOUT_UNLISTED] = "images that val_annotations.txt does not list",
    };
    if (found != LAYOUT_IN_PART && found != LAYOUT_OTHER_PART)
        ignored_add(&set->ignored, kinds[found], 1);
    return found == LAYOUT_IN_PART;
}

/* Names of classes are known once the layout is. */
static void take_classes(struct dataset *set, int64_t largest)
{
    int n;
    const char *const *names = layout_class_names(set->layout, &n);
    if (set->labelled) {
        set->classes = (int)(largest + 1);
        return;
    }
    set->class_names = names;
    set->classes = n;
}

static int settle(struct dataset *set, const struct dataset_options *options)
{
    if (set->bad_labels && read_errors_check_labels(set->errors, set->count + set->bad_labels))
        return -1;
    return layout_settle(set->layout, set->name, options->split, options->hold);
}

/* Moves what is shown, of the part, into a list. */
static int keep_shown(struct dataset *set, const struct tar_item *items, const int64_t *labels,
                      struct tar_image *shown, int64_t n, struct arranged *list, int64_t *n_list)
{
    int64_t unlabelled = 0;
    *n_list = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *path = shown[i].path ? shown[i].path : items[shown[i].item].path;
        int64_t label;
        if (!dataset_accept_image(set, layout_find(set->layout, path, &label)))
            continue;
        if (set->labelled)
            label = labels[shown[i].path ? shown[i].source : shown[i].item];
        unlabelled += label < 0;
        char *copy = shown[i].path ? shown[i].path : strdup(path);
        if (!copy)
            return fail_memory(set->name);
        shown[i].path = NULL;
        list[(*n_list)++] = (struct arranged){shown[i].source, copy, label};
    }
    if (set->labelled && unlabelled)
        warn_line("%s: %lld of %lld images have no label (a .cls beside them)", set->name,
                  (long long)unlabelled, (long long)*n_list);
    return 0;
}

int dataset_arrange(struct dataset *set, const struct dataset_options *options,
                    const struct tar_item *items, const int64_t *labels, int64_t n,
                    struct arranged **list, int64_t *n_list)
{
    struct tar_image *shown = NULL;
    int64_t n_shown = 0, lost = 0, largest = -1;
    *n_list = 0;
    int result = tar_links_follow(items, n, &shown, &n_shown, &lost);
    if (result)
        fail_prefix("%s", set->name);
    ignored_add(&set->ignored, "links that lead nowhere", lost);
    for (int64_t i = 0; i < n_shown && result == 0; i++)
        result = layout_add_image(set->layout,
                                  shown[i].path ? shown[i].path : items[shown[i].item].path);
    for (int64_t i = 0; i < n; i++)
        largest = labels[i] > largest ? labels[i] : largest;
    set->count = n_shown;
    if (result == 0)
        result = n_shown ? settle(set, options) : dataset_fail_empty(set);
    *list = result == 0 ? calloc((size_t)n_shown + 1, sizeof **list) : NULL;
    if (result == 0)
        result = *list ? keep_shown(set, items, labels, shown, n_shown, *list, n_list)
                       : fail_memory(set->name);
    tar_links_free(shown, n_shown);
    if (result == 0 && *n_list == 0)
        result = dataset_fail_empty(set);
    if (result) {
        dataset_arranged_free(*list, *n_list);
        *list = NULL;
        *n_list = 0;
        return -1;
    }
    take_classes(set, largest);
    return 0;
}

void dataset_arranged_free(struct arranged *list, int64_t n)
{
    for (int64_t i = 0; list && i < n; i++)
        free(list[i].path);
    free(list);
}

/* ---- sets in sequence ---- */

/* Adds an image of a stream to the layout; its links show nothing, for what they lead to has gone
 * by. */
static int count_image(struct dataset *set, const struct sample *s)
{
    if (set->layout && s->link) {
        ignored_add(&set->ignored, "links, which a stream cannot follow", 1);
        return 0;
    }
    set->count++;
    pass(set, s);
    if (s->label >= set->classes)
        set->classes = (int)s->label + 1;
    return set->layout ? layout_add_image(set->layout, s->text) : 0;
}

/* Counts the rest of what does not fit, and begins again. */
static int count_stream(struct dataset *set, const struct dataset_options *options,
                        struct sample *s)
{
    struct held *h = set->held;
    int result = 0;
    set->count = 0;
    for (int64_t i = 0; i < h->n && result == 0; i++)
        result = count_image(set, &h->samples[i]);
    while (result == 0 && (result = set->format->next(set, s)) > 0)
        result = count_image(set, s);
    forget_samples(h);
    h->reported = true;
    if (result < 0)
        return -1;
    if (set->layout) {
        if (settle(set, options))
            return -1;
        const struct layout_counts counts = layout_count(set->layout);
        ignored_add(&set->ignored, "images beside the folders of classes", counts.beside_classes);
        ignored_add(&set->ignored, "images beside the parts", counts.beside_parts);
        set->count = counts.here;
        take_classes(set, set->classes - 1);
    }
    return dataset_rewind(set);
}

/* Arranges what is held of an archive. */
static int arrange_held(struct dataset *set, const struct dataset_options *options)
{
    struct held *h = set->held;
    struct tar_item *items = calloc((size_t)h->n + 1, sizeof *items);
    int64_t *labels = calloc((size_t)h->n + 1, sizeof *labels), archive = 0;
    int result = items && labels ? 0 : fail_memory(set->name);
    for (int64_t i = 0; i < h->n && result == 0; i++) {
        const struct sample *s = &h->samples[i];
        archive += i && s->file != h->samples[i - 1].file;
        items[i] = (struct tar_item){s->text, s->link, archive};
        labels[i] = s->label;
    }
    if (result == 0)
        result = dataset_arrange(set, options, items, labels, h->n, &h->list, &h->n_list);
    free(items);
    free(labels);
    set->count = h->n_list;
    return result;
}

/* Makes what was read one set: as many images as there are, with their labels. */
static int settle_held(struct dataset *set, const struct dataset_options *options)
{
    struct held *h = set->held;
    set->count = h->n;
    if (set->layout)
        return arrange_held(set, options);
    for (int64_t i = 0; i < h->n; i++)
        if (h->samples[i].label >= set->classes)
            set->classes = (int)h->samples[i].label + 1;
    return 0;
}

/* Reads a set in sequence into memory; if it turns out larger than the budget, makes a stream of
 * it. */
static int hold(struct dataset *set, const struct dataset_options *options, int64_t budget)
{
    struct held *h = set->held;
    struct sample s = {0};
    int result = 0;
    while (h->bytes <= budget && (result = set->format->next(set, &s)) > 0) {
        if (add_sample(h, &s)) {
            result = -1;
            break;
        }
    }
    h->stream = h->bytes > budget;
    snprintf(h->split, sizeof h->split, "%s", options->split);
    if (result >= 0 && !h->stream)
        result = settle_held(set, options);
    else if (result >= 0 && set->rewinds)
        result = count_stream(set, options, &s);
    else {
        set->count = -1;
        for (int64_t i = 0; i < h->n; i++)
            pass(set, &h->samples[i]);
    }
    sample_free(&s);
    return result < 0 ? -1 : 0;
}

static void look_at_sample(struct dataset *set)
{
    struct sample s = {0};
    int64_t stride = 1;
    while ((set->count - 1) / stride >= SIZE_SAMPLE_IMAGES)
        stride *= 2;
    for (int64_t i = 0; i < set->count; i += stride) {
        if (dataset_get(set, i, &s) == 0)
            look(set, &s);
        else
            size_sample_add(&set->sizes, 0, 0);
    }
    sample_free(&s);
}

static int open_set(struct dataset *set, const struct dataset_options *options, int64_t budget)
{
    if (set->format->open(set, options))
        return -1;
    set->sizes = (struct size_sample){.stride = 1};
    set->look = !options->size && !set->native_size;
    if (set->in_sequence) {
        set->held = calloc(1, sizeof *set->held);
        if (!set->held)
            return fail_memory(options->path);
        if (hold(set, options, budget))
            return -1;
        if (set->count == 0)
            return fail("%s: no image in it", options->path);
    }
    if (set->look && !dataset_is_stream(set))
        look_at_sample(set);
    return 0;
}

struct dataset *dataset_open(const struct dataset_options *options, struct read_errors *errors)
{
    const char *path = options->path;
    const struct dataset_format *f = choose(path, options->format);
    if (!f)
        return NULL;
    struct dataset *set = calloc(1, sizeof *set);
    if (!set) {
        fail_memory(path);
        return NULL;
    }
    set->format = f;
    set->errors = errors;
    set->name = strdup(strcmp(path, "-") == 0 ? "stdin" : *path ? path : options->format);
    if (!set->name)
        fail_memory(path);
    if (!set->name || open_set(set, options, options->budget)) {
        dataset_close(set);
        return NULL;
    }
    return set;
}

void dataset_close(struct dataset *set)
{
    if (!set)
        return;
    if (set->held) {
        forget_samples(set->held);
        dataset_arranged_free(set->held->list, set->held->n_list);
        free(set->held);
    }
    set->format->close(set);
    layout_free(set->layout);
    free(set->name);
    free(set);
}

/* ---- what is known ---- */

bool dataset_is_stream(const struct dataset *set)
{
    return set->held && set->held->stream;
}

int64_t dataset_count(const struct dataset *set)
{
    return set->count;
}

int dataset_classes(const struct dataset *set)
{
    return set->classes;
}

const char *const *dataset_class_names(const struct dataset *set)
{
    return set->class_names;
}

int dataset_channels(const struct dataset *set)
{
    return set->channels;
}

int dataset_native_size(const struct dataset *set, int *agree, int *looked_at)
{
    const int most = size_sample_most(&set->sizes, agree, looked_at);
    return set->native_size ? set->native_size : most;
}

int64_t dataset_bytes_held(const struct dataset *set)
{
    return set->held ? set->held->bytes : 0;
}

bool dataset_is_costly(const struct dataset *set)
{
    return set->costly;
}

/* ---- images ---- */

int dataset_get(const struct dataset *set, int64_t i, struct sample *s)
{
    assert(i >= 0 && i < set->count);
    const struct held *h = set->held;
    if (!h)
        return set->format->get(set, i, s);
    assert(!h->stream);
    sample_borrow(s, &h->samples[h->list ? h->list[i].source : i]);
    if (h->list) {
        s->member = h->list[i].path;
        s->label = h->list[i].label;
    }
    return 0;
}

int64_t dataset_label(const struct dataset *set, int64_t i)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    const struct held *h = set->held;
    if (!h)
        return set->format->label(set, i);
    return h->list ? h->list[i].label : h->samples[i].label;
}

const char *dataset_image_name(const struct dataset *set, int64_t i)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    const struct held *h = set->held;
    if (h)
        return h->list ? layout_name(set->layout, h->list[i].path) : NULL;
    return set->format->name_of ? set->format->name_of(set, i) : NULL;
}

/* Of a stream that comes once, parts are told by an image's own path, since nothing is known of
 * what is still to come. 1: it belongs to the split; 0; -1 with a message. */
static int is_of_split(struct dataset *set, const char *path)
{
    struct held *h = set->held;
    enum part part = PART_NONE;
    for (const char *slash; part == PART_NONE && (slash = strchr(path, '/')); path = slash + 1)
        part = part_named(path, (size_t)(slash - path));
    if (strcmp(h->split, "train") == 0)
        return part == PART_NONE || part == PART_TRAIN;
    if (strcmp(h->split, "unlabeled") == 0)
        return part == PART_UNLABELED;
    if (part != PART_TEST && part != PART_VALIDATION)
        return 0;
    if (h->as_test != PART_NONE && part != h->as_test)
        return fail("%s: both a test and a validation part, in a stream that comes once: a file is "
                    "needed",
                    set->name);
    h->as_test = part;
    return 1;
}

/* Does a stream's next image belong to the split? Sets its label. 1, 0, or -1 with a message. */
static int accept(struct dataset *set, struct sample *s)
{
    int64_t label;
    if (!set->layout)
        return 1;
    if (set->count < 0) {
        set->held->images++;
        if (set->bad_labels &&
            read_errors_check_labels(set->errors, set->held->images + set->bad_labels))
            return -1;
        if (!s->link)
            return is_of_split(set, s->text);
        ignored_add(&set->ignored, "links, which a stream cannot follow", 1);
        return 0;
    }
    if (s->link)
        return 0;
    const enum layout_place found = layout_find(set->layout, s->text, &label);
    if (found == LAYOUT_UNLISTED)
        return sample_fail(s, "val_annotations.txt does not list it");
    if (!set->labelled)
        s->label = label;
    return found == LAYOUT_IN_PART;
}

/* The next sample of a stream, of any part. */
static int next_of_all(struct dataset *set, struct sample *s)
{
    struct held *h = set->held;
    if (h->next == h->n)
        return set->format->next(set, s);
    sample_free(s);
    *s = h->samples[h->next++];
    if (h->next == h->n)
        forget_samples(h);
    return 1;
}

int dataset_next(struct dataset *set, struct sample *s)
{
    assert(dataset_is_stream(set));
    for (;;) {
        const int result = next_of_all(set, s);
        const int accepted = result > 0 ? accept(set, s) : result;
        if (result <= 0 || accepted != 0)
            return accepted;
    }
}

int dataset_rewind(struct dataset *set)
{
    set->bad_labels = 0;
    return set->rewinds ? set->format->rewind(set)
                        : fail("what came in sequence cannot begin again");
}
