#include "data/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/warn.h"
#include "data/archive_images.h"
#include "data/part.h"
#include "data/read_errors.h"

struct sequence {
    /* The samples in memory: all of them if they fit, else the first ones of a stream that comes
     * once. */
    struct sample *samples;
    int64_t n, capacity, bytes;
    struct archive_images images; /* which of the samples are images, if the set has a layout */
    /* For a stream. */
    bool is_stream;
    int64_t next;  /* the first of the samples that has not been returned */
    int64_t given; /* number of images of the split that the options give; 0: none */
    int64_t taken; /* number of images of the split that were returned in this pass */
    bool warned;   /* that folders give no labels */
    /* For a stream that is not read beforehand. */
    char split[16];
    enum part test_part; /* the part of the first test image: PART_TEST or PART_VALIDATION */
    int64_t seen;        /* number of images and links that were read */
};

bool sequence_is_stream(const struct sequence *q)
{
    return q->is_stream;
}

bool sequence_count_is_given(const struct sequence *q)
{
    return q->is_stream && q->given;
}

int64_t sequence_bytes(const struct sequence *q)
{
    return q->bytes;
}

/* ---- samples that are held ---- */

static int64_t bytes_of(const struct sample *s)
{
    return (int64_t)(sizeof *s + s->capacity + (s->text ? strlen(s->text) + 32 : 0));
}

/* Takes over the sample and leaves *s as {0}. */
static int add_sample(struct sequence *q, struct sample *s)
{
    struct sample *grown = grow(q->samples, q->n, &q->capacity, sizeof *grown);
    if (!grown)
        return sample_fail(s, "out of memory");
    q->samples = grown;
    q->samples[q->n++] = *s;
    q->bytes += bytes_of(s);
    *s = (struct sample){0};
    return 0;
}

static void free_samples(struct sequence *q)
{
    for (int64_t i = q->next; i < q->n; i++)
        sample_free(&q->samples[i]);
    free(q->samples);
    q->samples = NULL;
    q->n = q->capacity = q->bytes = q->next = 0;
}

void sequence_rewind(struct dataset *set)
{
    struct sequence *q = set->sequence;
    if (!q || !q->is_stream)
        return;
    free_samples(q);
    q->taken = q->seen = 0;
    set->damage_reported |= q->given > 0;
}

void sequence_get(const struct sequence *q, int64_t i, struct sample *s)
{
    const struct archive_image *image = q->images.list ? &q->images.list[i] : NULL;
    sample_borrow(s, &q->samples[image ? image->source : i]);
    if (image) {
        s->member = image->path;
        s->label = image->label;
    }
}

int64_t sequence_label(const struct sequence *q, int64_t i)
{
    return q->images.list ? q->images.list[i].label : q->samples[i].label;
}

const char *sequence_image_name(const struct dataset *set, int64_t i)
{
    const struct archive_images *images = &set->sequence->images;
    return images->list ? layout_name(set->layout, images->list[i].path) : NULL;
}

/* ---- opening ---- */

/* Counts an image of a stream and adds it to the layout. Links in a stream are lost, since the
 * images that they lead to have passed. */
static int count_image(struct dataset *set, const struct sample *s)
{
    if (set->layout && s->link) {
        ignored_add(&set->ignored, "links, which a stream cannot follow", 1);
        return 0;
    }
    set->count++;
    dataset_offer_size(set, s);
    if (s->label >= set->classes)
        set->classes = (int)s->label + 1;
    return set->layout ? layout_add_image(set->layout, s->text) : 0;
}

/* Counts the samples in memory and all samples after them. */
static int count_images(struct dataset *set, struct sample *s)
{
    const struct sequence *q = set->sequence;
    set->count = 0;
    for (int64_t i = 0; i < q->n; i++)
        if (count_image(set, &q->samples[i]))
            return -1;
    enum dataset_result result;
    while ((result = set->format->next(set, s)) == DATASET_SAMPLE)
        if (count_image(set, s))
            return -1;
    return result == DATASET_END ? 0 : -1;
}

