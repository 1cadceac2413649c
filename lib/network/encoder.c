#include "network/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

enum {
    CIFAR_UP_TO = 64, /* pixels a side, or steps of a series, for which the CIFAR stem is chosen */
    MAX_SIZE = 1 << 24,
    MAX_CHANNELS = 1 << 16,
    WORD = 192 /* bytes of a word of the text, with the 0 at its end */
};

static const struct architecture {
    const char *name;
    int depth;
    bool series;
} archs[] = {{"resnet18", 18, false},   {"resnet34", 34, false},   {"resnet50", 50, false},
             {"resnet101", 101, false}, {"resnet152", 152, false}, {"resnet1d", 18, true},
             {"resnet1d34", 34, true},  {"resnet1d50", 50, true}};
const char encoder_archs[] =
    "resnet18|resnet34|resnet50|resnet101|resnet152|resnet1d|resnet1d34|resnet1d50";

/* Returns NULL with a message if there is no such architecture. */
static const struct architecture *find(const char *name)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strcmp(archs[i].name, name) == 0)
            return &archs[i];
    return fail_null("arch=%s is none of %s", name, encoder_archs);
}

bool encoder_is_series(const struct encoder *e)
{
    const struct architecture *a = find(e->arch);
    return a && a->series;
}

enum resnet_stem encoder_auto_stem(int64_t height, int64_t width)
{
    return height <= CIFAR_UP_TO && width <= CIFAR_UP_TO ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET;
}

const char *encoder_stem_name(enum resnet_stem stem)
{
    return stem == RESNET_STEM_CIFAR ? "cifar" : "imagenet";
}

const char *encoder_difference(const struct encoder *a, const struct encoder *b)
{
    if (strcmp(a->arch, b->arch) != 0)
        return "arch";
    if (resnet_base_channels(a->width) != resnet_base_channels(b->width))
        return "width";
    if (a->stem != b->stem)
        return "stem";
    if (memcmp(&a->normalize, &b->normalize, sizeof a->normalize) != 0)
        return "normalize";
    if (a->selective != b->selective)
        return "sk";
    return a->channels != b->channels ? "channels" : NULL;
}

struct plan *encoder_plan(const struct encoder *e)
{
    const struct architecture *a = find(e->arch);
    if (!a)
        return NULL;
    if (a->series && e->selective)
        return fail_null("--sk: %s has no bottlenecks of images", e->arch);
    if (a->series)
        return resnet_series_plan(a->depth, e->width, e->stem, e->channels);
    return (e->selective ? resnet_sk_plan : resnet_plan)(a->depth, e->width, e->stem, e->channels);
}

/* ---- the text ---- */

void encoder_print(const struct encoder *e, char text[ENCODER_TEXT])
{
    char normalize[NORMALIZATION_TEXT], channels[32] = "", width[32];
    normalization_print(&e->normalize, normalize);
    if (e->channels != 3)
        snprintf(channels, sizeof channels, " channels=%lld", (long long)e->channels);
    for (int digits = 6; digits <= 17; digits++) { /* the shortest that reads back as this width */
        snprintf(width, sizeof width, "%.*g", digits, e->width);
        if (strtod(width, NULL) == e->width)
            break;
    }
    snprintf(text, ENCODER_TEXT, "arch=%s width=%s stem=%s normalize=%s sk=%d size=%lld%s", e->arch,
             width, encoder_stem_name(e->stem), normalize, e->selective, (long long)e->size,
             channels);
}

static int read_integer(const char *value, int64_t least, int64_t most, int64_t *to)
{
    char *end;
    const long long n = strtoll(value, &end, 10);
    if (end == value || *end || n < least || n > most)
        return -1;
    *to = n;
    return 0;
}

/* Sets one field from a word NAME=VALUE, and adds its bit to *seen. Returns -1 if the word is
 * unknown or its value is out of range. */
static int read_word(const char *name, const char *value, struct encoder *e, unsigned *seen)
{
    enum { ARCH = 1, WIDTH = 2, STEM = 4 };
    int64_t number = 0;
    if (strcmp(name, "arch") == 0) {
        const struct architecture *a = find(value);
        e->arch = a ? a->name : NULL;
        *seen |= ARCH;
        return a ? 0 : -1;
    }
    if (strcmp(name, "width") == 0) {
        char *end;
        e->width = strtod(value, &end);
        *seen |= WIDTH;
        return end != value && !*end && e->width > 0 && e->width <= 64 ? 0 : -1;
    }
    if (strcmp(name, "stem") == 0) {
        e->stem = strcmp(value, "cifar") == 0 ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET;
        *seen |= STEM;
        return strcmp(value, encoder_stem_name(e->stem)) == 0 ? 0 : -1;
    }
    if (strcmp(name, "normalize") == 0)
        return normalization_parse(value, &e->normalize);
    if (strcmp(name, "sk") == 0) {
        const int bad = read_integer(value, 0, 1, &number);
        e->selective = number != 0;
        return bad;
    }
    if (strcmp(name, "size") == 0)
        return read_integer(value, 0, MAX_SIZE, &e->size);
    if (strcmp(name, "channels") == 0)
        return read_integer(value, 1, MAX_CHANNELS, &e->channels);
    return -1;
}

int encoder_parse(const char *text, struct encoder *e)
{
    enum { ALL = 7 };
    *e = (struct encoder){.width = 1, .channels = 3};
    normalization_parse("none", &e->normalize);
    unsigned seen = 0;
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        char word[WORD];
        const size_t length = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)(length < WORD ? length : WORD - 1), at);
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        if (length >= WORD || !value || read_word(word, value, e, &seen))
            return fail("the description of an encoder, '%s', has an unknown or wrong word '%.*s'",
                        text, (int)(length < WORD ? length : WORD), at);
        at += length;
    }
    if (seen != ALL)
        return fail("the description of an encoder, '%s', lacks arch, width or stem", text);
    return 0;
}
