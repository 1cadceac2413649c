#include "data/subset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/random.h"

struct candidate {
    int64_t label, image;
    uint64_t number; /* a random number */
    double place;    /* its place in an order over all classes, 0 <= place < 1 */
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

static int by_place(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

static int by_image(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->image < y->image ? -1 : x->image > y->image;
}

static uint64_t draw(uint64_t seed, enum random_purpose purpose, int64_t image)
{
    struct random r;
    random_start(&r, seed, purpose, 0, (uint32_t)image, 0);
    const uint64_t high = random_u32(&r);
    return high << 32 | random_u32(&r);
}

/* Returns a random number that is a function of the image's name (FNV-1a, then Philox), or of its
 * number if it has no name. */
static uint64_t draw_by_name(const struct dataset *set, int64_t image)
{
    const char *name = dataset_image_name(set, image);
    uint64_t hash = 0xcbf29ce484222325;
    if (!name)
        return draw(0, RANDOM_HOLD, image);
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
    return draw(hash, RANDOM_HOLD, 0);
}

/* Returns how many candidates from i on are of the same class. All n candidates are sorted by
 * label. */
static int64_t class_size(const struct candidate *all, int64_t i, int64_t n)
{
    int64_t size = 1;
    while (i + size < n && all[i + size].label == all[i].label)
        size++;
    return size;
}

/* Keeps one of the two parts of each class: the images that are held out, or the others. Returns
 * how many images are left. */
static int64_t divide(const struct dataset *set, const struct subset_options *options,
                      struct candidate *all, int64_t n)
{
    int64_t left = 0;
    for (int64_t i = 0; i < n; i++)
        all[i].number = draw_by_name(set, all[i].image);
    qsort(all, (size_t)n, sizeof *all, by_label);
    for (int64_t i = 0, size; i < n; i += size) {
        size = class_size(all, i, n);
        int64_t held = (int64_t)round(options->hold * (double)size);
        held = held < 1 ? 1 : held;
        held = held < size ? held : size - 1;
        const int64_t from = options->held_out ? 0 : held,
                      kept = options->held_out ? held : size - held;
        memmove(all + left, all + i + from, (size_t)kept * sizeof *all);
        left += kept;
    }
    return left;
}

/* Sorts the images so that the first options->limit of them are the chosen ones. Returns how many
 * are left. */
static int64_t limit(const struct subset_options *options, struct candidate *all, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        all[i].number = draw(0, RANDOM_LIMIT, all[i].image);
    qsort(all, (size_t)n, sizeof *all, by_label);
    for (int64_t i = 0, size; i < n; i += size) {
        size = class_size(all, i, n);
        for (int64_t k = 0; k < size; k++)
            all[i + k].place = (double)k / (double)size;
    }
    qsort(all, (size_t)n, sizeof *all, by_place);
    return options->limit;
}

/* Keeps the same number of labelled images of each class. Returns how many are left. */
static int64_t take_labelled(const struct subset_options *options, struct candidate *all, int64_t n)
{
    int64_t labelled = 0, classes = 0, left = 0;
    for (int64_t i = 0; i < n; i++)
        if (all[i].label >= 0) {
            all[labelled] = all[i];
            all[labelled].number = draw(options->labels_seed, RANDOM_LABELS, all[i].image);
            labelled++;
        }
    qsort(all, (size_t)labelled, sizeof *all, by_label);
    for (int64_t i = 0; i < labelled; i += class_size(all, i, labelled))
        classes++;
    int64_t each = options->labels_per_class;
    if (!each && classes)
        each = (int64_t)fmax(1, round(options->labels * (double)labelled / (double)classes));
    for (int64_t i = 0, size; i < labelled; i += size) {
        size = class_size(all, i, labelled);
        const int64_t kept = size < each ? size : each;
        memmove(all + left, all + i, (size_t)kept * sizeof *all);
        left += kept;
    }
    return left;
}

int subset_choose(struct subset *s, const struct dataset *set, const struct subset_options *options)
{
    *s = (struct subset){.n = dataset_count(set)};
    const bool labels = options->labels < 1 || options->labels_per_class;
    const int64_t images = s->n;
    if (options->hold == 0 && (options->limit == 0 || options->limit >= images) && !labels)
        return 0;
    if (images > UINT32_MAX)
        return fail("more than %lld images", (long long)UINT32_MAX);
    struct candidate *all = calloc((size_t)images + 1, sizeof *all);
    s->images = calloc((size_t)images + 1, sizeof *s->images);
    if (!all || !s->images) {
        free(all);
        return fail("out of memory for the choice among %lld images", (long long)images);
    }
    for (int64_t i = 0; i < images; i++)
        all[i] = (struct candidate){.label = dataset_label(set, i), .image = i};
    int64_t n = images;
    if (options->hold > 0)
        n = divide(set, options, all, n);
    const int64_t divided = n;
    if (options->limit && options->limit < n)
        n = limit(options, all, n);
    if (labels)
        n = take_labelled(options, all, n);
    qsort(all, (size_t)n, sizeof *all, by_image);
    for (int64_t i = 0; i < n; i++)
        s->images[i] = all[i].image;
    s->n = n;
    free(all);
    if (divided == 0)
        return fail("--hold %g of %lld images leaves none for the %s part", options->hold,
                    (long long)images, options->held_out ? "test" : "train");
    return n ? 0 : fail("none of the images has a label");
}

void subset_free(struct subset *s)
{
    free(s->images);
    *s = (struct subset){0};
}
