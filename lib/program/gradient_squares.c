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

void gradient_squares_copy(struct frame *to, const struct frame *from)
{
    for (int i = 0; i < from->n_metas; i++)
        if (!strncmp(from->metas[i].key, prefix, PREFIX))
            frame_set_meta(to, from->metas[i].key, from->metas[i].value);
}

int gradient_squares_take(double *squares, const struct parameters *p, const struct frame *f)
{
    for (int i = 0; i < f->n_metas; i++) {
        const char *key = f->metas[i].key;
        const int at = strncmp(key, prefix, PREFIX) ? -1 : parameters_find(p, key + PREFIX);
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
