#include "program/description.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "network/encoder.h"

const char *const description_keys[DESCRIPTION_KEYS + 1] = {
    "encoder", "projector", "predictor", "classifier", "class_names", NULL};

bool description_same(const char *key, const char *a, const char *b)
{
    struct encoder one, other;
    if (strcmp(a, b) == 0)
        return true;
    return strcmp(key, "encoder") == 0 && encoder_parse(a, &one) == 0 &&
           encoder_parse(b, &other) == 0 && !encoder_difference(&one, &other);
}

/* Says that two descriptions differ. Names of classes may be many, so they are not repeated. */
static int fail_differ(const char *key, const char *a_name, const char *a, const char *b_name,
                       const char *b)
{
    if (strcmp(key, "class_names") == 0)
        return fail("%s was made with other names of classes (class_names) than %s", a_name,
                    b_name);
    return fail("%s was made with %s '%.200s', %s with '%.200s'", a_name, key, a, b_name, b);
}

int description_compare(const struct frame *a, const char *a_name, const struct frame *b,
                        const char *b_name)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++) {
        const char *key = description_keys[k];
        const char *one = frame_meta(a, key), *other = frame_meta(b, key);
        if (one && other && !description_same(key, one, other))
            return fail_differ(key, a_name, one, b_name, other);
    }
    return 0;
}

/* ---- an optimizer's ---- */

int descriptions_check(const struct descriptions *d, const struct frame *join, const char *state)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++) {
        const struct entry *e = &d->entries[k];
        const char *now = frame_meta(join, description_keys[k]);
        if (!e->text || !now || description_same(description_keys[k], e->text, now))
            continue;
        if (state) {
            fail_differ(description_keys[k], state, e->text, "this run", now);
            return fail("%s: resume with what it was made with, or start a new run",
                        fail_message());
        }
        return fail_differ(description_keys[k], "a client", e->text, "another one", now);
    }
    return 0;
}

int descriptions_take(struct descriptions *d, const struct frame *join, int client)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++) {
        struct entry *e = &d->entries[k];
        const char *now = frame_meta(join, description_keys[k]);
        if (!now)
            continue;
        char *text = strdup(now);
        if (!text)
            return fail_memory(NULL);
        if (!e->text)
            e->client = client;
        free(e->text);
        e->text = text;
    }
    return 0;
}

void descriptions_forget(struct descriptions *d, int client)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++)
        if (d->entries[k].text && d->entries[k].client == client) {
            free(d->entries[k].text);
            d->entries[k].text = NULL;
        }
}

void descriptions_write(const struct descriptions *d, struct frame *f)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++)
        if (d->entries[k].text)
            frame_set_meta(f, description_keys[k], d->entries[k].text);
}

void descriptions_clear(struct descriptions *d)
{
    for (int k = 0; k < DESCRIPTION_KEYS; k++)
        free(d->entries[k].text);
    *d = (struct descriptions){0};
}
