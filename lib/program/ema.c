#include "program/ema.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/shortest.h"

static const char key[] = "ema";

void ema_name(char text[EMA_TEXT], const char *parameter)
{
    snprintf(text, EMA_TEXT, "%s/%s", key, parameter);
}

/* Writes the key of the parameter's part. */
static void part_key(char text[EMA_TEXT], const char *parameter)
{
    snprintf(text, EMA_TEXT, "%s/%.*s", key, (int)strcspn(parameter, "."), parameter);
}

void ema_set(struct frame *join, double momentum)
{
    char text[SHORTEST_TEXT];
    shortest_print(text, momentum);
    frame_set_meta(join, key, text);
}

void ema_set_part(struct frame *state, const char *parameter, double momentum)
{
    char of_part[EMA_TEXT], text[SHORTEST_TEXT];
    part_key(of_part, parameter);
    shortest_print(text, momentum);
    frame_set_meta(state, of_part, text);
}

static int get(const struct frame *f, const char *name, double *momentum)
{
    if (frame_meta_double(f, name, EMA_NONE, momentum))
        return -1;
    if (frame_meta(f, name) && !(*momentum >= 0 && *momentum < 1))
        return fail("%s is %.32s: a momentum is at least 0 and less than 1", name,
                    frame_meta(f, name));
    return 0;
}

int ema_get(const struct frame *join, double *momentum)
{
    return get(join, key, momentum);
}

int ema_get_part(const struct frame *state, const char *parameter, double *momentum)
{
    char of_part[EMA_TEXT];
    part_key(of_part, parameter);
    return get(state, of_part, momentum);
}

void ema_print(char text[32], double momentum)
{
    if (momentum < 0)
        snprintf(text, 32, "none");
    else
        shortest_print(text, momentum);
}
