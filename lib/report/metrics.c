#include "report/metrics.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The first columns, in this order. */
static const char *const known[] = {
    "step",  "epoch",     "loss",      "accuracy", "contrast_acc", "contrast_entropy",
    "z_std", "alignment", "grad_norm", "lr",       "views_per_s"};
/* Keys that describe the run or the link, and are not metrics. */
static const char *const described[] = {"steps", "steps_per_epoch", "batch",  "grains",     "seq",
                                        "rank",  "world",           "crc32",  "kind",       "end",
                                        "run",   "classes",         "images", "class_names"};

static bool listed(const char *const *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}
#define LISTED(list, key) listed(list, sizeof(list) / sizeof *(list), key)

const struct meta *metrics_next(const struct frame *f, int *at)
{
    const int n_known = sizeof known / sizeof *known;
    while (*at < n_known) {
        const char *key = known[(*at)++];
        for (int i = 0; i < f->n_metas; i++)
            if (!strcmp(f->metas[i].key, key))
                return &f->metas[i];
    }
    while (*at < n_known + f->n_metas) {
        const struct meta *m = &f->metas[(*at)++ - n_known];
        if (!LISTED(known, m->key) && !LISTED(described, m->key))
            return m;
    }
    return NULL;
}

bool metrics_number(const char *text, double *number)
{
    char *end;
    if (!*text || isspace((unsigned char)*text) || strpbrk(text, "xX("))
        return false;
    *number = strtod(text, &end);
    return *end == 0;
}

void metrics_pass(struct frame *to, const struct frame *reply, const struct frame *request)
{
    for (int i = 0; i < reply->n_metas; i++) {
        const struct meta *m = &reply->metas[i];
        if (!LISTED(described, m->key) && !frame_meta(request, m->key))
            frame_set_meta(to, m->key, m->value);
    }
}

void metrics_columns_add(struct metrics_columns *c, const char *name)
{
    if (c->count < METRICS_MAX_COLUMNS && (c->names[c->count] = strdup(name)))
        c->count++;
}

void metrics_columns_of(const struct frame *first, struct metrics_columns *c)
{
    *c = (struct metrics_columns){0};
    const struct meta *m;
    for (int at = 0; (m = metrics_next(first, &at));)
        metrics_columns_add(c, m->key);
}

void metrics_columns_free(struct metrics_columns *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->names[i]);
    c->count = 0;
}

static void write_cell(FILE *file, const char *text, char end)
{
    for (; *text; text++)
        putc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, file);
    putc(end, file);
}

void metrics_write_header(FILE *file, const struct metrics_columns *c)
{
    for (int i = 0; i < c->count; i++)
        write_cell(file, c->names[i], i + 1 < c->count ? '\t' : '\n');
}

void metrics_write_row(FILE *file, const struct metrics_columns *c, const struct frame *f)
{
    for (int i = 0; i < c->count; i++) {
        const char *value = frame_meta(f, c->names[i]);
        write_cell(file, value ? value : "", i + 1 < c->count ? '\t' : '\n');
    }
}
