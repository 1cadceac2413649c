#include "program/gradient_squares.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "program/optimizer_store.h"

static const char prefix[] = "squares/";
enum { PREFIX = sizeof prefix - 1, KEY = OPTIMIZER_STORE_NAME + PREFIX + 1 };
enum { OTHERS = 64 }; /* more keys than a reply has besides these */

void gradient_squares_set(struct frame *f, const char *name, double squares)
{
    char key[KEY], value[32];
    if (f->n_metas > FRAME_MAX_ENTRIES - OTHERS)
        return;
    snprintf(key, sizeof key, "%s%s", prefix, name);
    snprintf(value, sizeof value, "%.17g", squares);
    frame_set_meta(f, key, value);
}

bool gradient_squares_is_key(const char *key)
{
    return !strncmp(key, prefix, PREFIX);
}

void gradient_squares_merge(struct frame *f, struct frame *const *frames, int n)
{
    for (int i = 0; i < f->n_tensors; i++) {
        char key[KEY];
        const char *value = NULL;
        snprintf(key, sizeof key, "%s%s", prefix, f->tensors[i].name);
        for (int k = 0; k < n && !value; k++)
            value = frame_meta(frames[k], key);
        if (value)
            frame_set_meta(f, key, value);
    }
}

int gradient_squares_take(double *squares, const struct parameters *p, const struct frame *f)
{
    for (int i = 0; i < f->n_metas; i++) {
        const char *key = f->metas[i].key;
        const int at = gradient_squares_is_key(key) ? parameters_find(p, key + PREFIX) : -1;
        if (at < 0)
            continue;
        if (frame_meta_double(f, key, NAN, &squares[at]))
            return -1;
        if (!(squares[at] >= 0 && squares[at] < INFINITY))
            return fail("%s is %s: a sum of squares is a finite number of at least 0", key,
                        f->metas[i].value);
    }
    return 0;
}

double gradient_squares_norm(const double *squares, const struct parameters *p)
{
    double sum = 0;
    bool any = false;
    for (int i = 0; i < p->n; i++)
        if (!p->list[i].buffer && !p->list[i].frozen) {
            sum += squares[i];
            any = true;
        }
    return any ? sqrt(sum) : NAN;
}
