#include "loss/supcon.h"

#include <stdlib.h>

#include "base/fail.h"
#include "loss/softmax_loss.h"

struct labelled_image {
    int64_t label, index;
};

static int compare(const void *a, const void *b)
{
    const struct labelled_image *x = a, *y = b;
    return x->label != y->label ? (x->label > y->label) - (x->label < y->label)
                                : (x->index > y->index) - (x->index < y->index);
}

/* Orders rows so that those of a class are adjacent, and finds where each row's class ends
 * (softmax_loss()). `images` is work space for n / views of them. */
static void sort_by_class(const struct loss_input *in, struct labelled_image *images,
                          int64_t *order, int64_t *ends)
{
    const int64_t views = in->views, n_images = in->n / views;
    for (int64_t b = 0; b < n_images; b++)
        images[b] = (struct labelled_image){in->labels ? in->labels[b] : -1, b};
    qsort(images, (size_t)n_images, sizeof *images, compare);
    int64_t end = in->n;
    for (int64_t b = n_images; b-- > 0;) {
        const int64_t label = images[b].label;
        if (b + 1 < n_images && (label < 0 || label != images[b + 1].label))
            end = (b + 1) * views;
        for (int64_t v = 0; v < views; v++) {
            order[b * views + v] = images[b].index * views + v;
            ends[b * views + v] = end;
        }
    }
}

int supcon(const struct loss_input *in, double temperature, float *dz, struct loss_metrics *metrics)
{
    struct labelled_image *images = malloc((size_t)(in->n / in->views) * sizeof *images);
    int64_t *order = malloc((size_t)in->n * sizeof *order);
    int64_t *ends = malloc((size_t)in->n * sizeof *ends);
    int status = -1;
    if (!images || !order || !ends)
        fail("out of memory for a loss over %lld views", (long long)in->n);
    else {
        sort_by_class(in, images, order, ends);
        status = softmax_loss(in, order, ends, temperature, NULL, dz, metrics);
    }
    free(images);
    free(order);
    free(ends);
    return status;
}