/* Reads a set that does not fit to its end, and begins it again as a stream. */
static int open_stream(struct dataset *set, const struct dataset_options *options, struct sample *s)
{
    if (count_images(set, s))
        return -1;
    free_samples(set->sequence);
    set->damage_reported = true;
    if (set->layout) {
        if (archive_images_settle(set, options, set->classes - 1))
            return -1;
        const struct layout_counts counts = layout_count(set->layout);
        ignored_add(&set->ignored, "images beside the folders of classes", counts.beside_classes);
        ignored_add(&set->ignored, "images beside the parts", counts.beside_parts);
        set->count = counts.in_part;
    }
    return dataset_rewind(set);
}

/* Begins a stream from a set that does not fit, and can be read only once or need not be
 * counted. */
static void open_stream_unread(struct dataset *set)
{
    const struct sequence *q = set->sequence;
    set->count = q->given ? q->given : -1;
    for (int64_t i = 0; i < q->n; i++)
        dataset_offer_size(set, &q->samples[i]);
}

/* Finds the images of the split among the samples of an archive that is in memory. */
static int select_images(struct dataset *set, const struct dataset_options *options)
{
    struct sequence *q = set->sequence;
    struct tar_item *items = calloc((size_t)q->n + 1, sizeof *items);
    int64_t *labels = calloc((size_t)q->n + 1, sizeof *labels), archive = 0;
    int result = items && labels ? 0 : fail_memory(set->name);
    for (int64_t i = 0; i < q->n && result == 0; i++) {
        const struct sample *s = &q->samples[i];
        archive += i && s->file != q->samples[i - 1].file;
        items[i] = (struct tar_item){s->text, s->link, archive};
        labels[i] = s->label;
    }
    if (result == 0)
        result = archive_images_select(set, options, items, labels, q->n, &q->images);
    free(items);
    free(labels);
    set->count = q->images.n;
    return result;
}

/* Indexes a set that fits into memory. */
static int open_held(struct dataset *set, const struct dataset_options *options)
{
    const struct sequence *q = set->sequence;
    if (set->layout)
        return select_images(set, options);
    set->count = q->n;
    for (int64_t i = 0; i < q->n; i++)
        if (q->samples[i].label >= set->classes)
            set->classes = (int)q->samples[i].label + 1;
    return 0;
}

/* Reads samples until they exceed the budget or the set ends. */
static int fill(struct dataset *set, int64_t budget, struct sample *s)
{
    struct sequence *q = set->sequence;
    while (q->bytes <= budget) {
        const enum dataset_result result = set->format->next(set, s);
        if (result != DATASET_SAMPLE)
            return result == DATASET_END ? 0 : -1;
        if (add_sample(q, s))
            return -1;
    }
    q->is_stream = true;
    return 0;
}

int sequence_open(struct dataset *set, const struct dataset_options *options)
{
    struct sequence *q = set->sequence = calloc(1, sizeof *q);
    if (!q)
        return fail_memory(options->path);
    snprintf(q->split, sizeof q->split, "%s", options->split);
    q->given = options->count;
    struct sample s = {0};
    int result = fill(set, options->budget, &s);
    if (result == 0) {
        if (!q->is_stream)
            result = open_held(set, options);
        else if (set->rewinds && !q->given)
            result = open_stream(set, options, &s);
        else
            open_stream_unread(set);
    }
    sample_free(&s);
    return result;
}

void sequence_close(struct dataset *set)
{
    struct sequence *q = set->sequence;
    if (!q)
        return;
    free_samples(q);
    archive_images_free(&q->images);
    free(q);
    set->sequence = NULL;
}

/* ---- the next image of a stream ---- */

enum choice { FAILED = -1, PASS_OVER, TAKE };

/* Chooses an image of a stream by its own path, since its layout is not known until the end. The
 * first folder of the path that means a part decides. */
