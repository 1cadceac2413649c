#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"

const char *frame_meta(const struct frame *f, const char *key)
{
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key))
            return f->metas[i].value;
    return NULL;
}

int frame_meta_int(const struct frame *f, const char *key, int64_t fallback, int64_t *out)
{
    const char *text = frame_meta(f, key);
    *out = fallback;
    if (!text)
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return fail("metadata %s is '%s', not an integer", key, text);
    *out = value;
    return 0;
}

int frame_meta_double(const struct frame *f, const char *key, double fallback, double *out)
{
    const char *text = frame_meta(f, key);
    *out = fallback;
    if (!text)
        return 0;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end)
        return fail("metadata %s is '%s', not a number", key, text);
    *out = value;
    return 0;
}

static char *must_copy(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

void frame_set_meta(struct frame *f, const char *key, const char *value)
{
    char *copy = must_copy(value);
    json_t *valid = json_string(copy); /* NULL if it is not UTF-8, which a header must be */
    for (unsigned char *c = (unsigned char *)copy; !valid && *c; c++)
        if (*c >= 0x80)
            *c = '?';
    json_decref(valid);
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key)) {
            free(f->metas[i].value);
            f->metas[i].value = copy;
            return;
        }
    f->metas = realloc(f->metas, ((size_t)f->n_metas + 1) * sizeof *f->metas);
    if (!f->metas)
        abort();
    f->metas[f->n_metas++] = (struct meta){must_copy(key), copy};
}

void frame_set_meta_int(struct frame *f, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    frame_set_meta(f, key, text);
}

void frame_set_meta_float(struct frame *f, const char *key, float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)value);
    frame_set_meta(f, key, text);
}

void frame_drop_meta(struct frame *f, const char *key)
{
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key)) {
            free(f->metas[i].key);
            free(f->metas[i].value);
            memmove(&f->metas[i], &f->metas[i + 1],
                    (size_t)(f->n_metas - i - 1) * sizeof *f->metas);
            f->n_metas--;
            return;
        }
}

void frame_inherit_metas(struct frame *to, const struct frame *from)
{
    for (int i = 0; i < from->n_metas; i++)
        if (!frame_meta(to, from->metas[i].key))
            frame_set_meta(to, from->metas[i].key, from->metas[i].value);
}
