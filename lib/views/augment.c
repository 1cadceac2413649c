#include "views/augment.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/decode.h"
#include "data/image.h"

/* The memory of one thread, on its own cache lines. */
struct augment_worker {
    struct sample sample;
    struct image image;
    struct decoder *decoder;
    struct view_memory memory;
    struct view *views; /* [n_views], the views of one image */
} __attribute__((aligned(64)));

/* The image that a row shows. */
struct augment_image {
    int64_t index, label; /* -1: the row is left out */
    struct scaled_image image;
};

enum augment_found { AUGMENT_FAILED = -1, AUGMENT_FOUND, AUGMENT_LEFT_OUT };

int augment_init(struct augment *a)
{
    const size_t bytes = (size_t)a->n_threads * sizeof *a->workers;
    a->workers = aligned_alloc(64, bytes);
    if (!a->workers)
        return fail_memory("threads");
    memset(a->workers, 0, bytes);
    for (int i = 0; i < a->n_threads; i++) {
        struct augment_worker *w = &a->workers[i];
        w->views = malloc((size_t)a->n_views * sizeof *w->views);
        w->decoder = decoder_new();
        if (!w->views || !w->decoder)
            return fail_memory("threads");
    }
    return 0;
}

void augment_free(struct augment *a)
{
    for (int i = 0; a->workers && i < a->n_threads; i++) {
        struct augment_worker *w = &a->workers[i];
        sample_free(&w->sample);
        image_free(&w->image);
        decoder_free(w->decoder);
        view_memory_free(&w->memory);
        free(w->views);
    }
    free(a->workers);
    a->workers = NULL;
}

/* Draws the views of the image at that place in the epoch. */
static void draw_views(const struct augment *a, struct augment_worker *w, int64_t place,
                       const struct scaled_image *image)
{
    const uint32_t epoch = (uint32_t)a->reader->batch.epoch;
    const uint32_t index = (uint32_t)batch_reader_index(a->reader, place);
    for (int v = 0; v < a->n_views; v++) {
        struct random r;
        random_start(&r, a->seed, RANDOM_VIEW, epoch, index, (uint32_t)v);
        view_draw(&w->views[v], a->policies[v > 0], image->width, image->height, a->size, &r);
    }
}

/* Returns the largest denominator at which every crop of the views still has enough pixels. */
static int choose_reduction(const struct augment *a, const struct augment_worker *w)
{
    double scale = a->reduced ? 0 : 1; /* the scale that the crops need */
    for (int v = 0; v < a->n_views && scale < 1; v++)
        scale = fmax(scale, view_scale_needed(&w->views[v], a->size));
    return decode_reduction(w->decoder, scale);
}

/* Checks that an image has the channels that the views need. */
static int check_channels(const struct augment *a, const struct sample *s, struct image_kind kind,
                          bool no_rgb)
{
    const int channels = image_channels(kind);
    if (a->raw && channels != a->raw)
        return sample_fail(s, "%d channels, and the first image of the set has %d", channels,
                           a->raw);
    if (!a->raw && no_rgb)
        return sample_fail(s, "its %d channels are not RGB of 8 bits (--pixels raw)", channels);
    return 0;
}

/* Decodes the sample, and draws the views that the row at `place` shows. */
static int decode_image(const struct augment *a, struct augment_worker *w, int64_t place,
                        struct scaled_image *image)
{
    struct decode_header header;
    if (decode_start(w->decoder, &w->sample, a->orient, &header) ||
        check_channels(a, &w->sample, header.kind, header.no_rgb))
        return -1;
    image->width = header.width;
    image->height = header.height;
    draw_views(a, w, place, image);
    image->denominator = choose_reduction(a, w);
    for (int v = 0; v < a->n_views; v++)
        w->views[v].reduction = image->denominator;
    if (decode_finish(w->decoder, a->raw ? DECODE_RAW : DECODE_RGB, image->denominator, &w->image))
        return -1;
    image->pixels = w->image.pixels;
    image->kind = w->image.kind;
    return 0;
}