static enum choice choose_by_path(struct dataset *set, const char *path)
{
    struct sequence *q = set->sequence;
    enum part part = PART_NONE;
    for (const char *slash; part == PART_NONE && (slash = strchr(path, '/')); path = slash + 1)
        part = part_named(path, (size_t)(slash - path));
    if (strcmp(q->split, "train") == 0)
        return part == PART_NONE || part == PART_TRAIN ? TAKE : PASS_OVER;
    if (strcmp(q->split, "unlabeled") == 0)
        return part == PART_UNLABELED ? TAKE : PASS_OVER;
    if (part != PART_TEST && part != PART_VALIDATION)
        return PASS_OVER;
    if (q->test_part != PART_NONE && part != q->test_part) {
        fail("%s: both a test and a validation part, in a stream %s", set->name,
             q->given ? "that --count keeps from being read before"
                      : "that comes once: save it as a file, and give its name");
        return FAILED;
    }
    q->test_part = part;
    return TAKE;
}

/* Reports once that an image in a folder has no label, which a pass over the set would give it. */
static void warn_of_labels(const struct dataset *set, const struct sample *s)
{
    struct sequence *q = set->sequence;
    if (!q->given || q->warned || s->label >= 0 || !strchr(s->text, '/'))
        return;
    q->warned = true;
    warn_line("%s: no labels: with --count only .cls files give them (without it, folders are "
              "classes)",
              set->name);
}

static enum choice choose_of_unread(struct dataset *set, const struct sample *s)
{
    struct sequence *q = set->sequence;
    q->seen++;
    if (set->bad_labels && read_errors_check_labels(set->errors, q->seen + set->bad_labels))
        return FAILED;
    if (!s->link) {
        warn_of_labels(set, s);
        return choose_by_path(set, s->text);
    }
    ignored_add(&set->ignored, "links, which a stream cannot follow", 1);
    return PASS_OVER;
}

/* Chooses a sample by the layout, if there is one, and sets its label to that of the layout. */
static enum choice choose(struct dataset *set, struct sample *s)
{
    if (!set->layout)
        return TAKE;
    if (set->count < 0 || set->sequence->given)
        return choose_of_unread(set, s);
    if (s->link)
        return PASS_OVER;
    int64_t label;
    const enum layout_place place = layout_find(set->layout, s->text, &label);
    if (place == LAYOUT_UNLISTED) {
        sample_fail(s, "val_annotations.txt does not list it");
        return FAILED;
    }
    if (!set->labels_in_samples)
        s->label = label;
    return place == LAYOUT_IN_PART ? TAKE : PASS_OVER;
}

/* Gets the next sample of any part: first those in memory, then those of the format. */
static enum dataset_result next_of_all(struct dataset *set, struct sample *s)
{
    struct sequence *q = set->sequence;
    if (q->next == q->n)
        return set->format->next(set, s);
    sample_free(s);
    *s = q->samples[q->next++];
    if (q->next == q->n)
        free_samples(q);
    return DATASET_SAMPLE;
}

/* Compares the number of images with that of the options: at the end of the stream, and after each
 * image. */
static int check_given(const struct dataset *set)
{
    const struct sequence *q = set->sequence;
    if (!q->given || q->taken == q->given)
        return 0;
    return fail("%s: --count says %lld images, and there are %lld", set->name, (long long)q->given,
                (long long)q->taken);
}

static int check_given_so_far(const struct dataset *set)
{
    const struct sequence *q = set->sequence;
    if (!q->given || q->taken <= q->given)
        return 0;
    return fail("%s: --count says %lld images, and there are more", set->name, (long long)q->given);
}

enum dataset_result sequence_next(struct dataset *set, struct sample *s)
{
    for (;;) {
        const enum dataset_result result = next_of_all(set, s);
        if (result != DATASET_SAMPLE)
            return result == DATASET_END && check_given(set) ? DATASET_FAILED : result;
        const enum choice choice = choose(set, s);
        if (choice == FAILED)
            return DATASET_FAILED;
        if (choice == PASS_OVER)
            continue;
        set->sequence->taken++;
        return check_given_so_far(set) ? DATASET_FAILED : DATASET_SAMPLE;
    }
}
