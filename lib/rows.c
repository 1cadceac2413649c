#include "rows.h"

#include <stdlib.h>

#include "fail.h"

struct row {
    struct sample sample;
    int64_t index;
};

int rows_init(struct rows *r)
{
    r->epoch = -1;
    if (!dataset_is_stream(r->set))
        return 0;
    if (r->batches->evaluation)
        r->buffer_images = 1; /* order is kept */
    r->buffer = calloc((size_t)r->buffer_images, sizeof *r->buffer);
    r->kept = calloc((size_t)r->batches->batch, sizeof *r->kept);
    return r->buffer && r->kept ? 0
                                : fail("out of memory for a shuffle buffer of %lld images",
                                       (long long)r->buffer_images);
}

void rows_free(struct rows *r)
{
    for (int64_t i = 0; r->buffer && i < r->n; i++)
        sample_free(&r->buffer[i].sample);
    for (int64_t i = 0; r->kept && i < r->batches->batch; i++)
        sample_free(&r->kept[i].sample);
    free(r->buffer);
    free(r->kept);
    r->buffer = r->kept = NULL;
}

static int64_t bytes_of(const struct row *row)
{
    return (int64_t)(sizeof *row + row->sample.capacity);
}

static int fill(struct rows *r)
{
    while (r->n < r->buffer_images && (r->n == 0 || r->bytes < r->buffer_bytes) &&
           r->read < r->batches->images && !r->ended) {
        struct row *row = &r->buffer[r->n];
        *row = (struct row){.index = r->read};
        const int result = dataset_next(r->set, &row->sample);
        if (result <= 0) {
            sample_free(&row->sample);
            r->ended = result == 0;
            return result;
        }
        r->n++;
        r->read++;
        r->bytes += bytes_of(row);
    }
    return 0;
}

/* Draws the next row of the epoch. */
static int draw(struct rows *r, struct row *out)
{
    if (fill(r))
        return -1;
    if (r->n == 0)
        return fail("the stream ended after %lld images, and step %lld needs more",
                    (long long)r->read, (long long)r->batch.step);
    const int64_t i = r->n == 1 ? 0 : (int64_t)random_below(&r->random, (uint64_t)r->n);
    *out = r->buffer[i];
    r->buffer[i] = r->buffer[--r->n];
    r->bytes -= bytes_of(out);
    r->handed++;
    return 0;
}

static int begin_epoch(struct rows *r, int64_t epoch)
{
    /* The first epoch to be read finds the stream at its beginning. */
    if (r->epoch >= 0 && dataset_rewind(r->set))
        return -1;
    for (int64_t i = 0; i < r->n; i++)
        sample_free(&r->buffer[i].sample);
    r->n = r->bytes = r->read = r->handed = 0;
    r->epoch = epoch;
    r->ended = false;
    random_start(&r->random, r->batches->seed, RANDOM_SHUFFLE, (uint32_t)epoch, 0, 0);
    return 0;
}

/* Is this row one that rows_get() may be asked for? */
static bool wanted(const struct batch *b, int64_t row)
{
    const int64_t distance = (row - (b->first - ROWS_BEFORE)) % b->rows;
    return (distance + b->rows) % b->rows < ROWS_BEFORE + b->count;
}

static int read_batch(struct rows *r)
{
    const struct batch *b = &r->batch;
    if ((r->epoch != b->epoch || r->handed > b->start) && begin_epoch(r, b->epoch))
        return -1;
    while (r->handed < b->start + b->rows) {
        struct row row;
        const int64_t at = r->handed - b->start;
        if (draw(r, &row))
            return -1;
        if (at >= 0 && wanted(b, at)) {
            sample_free(&r->kept[at].sample);
            r->kept[at] = row;
        } else
            sample_free(&row.sample);
    }
    return 0;
}

int rows_begin(struct rows *r, int64_t step)
{
    batches_get(r->batches, step, &r->batch);
    return r->buffer ? read_batch(r) : 0;
}

int64_t rows_index(const struct rows *r, int64_t row)
{
    return r->buffer ? r->kept[row].index : batches_image(r->batches, &r->batch, row);
}

int rows_get(const struct rows *r, int64_t row, struct sample *s)
{
    if (!r->buffer)
        return dataset_get(r->set, rows_index(r, row), s);
    sample_point(s, &r->kept[row].sample);
    return 0;
}