/* Reads the image at the place `from`, and draws the views of it that the row at `place` shows. */
static int read_image(const struct augment *a, struct augment_worker *w, int64_t place,
                      int64_t from, struct augment_image *s)
{
    *s = (struct augment_image){.index = batch_reader_index(a->reader, from),
                                .image.denominator = 1};
    struct scaled_image *image = &s->image;
    if (a->cache && image_cache_get(a->cache, s->index, image, &s->label)) {
        draw_views(a, w, place, image);
        return 0;
    }
    if (batch_reader_get(a->reader, from, &w->sample))
        return -1;
    s->label = w->sample.label;
    const struct sample *sample = &w->sample;
    if (sample->width) {
        if (!a->channels && check_channels(a, sample, sample->kind, sample->kind.channels > 0))
            return -1;
        *image =
            (struct scaled_image){sample->bytes, sample->width, sample->height, 1, sample->kind};
        draw_views(a, w, place, image);
    } else if (decode_image(a, w, place, image))
        return -1;
    if (a->cache && image->denominator == 1)
        image_cache_put(a->cache, s->index, image, s->label);
    return 0;
}

/* Finds the image that a row shows, and draws the row's views of that image. */
static enum augment_found find_image(const struct augment *a, struct augment_worker *w, int64_t row,
                                     struct augment_image *s)
{
    const int64_t stream = a->reader->read, count = dataset_count(a->reader->set);
    const int64_t place = batch_reader_place(a->reader, row, 0);
    int64_t tried = 0;
    for (int64_t from = place; from >= 0; from = batch_reader_place(a->reader, row, ++tried)) {
        if (read_image(a, w, place, from, s) == 0)
            return AUGMENT_FOUND;
        if (read_errors_add_image(a->errors, batch_reader_index(a->reader, from),
                                  count < 0 ? stream : count))
            return AUGMENT_FAILED;
    }
    s->index = s->label = -1;
    if (a->reader->sampler->evaluation)
        return AUGMENT_LEFT_OUT;
    fail("%s: and none of the %lld images before it in the epoch can be read", fail_message(),
         (long long)tried - 1);
    return AUGMENT_FAILED;
}

static size_t bytes_of_view(const struct augment *a)
{
    const size_t size = (size_t)a->size;
    return a->channels ? size * (size_t)a->channels * sizeof(float)
           : a->raw    ? size * size * (size_t)a->raw * sizeof(float)
                       : 3 * size * size;
}

/* Computes view number v. The pixels of a series are floats, and its width is its number of
 * steps. */
static int apply_view(const struct augment *a, struct augment_worker *w, int v,
                      const struct scaled_image *image, uint8_t *x)
{
    if (a->channels)
        return view_apply_series(&w->views[v], (const float *)(const void *)image->pixels,
                                 image->width, a->channels, a->size, &w->memory,
                                 (float *)(void *)x);
    if (a->raw)
        return view_apply_raw(&w->views[v], image, a->size, &w->memory, (float *)(void *)x);
    return view_apply(&w->views[v], image, a->size, &w->memory, x);
}

/* Fills one row: x (V,S,S,3), or floats (V,S,S,C), or for series (V,S,C), its label and its index. Also fills
 * views[V] if that is not NULL. */
static int fill_row(const struct augment *a, struct augment_worker *w, int64_t row, uint8_t *x,
                    int64_t *y, int64_t *index, struct view *views)
{
    struct augment_image s;
    const enum augment_found found = find_image(a, w, row, &s);
    if (found == AUGMENT_FAILED)
        return -1;
    *y = s.label;
    *index = s.index;
    for (int v = 0; v < a->n_views && found == AUGMENT_FOUND; v++)
        if (apply_view(a, w, v, &s.image, x + (size_t)v * bytes_of_view(a)))
            return -1;
    if (views)
        memcpy(views, w->views, (size_t)a->n_views * sizeof *views);
    return 0;
}

