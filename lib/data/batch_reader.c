#include "data/batch_reader.h"

#include <stdlib.h>

#include "base/fail.h"

struct reader_row {
    struct sample sample;
    int64_t index; /* of the image */
};

int batch_reader_init(struct batch_reader *r)
{
    r->epoch = -1;
    if (!dataset_is_stream(r->set))
        return 0;
    if (r->sampler->evaluation)
        r->buffer_images = 1; /* a buffer of one image keeps the order */
    r->buffer = calloc((size_t)r->buffer_images, sizeof *r->buffer);
    r->n_kept = r->sampler->batch + 2 * BATCH_READER_BEFORE + 1; /* more than needed at once */
    r->kept = calloc((size_t)r->n_kept, sizeof *r->kept);
    return r->buffer && r->kept ? 0
                                : fail("out of memory for a shuffle buffer of %lld images",
                                       (long long)r->buffer_images);
}

void batch_reader_free(struct batch_reader *r)
{
    for (int64_t i = 0; r->buffer && i < r->n; i++)
        sample_free(&r->buffer[i].sample);
    for (int64_t i = 0; r->kept && i < r->n_kept; i++)
        sample_free(&r->kept[i].sample);
    free(r->buffer);
    free(r->kept);
    r->buffer = r->kept = NULL;
}

static int64_t bytes_of(const struct reader_row *row)
{
    return (int64_t)(sizeof *row + row->sample.capacity);
}

/* Fills the buffer as far as its limits and the stream allow. */
static int fill(struct batch_reader *r)
{
    while (r->n < r->buffer_images && (r->n == 0 || r->bytes < r->buffer_bytes) &&
           r->read < r->sampler->images && !r->ended) {
        struct reader_row *row = &r->buffer[r->n];
        *row = (struct reader_row){.index = r->read};
        const enum dataset_result result = dataset_next(r->set, &row->sample);
        if (result != DATASET_SAMPLE) {
            sample_free(&row->sample);
            r->ended = result == DATASET_END;
            return r->ended ? 0 : -1;
        }
        r->n++;
        r->read++;
        r->bytes += bytes_of(row);
    }
    return 0;
}

/* Draws the next row of the epoch. */
static enum dataset_result draw(struct batch_reader *r, struct reader_row *out)
{
    if (fill(r))
        return DATASET_FAILED;
    if (r->n == 0)
        return DATASET_END;
    const int64_t i = r->n == 1 ? 0 : (int64_t)random_below(&r->random, (uint64_t)r->n);
    *out = r->buffer[i];
    r->buffer[i] = r->buffer[--r->n];
    r->bytes -= bytes_of(out);
    r->drawn++;
    return DATASET_SAMPLE;
}

static int begin_epoch(struct batch_reader *r, int64_t epoch)
{
    /* When the reader begins its first epoch, the stream is at its beginning. */
    if (r->epoch >= 0 && dataset_rewind(r->set))
        return -1;
    for (int64_t i = 0; i < r->n; i++)
        sample_free(&r->buffer[i].sample);
    r->n = r->bytes = r->read = r->drawn = 0;
    r->epoch = epoch;
    r->ended = false;
    random_start(&r->random, r->sampler->seed, RANDOM_SHUFFLE, (uint32_t)epoch, 0, 0);
    return 0;
}

/* Returns true if batch_reader_get() may need this place in this step or in the next one. */
static bool wanted(const struct batch_reader *r, int64_t place)
{
    const struct batch *b = &r->batch;
    const int64_t row = place - b->start, before = r->sampler->evaluation ? 0 : BATCH_READER_BEFORE;
    return (row >= b->first - before && row < b->first + b->count) ||
           (before && (place <= before || row >= b->rows - before));
}

/* Draws the row of the next place, and keeps it if it may be needed. */
static enum dataset_result draw_place(struct batch_reader *r)
{
    struct reader_row row;
    const int64_t place = r->drawn;
    const enum dataset_result result = draw(r, &row);
    if (result != DATASET_SAMPLE)
        return result;
    if (wanted(r, place)) {
        struct reader_row *kept = &r->kept[place % r->n_kept];
        sample_free(&kept->sample);
        *kept = row;
    } else
        sample_free(&row.sample);
    return DATASET_SAMPLE;
}

/* After the last batch of an epoch, reads what is left of a stream whose number of images was
 * given, so that dataset_next() checks the number. */
static int check_count(struct batch_reader *r)
{
    const struct sampler *sampler = r->sampler;
    if (!dataset_count_is_given(r->set) || sampler->images != dataset_count(r->set) ||
        (r->batch.step + 1) % sampler->steps_per_epoch != 0)
        return 0;
    struct sample s = {0};
    enum dataset_result result = DATASET_SAMPLE;
    while (!r->ended && result == DATASET_SAMPLE)
        result = dataset_next(r->set, &s);
    sample_free(&s);
    r->ended = true;
    return result == DATASET_FAILED ? -1 : 0;
}

static int read_batch(struct batch_reader *r)
{
    const struct batch *b = &r->batch;
    if ((r->epoch != b->epoch || b->start < r->start) && begin_epoch(r, b->epoch))
        return -1;
    r->start = b->start;
    enum dataset_result got = DATASET_SAMPLE;
    while (got == DATASET_SAMPLE && r->drawn < b->start + b->rows)
        got = draw_place(r);
    if (got == DATASET_END)
        return fail("the stream ended after %lld images, and step %lld needs more",
                    (long long)r->read, (long long)b->step);
    /* The rows that may replace the first rows of an epoch come after them, so draw these as
     * well. */
    while (got == DATASET_SAMPLE && !r->sampler->evaluation && r->drawn <= BATCH_READER_BEFORE &&
           r->drawn < r->sampler->images)
        got = draw_place(r);
    return got == DATASET_FAILED || check_count(r) ? -1 : 0;
}

int batch_reader_begin(struct batch_reader *r, int64_t step)
{
    sampler_get(r->sampler, step, &r->batch);
    return r->buffer ? read_batch(r) : 0;
}

int64_t batch_reader_place(const struct batch_reader *r, int64_t row, int64_t tried)
{
    const int64_t place = r->batch.start + row, images = r->sampler->images;
    if (tried && r->sampler->evaluation)
        return -1;
    if (!r->buffer)
        return tried < images ? (place - tried + images) % images : -1;
    const int64_t other = tried <= place ? place - tried : tried;
    return tried <= BATCH_READER_BEFORE && other < r->drawn ? other : -1;
}

int64_t batch_reader_index(const struct batch_reader *r, int64_t place)
{
    return r->buffer ? r->kept[place % r->n_kept].index : sampler_image(r->sampler, place);
}

int batch_reader_get(const struct batch_reader *r, int64_t place, struct sample *s)
{
    if (!r->buffer)
        return dataset_get(r->set, batch_reader_index(r, place), s);
    sample_borrow(s, &r->kept[place % r->n_kept].sample);
    return 0;
}
