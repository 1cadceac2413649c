/* frames: frames of images of any size, which another program has written. The first frame's
 * class_names are the names of the labels. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/dataset_format.h"
#include "data/frame_shards.h"
#include "data/image.h"
#include "data/part.h"
#include "data/path.h"
#include "frame/class_names.h"
#include "frame/frame.h"
#include "link/endpoint.h"
#include "link/stream.h"

struct frames {
    char *path;
    const struct link_config *links;
    struct source *source;       /* or: */
    struct frame_shards *shards; /* of commands */
    char *shards_names;          /* class_names of the first shard; NULL: it has none */
    struct frame *frame;         /* NULL: the next frame has not been read */
    const struct tensor
        *x; /* (rows,height,width,channels), or with a dimension of 1 after the first */
    struct image_kind kind; /* of its images */
    const int64_t *y;       /* (rows), or NULL */
    int height, width;
    int64_t row, rows; /* the next row, and the number of rows */
    bool begun;        /* the first frame has been read, in this or an earlier pass */
    struct class_names names;
};

/* Returns true if the file begins as a frame does: with the length of its header, in 8 bytes, and a
 * brace. */
static bool recognize(const char *path)
{
    uint8_t bytes[9];
    return path_peek(path, bytes, sizeof bytes) == sizeof bytes && bytes[8] == '{' &&
           bytes[7] == 0 && bytes[6] == 0 && bytes[5] == 0;
}

/* Opens the source. A path that exists is a file, even if it looks like an endpoint. */
static struct source *open_source(const struct frames *f)
{
    return path_is_file(f->path) ? source_open_file(f->path, f->links)
                                 : source_open(f->path, f->links);
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct frames *f = set->state = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(options->path)))
        return fail_memory(options->path);
    f->links = options->links;
    if (strcmp(options->split, "train") != 0)
        return part_missing(set->name, options->split);
    set->in_sequence = true;
    set->rewinds = set->shards || path_is_file(f->path);
    if (set->shards) {
        f->shards = frame_shards_new(set->shards, f->links);
        return f->shards ? 0 : -1;
    }
    f->source = open_source(f);
    return f->source ? 0 : -1;
}

static const char *name_of(const struct frames *f)
{
    return f->shards ? frame_shards_name(f->shards) : source_name(f->source);
}

/* Checks the frame and points at its images; it may have none. Returns -1 with a message on
 * failure. */
static int take_frame(struct frames *f)
{
    const struct tensor *x = frame_find(f->frame, "x"), *y = frame_find(f->frame, "y");
    const char *name = name_of(f);
    if (!x || (x->dtype != DTYPE_U8 && x->dtype != DTYPE_F32) || x->ndim < 3 || x->ndim > 5 ||
        x->shape[x->ndim - 1] < 1 || x->shape[x->ndim - 1] > IMAGE_MAX_CHANNELS)
        return fail("%s: a frame without x U8 or F32 [N,H,W,C], C up to %d", name,
                    IMAGE_MAX_CHANNELS);
    const int channels = (int)x->shape[x->ndim - 1];
    const struct image_kind rgb = {0}, own = {channels, x->dtype == DTYPE_F32 ? 32 : 8};
    if (x->ndim == 5 && x->shape[1] != 1)
        return fail("%s: x has %lld views of each image, and 1 is wanted", name,
                    (long long)x->shape[1]);
    f->rows = x->ndim == 3 ? 1 : x->shape[0];
    if (y && (y->dtype != DTYPE_I64 || y->ndim > 1 || tensor_count(y) != (size_t)f->rows))
        return fail("%s: y is not I64 [%lld]", name, (long long)f->rows);
    f->kind = channels == 3 && x->dtype == DTYPE_U8 ? rgb : own;
    if (f->rows && image_check_kind(x->shape[x->ndim - 2], x->shape[x->ndim - 3], f->kind, name))
        return -1;
    f->x = x;
    f->y = y ? y->data : NULL;
    f->height = (int)x->shape[x->ndim - 3];
    f->width = (int)x->shape[x->ndim - 2];
    f->row = 0;
    return 0;
}

