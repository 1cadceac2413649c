#include "report/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const double low = 0.05;   /* of z_std */
static const double close = 0.01; /* of a loss to that of chance, relative */

/* The values of a frame; NAN or -1 if it lacks them. */
struct watched {
    int64_t step, batch;
    double loss, accuracy, z_std;
};

static int read_values(struct watched *v, const struct frame *f)
{
    return frame_meta_int(f, "step", -1, &v->step) || frame_meta_int(f, "batch", -1, &v->batch) ||
                   frame_meta_double(f, "loss", NAN, &v->loss) ||
                   frame_meta_double(f, "accuracy", NAN, &v->accuracy) ||
                   frame_meta_double(f, "z_std", NAN, &v->z_std)
               ? -1
               : 0;
}

/* Returns the mean over the half of the window that ends `back` frames ago. */
static double mean(const struct watch *w, int64_t back)
{
    double sum = 0;
    for (int64_t i = w->losses - back - WATCH_HALF; i < w->losses - back; i++)
        sum += w->recent[i % (2 * WATCH_HALF)];
    return sum / WATCH_HALF;
}

/* Returns true if the losses of the whole window stay at `chance`. */
static bool at_chance(const struct watch *w, double chance)
{
    return w->losses >= 2 * (int64_t)WATCH_HALF && fabs(mean(w, 0) - chance) < close * chance &&
           fabs(mean(w, WATCH_HALF) - chance) < close * chance;
}

/* Adds a frame's values to the windows. */
static void store(struct watch *w, const struct watched *v)
{
    if (w->steps && v->step >= 0 && v->step < w->steps)
        w->collapsed = w->losses = 0;
    w->steps = v->step + 1;
    w->collapsed = v->z_std < low ? w->collapsed + 1 : 0;
    if (isnan(v->loss) || v->batch < 2 || !isnan(v->accuracy))
        w->losses = 0;
    else
        w->recent[w->losses++ % (2 * WATCH_HALF)] = v->loss;
}

int watch_update(struct watch *w, const struct frame *f, char *warning, size_t room)
{
    struct watched v;
    *warning = 0;
    if (read_values(&v, f))
        return -1;
    store(w, &v);
    const double chance = log(2 * (double)v.batch - 1);
    if (w->warned)
        return 0;
    if (w->collapsed >= WATCH_COLLAPSED)
        snprintf(warning, room,
                 "z_std has been under %g for %d steps (%.3g in step %" PRId64 "): all images are "
                 "getting the same features, which is a collapse. Try a lower learning rate, a "
                 "larger batch, "
                 "or a loss that pushes different images apart (ntxent)",
                 low, WATCH_COLLAPSED, v.z_std, v.step);
    else if (at_chance(w, chance))
        snprintf(warning, room,
                 "the loss has stayed within 1%% of ln(2B-1) = %.4g, what chance gives, for %d "
                 "steps: nothing is being learned. Try another learning rate, a longer warm-up, or "
                 "weaker views (augment --policy simclr-cifar)",
                 chance, 2 * WATCH_HALF);
    w->warned = *warning != 0;
    return 0;
}