static bool stopped(const struct augment *a)
{
    return a->stop && atomic_load_explicit(a->stop, memory_order_relaxed);
}

/* Fills x, y and index of all rows; sets index and y of a row that is left out to -1. */
static int fill(struct augment *a, uint8_t *x, int64_t *y, int64_t *index, struct view *views)
{
    const size_t row_bytes = bytes_of_view(a) * (size_t)a->n_views;
    const int64_t first = a->reader->batch.first, n = a->reader->batch.count;
    int64_t failed_row = n;
    struct fail_note failure; /* message of that row, since messages belong to threads */
#pragma omp parallel for schedule(dynamic) num_threads(a->n_threads)
    for (int64_t i = 0; i < n; i++) {
        if (stopped(a))
            continue;
        struct augment_worker *w = &a->workers[omp_get_thread_num()];
        struct view *row_views = views ? views + i * a->n_views : NULL;
        if (fill_row(a, w, first + i, x + (size_t)i * row_bytes, &y[i], &index[i], row_views) == 0)
            continue;
#pragma omp critical(augment_failure)
        if (i < failed_row) {
            failed_row = i;
            fail_save(&failure);
        }
    }
    if (failed_row == n)
        return stopped(a) ? fail("stopped") : 0;
    return fail_restore(&failure);
}

/* Returns a frame for that many rows. Its values are not set. */
static struct frame *new_frame(const struct augment *a, int64_t rows)
{
    const struct tensor_spec series = {
        "x", DTYPE_F32, 5, {rows, a->n_views, 1, a->size, a->channels}};
    const struct tensor_spec raw = {
        "x", DTYPE_F32, 5, {rows, a->n_views, a->size, a->size, a->raw}};
    const struct tensor_spec image = {"x", DTYPE_U8, 5, {rows, a->n_views, a->size, a->size, 3}};
    const struct tensor_spec specs[] = {
        a->channels ? series
        : a->raw    ? raw
                    : image,
        {"y", DTYPE_I64, 1, {rows}},
        {"index", DTYPE_I64, 1, {rows}},
    };
    return frame_new_unset(specs, 3);
}

/* Removes the rows whose images could not be read from an evaluation's frame, from *b and from
 * views. Call it after the frame was filled. */
static int leave_out(const struct augment *a, struct batch *b, struct frame **f, struct view *views)
{
    const int64_t *index = frame_find(*f, "index")->data;
    int64_t n = 0;
    for (int64_t i = 0; i < b->count; i++)
        n += index[i] >= 0;
    if (n == b->count)
        return 0;
    struct frame *shorter = new_frame(a, n);
    if (!shorter)
        return -1;
    for (int t = 0; t < shorter->n_tensors; t++) {
        const struct tensor *to = &shorter->tensors[t], *from = frame_find(*f, to->name);
        const size_t row = from->bytes / (size_t)b->count;
        char *at = to->data;
        for (int64_t i = 0; i < b->count; i++)
            if (index[i] >= 0)
                at = mempcpy(at, (const char *)from->data + (size_t)i * row, row);
    }
    int64_t kept = 0;
    for (int64_t i = 0; views && i < b->count; i++)
        if (index[i] >= 0)
            memmove(views + kept++ * a->n_views, views + i * a->n_views,
                    (size_t)a->n_views * sizeof *views);
    frame_free(*f);
    *f = shorter;
    if (a->reader->sampler->world > 1)
        b->count = n;
    else
        sampler_shorten(b, n);
    return 0;
}

struct frame *augment_frame(struct augment *a, int64_t step, struct batch *b, struct view *views)
{
    if (batch_reader_begin(a->reader, step))
        return NULL;
    *b = a->reader->batch;
    struct frame *f = new_frame(a, b->count);
    if (!f)
        return NULL;
    if (fill(a, frame_find(f, "x")->data, frame_find(f, "y")->data, frame_find(f, "index")->data,
             views) == 0 &&
        leave_out(a, b, &f, views) == 0)
        return f;
    frame_free(f);
    return NULL;
}
