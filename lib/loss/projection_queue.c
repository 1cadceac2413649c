#include "loss/projection_queue.h"

#include <inttypes.h>

#include "base/fail.h"
#include "loss/similarity.h"

void projection_queue_push(struct projection_queue *q, const float *z, int64_t n, bool normalize)
{
    for (int64_t i = 0; i < n; i++, q->pushed++) {
        if (n - i > q->size)
            continue; /* a later row takes its place */
        const double length = similarity_length(z + i * q->d, q->d, normalize);
        float *row = q->rows + q->pushed % q->size * q->d;
        for (int64_t k = 0; k < q->d; k++)
            row[k] = (float)((double)z[i * q->d + k] / length);
    }
}

int projection_queue_check(const struct projection_queue *q, bool normalize)
{
    if (q->pushed < 0 || q->pushed > INT64_MAX / 2)
        return fail("%" PRId64 " is no number of rows that were put into a queue", q->pushed);
    for (int64_t i = 0; normalize && i < projection_queue_count(q); i++)
        if (similarity_length(q->rows + i * q->d, q->d, true) > 1.0001)
            return fail("row %" PRId64 " of the queue is longer than 1: it was made with "
                        "--no-normalize",
                        i);
    return 0;
}
