#include "data/dataset.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "data/dataset_format.h"
#include "data/decode.h"
#include "data/read_errors.h"
#include "data/sequence.h"

#define CHOICE(NAME, TURN) "|" #NAME
const char dataset_formats[] = "auto" DATASET_FORMATS(CHOICE);

#define ROW(NAME, TURN) {#NAME, &dataset_##NAME, TURN},
static const struct {
    const char *name;
    const struct dataset_format *format;
    int turn;
} formats[] = {DATASET_FORMATS(ROW)};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* ---- opening ---- */

static const struct dataset_format *find_format(const char *name)
{
    for (int i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].format;
    return fail_null("unknown format '%s' (there are %s)", name, dataset_formats);
}

static const struct dataset_format *recognize_format(const char *path)
{
    for (int turn = 1; turn <= DATASET_LAST_TURN; turn++)
        for (int i = 0; i < N_FORMATS; i++)
            if (formats[i].turn == turn && formats[i].format->recognize(path))
                return formats[i].format;
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        return fail_null("%s: %s", path, strerror(errno));
    return fail_null("%s: no folder, archive, IDX file or frames (--format %s)", path,
                     dataset_formats);
}

bool dataset_holds_series(const char *path, const char *format)
{
    return strcmp(format, "series") == 0 ||
           (strcmp(format, "auto") == 0 && !shards_match(path) && dataset_series.recognize(path));
}

/* Adds an image's size to the sample of sizes. It reads the size from the image's header. The first
 * image that can be read also decides the kind of the set. */
static void add_size(struct dataset *set, const struct sample *s)
{
    struct decode_header header = {s->width, s->height, s->kind, s->kind.channels > 0};
    struct decoder *d = s->width ? NULL : decoder_new();
    if (d && decode_start(d, s, false, &header))
        header.width = 0;
    decoder_free(d);
    if (!set->kind_known && header.width) {
        set->kind_known = true;
        set->kind = header.kind;
        set->no_rgb = header.no_rgb;
    }
    if (set->samples_sizes)
        size_sample_add(&set->sizes, header.width, header.height);
}

void dataset_offer_size(struct dataset *set, const struct sample *s)
{
    if (!set->samples_sizes) {
        if (!set->kind_known)
            add_size(set, s);
        return;
    }
    if (size_sample_wants(&set->sizes))
        add_size(set, s);
    else
        size_sample_skip(&set->sizes);
}

/* Reads the sizes of those images of an indexed set that are in the sample; without a need for
 * sizes, only until an image can be read. */
static void sample_sizes(struct dataset *set)
{
    struct sample s = {0};
    int64_t stride = 1;
    while ((set->count - 1) / stride >= SIZE_SAMPLE_IMAGES)
        stride *= 2;
    for (int64_t i = 0; i < set->count && (set->samples_sizes || !set->kind_known); i += stride) {
        if (dataset_get(set, i, &s) == 0)
            add_size(set, &s);
        else if (set->samples_sizes)
            size_sample_add(&set->sizes, 0, 0);
    }
    sample_free(&s);
}

/* Opens the commands that deliver the data, and sets the format. */
static int open_shards(struct dataset *set, const struct dataset_options *options)
{
    enum shards_kind kind;
    set->shards = shards_open(options->path, options->links, options->retries);
    if (!set->shards)
        return -1;
    if (set->format)
        return set->format == &dataset_tar || set->format == &dataset_frames
                   ? 0
                   : fail("--format %s: commands deliver archives (tar) or frames",
                          options->format);
    if (shards_recognize(set->shards, &kind))
        return -1;
    set->format = kind == SHARDS_FRAMES ? &dataset_frames : &dataset_tar;
    return 0;
}

/* Compares the number of images with that which the caller has given. */
static int check_count(const struct dataset *set, const struct dataset_options *options)
{
    if (!options->count || set->count < 0 || set->count == options->count)
        return 0;
    return fail("%s: --count says %lld images, and there are %lld", set->name,
                (long long)options->count, (long long)set->count);
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    if (set->format->open(set, options))
        return -1;
    set->sizes = (struct size_sample){.stride = 1};
    set->samples_sizes = !options->size && !set->native_size;
    if (set->in_sequence) {
        if (sequence_open(set, options))
            return -1;
        if (set->count == 0)
            return fail("%s: no image in it", options->path);
    }
    if (!set->native_size && !set->channels && !dataset_is_stream(set))
        sample_sizes(set);
    return check_count(set, options);
}

static int recognize_and_open(struct dataset *set, const struct dataset_options *options)
{
    if (strcmp(options->format, "auto") != 0 && !(set->format = find_format(options->format)))
        return -1;
    if (shards_match(options->path)) {
        if (open_shards(set, options))
            return -1;
    } else if (options->retries)
        return fail("%s: --retries is for data from commands (exec:, pipe:)", set->name);
    else if (!set->format && !(set->format = recognize_format(options->path)))
        return -1;
    return open_set(set, options);
}

