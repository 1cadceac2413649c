#include "network/normalization.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* The means and standard deviations of the training images, as they are commonly used. */
static const struct {
    const char *name, *values;
} known[] = {{"cifar10", "0.4914,0.4822,0.4465/0.2470,0.2435,0.2616"},
             {"imagenet", "0.485,0.456,0.406/0.229,0.224,0.225"}};
enum { KNOWN = sizeof known / sizeof *known };

/* Reads numbers that are separated by commas, up to `end`. Returns how many there are, or 0 if that
 * is no such list. */
static int read_list(const char *text, char end, float values[NORMALIZATION_CHANNELS],
                     const char **rest)
{
    for (int n = 0; n < NORMALIZATION_CHANNELS; n++) {
        char *after;
        values[n] = strtof(text, &after);
        if (after == text || !isfinite(values[n]))
            return 0;
        *rest = after + 1;
        if (*after == end)
            return n + 1;
        if (*after != ',')
            return 0;
        text = after + 1;
    }
    return 0;
}

int normalization_parse(const char *text, struct normalization *n)
{
    *n = (struct normalization){0, {0, 0, 0, 0}, {1, 1, 1, 1}};
    if (strcmp(text, "none") == 0)
        return 0;
    const char *list = text;
    for (int i = 0; i < KNOWN; i++)
        if (strcmp(text, known[i].name) == 0)
            list = known[i].values;
    n->channels = read_list(list, '/', n->mean, &list);
    bool sound = n->channels && read_list(list, '\0', n->std, &list) == n->channels;
    for (int i = 0; i < n->channels; i++)
        sound = sound && n->std[i] > 0;
    return sound ? 0 : fail("%s is not none, cifar10, imagenet or M,M,M/S,S,S", text);
}

void normalization_print(const struct normalization *n, char text[NORMALIZATION_TEXT])
{
    for (int i = 0; i < KNOWN; i++) {
        struct normalization other;
        if (normalization_parse(known[i].values, &other) == 0 &&
            memcmp(&other, n, sizeof other) == 0) {
            snprintf(text, NORMALIZATION_TEXT, "%s", known[i].name);
            return;
        }
    }
    snprintf(text, NORMALIZATION_TEXT, "none");
    int length = 0;
    for (int i = 0; i < 2 * n->channels; i++) {
        const float value = i < n->channels ? n->mean[i] : n->std[i - n->channels];
        const char *before = i == 0 ? "" : i == n->channels ? "/" : ",";
        length += snprintf(text + length, NORMALIZATION_TEXT - (size_t)length, "%s%.9g", before,
                           (double)value);
    }
}
