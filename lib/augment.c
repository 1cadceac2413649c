#include "augment.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* A thread's own memory, on cache lines of its own. */
struct augment_worker {
    struct image image;
    struct view_memory memory;
} __attribute__((aligned(64)));

int augment_init(struct augment *a)
{
    const size_t bytes = (size_t)a->n_threads * sizeof *a->workers;
    a->workers = aligned_alloc(64, bytes);
    if (!a->workers)
        return fail("out of memory for %d threads", a->n_threads);
    memset(a->workers, 0, bytes);
    return 0;
}

void augment_free(struct augment *a)
{
    for (int i = 0; a->workers && i < a->n_threads; i++) {
        image_free(&a->workers[i].image);
        view_memory_free(&a->workers[i].memory);
    }
    free(a->workers);
    a->workers = NULL;
}

/* All views of one image. x (V,S,S,3). */
static int fill_row(const struct augment *a, struct augment_worker *w, int64_t epoch, int64_t index,
                    uint8_t *x, int64_t *y, struct view *views)
{
    if (dataset_get(a->set, index, &w->image))
        return -1;
    *y = w->image.label;
    const size_t view_bytes = 3 * (size_t)a->size * (size_t)a->size;
    for (int v = 0; v < a->n_views; v++) {
        struct view view;
        struct random r;
        random_start(&r, a->seed, RANDOM_VIEW, (uint32_t)epoch, (uint32_t)index, (uint32_t)v);
        view_draw(&view, a->policy, w->image.width, w->image.height, a->size, &r);
        if (views)
            views[v] = view;
        if (view_apply(&view, w->image.pixels, w->image.width, w->image.height, a->size, &w->memory,
                       x + (size_t)v * view_bytes))
            return -1;
    }
    return 0;
}

int augment_fill(struct augment *a, int64_t epoch, const int64_t *index, int64_t n, uint8_t *x,
                 int64_t *y, struct view *views)
{
    const size_t row_bytes = 3 * (size_t)a->size * (size_t)a->size * (size_t)a->n_views;
    int64_t failed_row = n;
    char *failure = NULL; /* messages belong to threads */
#pragma omp parallel for schedule(dynamic, 4) num_threads(a->n_threads)
    for (int64_t i = 0; i < n; i++) {
        struct augment_worker *w = &a->workers[omp_get_thread_num()];
        struct view *row_views = views ? views + i * a->n_views : NULL;
        if (fill_row(a, w, epoch, index[i], x + (size_t)i * row_bytes, &y[i], row_views) == 0)
            continue;
#pragma omp critical(augment_failure)
        if (i < failed_row) {
            failed_row = i;
            free(failure);
            failure = strdup(fail_message());
        }
    }
    if (failed_row == n)
        return 0;
    fail("%s", failure ? failure : "out of memory");
    free(failure);
    return -1;
}
