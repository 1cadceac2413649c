#include "subset.h"

#include <math.h>
#include <stdlib.h>

#include "fail.h"
#include "random.h"

struct candidate {
    int64_t label, image;
    uint64_t number;
};

static int by_label(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t find_labelled(const struct dataset *set, int64_t images, uint64_t seed,
                             struct candidate *all)
{
    int64_t n = 0;
    for (int64_t i = 0; i < images; i++) {
        const int64_t label = dataset_label(set, i);
        struct random r;
        if (label < 0)
            continue;
        random_start(&r, seed, RANDOM_LABELS, 0, (uint32_t)i, 0);
        const uint64_t high = random_u32(&r);
        all[n++] = (struct candidate){label, i, high << 32 | random_u32(&r)};
    }
    return n;
}

/* Takes the first `each` of each label, of n sorted candidates. */
static void take(struct subset *s, const struct candidate *all, int64_t n, int64_t each)
{
    int64_t of_label = 0;
    for (int64_t i = 0; i < n; i++) {
        of_label = i && all[i].label == all[i - 1].label ? of_label + 1 : 0;
        if (of_label < each)
            s->images[s->n++] = all[i].image;
    }
}

int subset_choose(struct subset *s, const struct dataset *set, int64_t images, double share,
                  int64_t each, uint64_t seed)
{
    *s = (struct subset){0};
    if (dataset_is_stream(set))
        return fail("a stream, whose images are not found by their numbers: labels cannot be "
                    "chosen (a larger --cache may hold it)");
    if (images > UINT32_MAX)
        return fail("more than %lld images", (long long)UINT32_MAX);
    struct candidate *all = calloc((size_t)images + 1, sizeof *all);
    s->images = calloc((size_t)images + 1, sizeof *s->images);
    if (!all || !s->images) {
        free(all);
        return fail("out of memory for the labels of %lld images", (long long)images);
    }
    const int64_t n = find_labelled(set, images, seed, all);
    qsort(all, (size_t)n, sizeof *all, by_label);
    int64_t classes = n > 0;
    for (int64_t i = 1; i < n; i++)
        classes += all[i].label != all[i - 1].label;
    if (n && !each)
        each = (int64_t)fmax(1, round(share * (double)n / (double)classes));
    take(s, all, n, each);
    free(all);
    qsort(s->images, (size_t)s->n, sizeof *s->images, by_number);
    return s->n ? 0 : fail("none of the images has a label");
}

void subset_free(struct subset *s)
{
    free(s->images);
    *s = (struct subset){0};
}