/* Checks that a shard has the names of the first one, since its labels are theirs. */
static int compare_names(const struct frames *f, const char *text)
{
    const char *first = f->shards_names;
    if (text && first ? strcmp(text, first) == 0 : !text && !first)
        return 0;
    return fail("%s: its class_names are not those of the first shard", name_of(f));
}

/* Reads the names of the classes, which the first frame has for all frames. */
static int take_names(struct dataset *set)
{
    struct frames *f = set->state;
    const char *text = frame_meta(f->frame, "class_names");
    if (f->begun)
        return f->shards && frame_shards_at_first(f->shards) ? compare_names(f, text) : 0;
    f->begun = true;
    if (!text)
        return 0;
    if (f->shards && !(f->shards_names = strdup(text)))
        return fail_memory(name_of(f));
    if (class_names_parse(&f->names, text))
        return fail_prefix("%s", name_of(f));
    set->class_names = (const char *const *)f->names.list;
    set->classes = f->names.n;
    return 0;
}

/* Checks that floats are in the range of pixels. */
static int check_range(const struct frames *f, const struct sample *s)
{
    const float *values = (const float *)(const void *)s->buffer;
    for (size_t i = 0; f->kind.depth == 32 && i < s->size / sizeof *values; i++)
        if (!(values[i] >= 0 && values[i] <= 1))
            return fail("%s: x F32 has the value %g; those of images are from 0 to 1", name_of(f),
                        (double)values[i]);
    return 0;
}

/* Copies the next row of the frame. */
static int take_row(struct frames *f, struct sample *s)
{
    const size_t size = image_pixel_bytes(f->kind) * (size_t)f->height * (size_t)f->width;
    s->file = f->shards ? name_of(f) : f->path;
    s->member = NULL;
    if (sample_reserve(s, size))
        return -1;
    memcpy(s->buffer, (const uint8_t *)f->x->data + (size_t)f->row * size, size);
    if (check_range(f, s))
        return -1;
    s->width = f->width;
    s->kind = f->kind;
    s->height = f->height;
    s->label = f->y ? f->y[f->row] : -1;
    if (s->label < -1 || s->label > INT32_MAX - 1)
        return fail("%s: label %lld", name_of(f), (long long)s->label);
    if (f->names.list && s->label >= f->names.n)
        return fail("%s: label %lld, and class_names has %d names", name_of(f), (long long)s->label,
                    f->names.n);
    f->row++;
    return 0;
}

static enum dataset_result next(struct dataset *set, struct sample *s)
{
    struct frames *f = set->state;
    while (!f->frame || f->row == f->rows) {
        frame_free(f->frame);
        f->frame = NULL;
        struct frame *frame;
        const enum source_result result =
            f->shards ? frame_shards_next(f->shards, &frame) : source_next(f->source, &frame);
        if (result != SOURCE_FRAME)
            return result == SOURCE_END ? DATASET_END : DATASET_FAILED;
        f->frame = frame;
        if (take_names(set) || take_frame(f))
            return DATASET_FAILED;
    }
    return take_row(f, s) ? DATASET_FAILED : DATASET_SAMPLE;
}

static int begin_again(struct dataset *set)
{
    struct frames *f = set->state;
    frame_free(f->frame);
    f->frame = NULL;
    if (f->shards) {
        frame_shards_rewind(f->shards);
        return 0;
    }
    source_close(f->source);
    f->source = open_source(f);
    return f->source ? 0 : -1;
}

static void close_set(struct dataset *set)
{
    struct frames *f = set->state;
    if (f) {
        frame_free(f->frame);
        if (f->source)
            source_close(f->source);
        frame_shards_free(f->shards);
        free(f->shards_names);
        class_names_free(&f->names);
        free(f->path);
    }
    free(f);
}

const struct dataset_format dataset_frames = {.recognize = recognize,
                                              .open = open_set,
                                              .next = next,
                                              .rewind = begin_again,
                                              .close = close_set};