struct dataset *dataset_open(const struct dataset_options *options, struct read_errors *errors)
{
    const char *path = options->path;
    struct dataset *set = calloc(1, sizeof *set);
    if (!set) {
        fail_memory(path);
        return NULL;
    }
    set->errors = errors;
    set->name = strdup(strcmp(path, "-") == 0 ? "stdin" : *path ? path : options->format);
    if (!set->name)
        fail_memory(path);
    if (!set->name || recognize_and_open(set, options)) {
        dataset_close(set);
        return NULL;
    }
    return set;
}

void dataset_close(struct dataset *set)
{
    if (!set)
        return;
    sequence_close(set);
    if (set->format)
        set->format->close(set);
    shards_close(set->shards);
    layout_free(set->layout);
    free(set->name);
    free(set);
}

/* ---- what formats use ---- */

int dataset_fail_empty(struct dataset *set)
{
    char text[IGNORED_TEXT];
    ignored_text(&set->ignored, text);
    return fail("%s: no %s file in it%s%s%s", set->name, decode_format_names(), *text ? " (" : "",
                text, *text ? ")" : "");
}

bool dataset_accept_image(struct dataset *set, enum layout_place place)
{
    static const char *const kinds[] = {
        [LAYOUT_BESIDE_CLASSES] = "images beside the folders of classes",
        [LAYOUT_BESIDE_PARTS] = "images beside the parts",
        [LAYOUT_UNLISTED] = "images that val_annotations.txt does not list",
    };
    if (place != LAYOUT_IN_PART && place != LAYOUT_OTHER_PART)
        ignored_add(&set->ignored, kinds[place], 1);
    return place == LAYOUT_IN_PART;
}

int dataset_archive_broken(const struct dataset *set)
{
    return set->damage_reported ? 0 : read_errors_add_archive(set->errors);
}

int dataset_bad_label(struct dataset *set)
{
    return read_errors_add_label(set->errors, set->bad_labels++);
}

/* ---- what is known of a set ---- */

void dataset_report_ignored(struct dataset *set)
{
    if (!set->ignored_reported)
        ignored_report(&set->ignored, set->name);
    set->ignored_reported = true;
}

bool dataset_is_stream(const struct dataset *set)
{
    return set->sequence && sequence_is_stream(set->sequence);
}

int64_t dataset_count(const struct dataset *set)
{
    return set->count;
}

bool dataset_count_is_given(const struct dataset *set)
{
    return set->sequence && sequence_count_is_given(set->sequence);
}

int64_t dataset_commands(const struct dataset *set)
{
    return set->shards ? shards_count(set->shards) : 0;
}

bool dataset_comes_once(const struct dataset *set)
{
    return dataset_is_stream(set) && !set->rewinds;
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

struct image_kind dataset_kind(const struct dataset *set, bool *no_rgb)
{
    *no_rgb = set->no_rgb;
    return set->kind;
}

int64_t dataset_bytes_held(const struct dataset *set)
{
    return set->sequence ? sequence_bytes(set->sequence) : 0;
}

bool dataset_is_costly(const struct dataset *set)
{
    return set->costly;
}

/* ---- samples ---- */

int dataset_get(const struct dataset *set, int64_t i, struct sample *s)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    if (!set->sequence)
        return set->format->get(set, i, s);
    sequence_get(set->sequence, i, s);
    return 0;
}

int64_t dataset_label(const struct dataset *set, int64_t i)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    return set->sequence ? sequence_label(set->sequence, i) : set->format->label(set, i);
}

const char *dataset_image_name(const struct dataset *set, int64_t i)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    if (set->sequence)
        return sequence_image_name(set, i);
    return set->format->image_name ? set->format->image_name(set, i) : NULL;
}

void dataset_origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    assert(i >= 0 && (i < set->count || set->count < 0));
    *out = (struct dataset_origin){set->name, NULL, i};
    if (set->sequence && set->layout) {
        assert(!dataset_is_stream(set));
        struct sample s = {0};
        sequence_get(set->sequence, i, &s);
        *out = (struct dataset_origin){s.file, s.member, -1};
    } else if (set->format->origin)
        set->format->origin(set, i, out);
}

enum dataset_result dataset_next(struct dataset *set, struct sample *s)
{
    assert(dataset_is_stream(set));
    return sequence_next(set, s);
}

int dataset_rewind(struct dataset *set)
{
    set->bad_labels = 0;
    if (!set->rewinds)
        return fail("%s: it comes once, and cannot begin again", set->name);
    if (dataset_count_is_given(set))
        dataset_report_ignored(set); /* the next pass counts them again */
    sequence_rewind(set);
    return set->format->rewind(set);
}
