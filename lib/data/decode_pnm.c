/* pnm: PBM, PGM, PPM and PAM files.
 *
 * The libraries of Debian do not fit. libnetpbm loses memory when it refuses the header of a PAM,
 * jumps to a place that a global variable names, so that one thread at a time could use it, refuses
 * plain files that end with their last digit, and its files for compilers can be installed for one
 * processor only. leptonica refuses a largest value other than 1, 3, 15, 255 and 65535, and drops
 * the lower bits of colours of 16. The format is short enough to be read here:
 *
 *   P1 to P6   width, height and, except for P1 and P4, the largest value, as decimal numbers between
 *              white space; a comment begins with # and ends with its line
 *   P1 P2 P3   bits, grey or colours as decimal numbers; bits may follow each other without a blank
 *   P4 P5 P6   after one character of white space, the same as bytes; from a largest value of 256 on,
 *              two bytes, the upper one first. Rows of bits are padded to bytes; 1 is black
 *   P7         lines "WIDTH n", "HEIGHT n", "DEPTH n", "MAXVAL n", "TUPLTYPE word", "# comment" in any
 *              order, then "ENDHDR", and the values as in P5
 *
 * Values v of a largest value m become v 255 / m, rounded, as in PIL; DECODE_RAW gives 16 bits, v
 * 65535 / m, unless m is 1 or 255. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/decode_format.h"

enum { MOST = 65535, LINE = 256 };

struct pnm_state {
    const struct sample *sample;
    size_t at; /* position in the sample's bytes */
    int kind;  /* '1' to '7' */
    int64_t width, height, depth, maxval;
    bool visual; /* grey or colours */
    /* table[v] is what a value v becomes, for a largest value and a largest result. */
    int64_t table_maxval, table_largest;
    uint16_t table[MOST + 1];
};

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7' &&
           (isspace(bytes[2]) || bytes[2] == '#');
}

static void *make_state(void)
{
    struct pnm_state *p = calloc(1, sizeof *p);
    if (!p)
        fail_memory("PNM");
    return p;
}

static int fail_damaged(const struct pnm_state *p, const char *text)
{
    return sample_fail(p->sample, "damaged PNM: %s", text);
}

/* ---- text ---- */

static void skip_blanks(struct pnm_state *p)
{
    const struct sample *s = p->sample;
    bool comment = false;
    for (; p->at < s->size; p->at++) {
        const uint8_t c = s->bytes[p->at];
        if (comment)
            comment = c != '\n' && c != '\r';
        else if (c == '#')
            comment = true;
        else if (!isspace(c))
            return;
    }
}

/* Reads a decimal number of up to `digits` digits. */
static int read_number(struct pnm_state *p, int digits, int64_t *number)
{
    const struct sample *s = p->sample;
    int n = 0;
    skip_blanks(p);
    if (p->at == s->size)
        return fail_damaged(p, "truncated");
    for (*number = 0; n < digits && p->at < s->size && isdigit(s->bytes[p->at]); n++)
        *number = *number * 10 + s->bytes[p->at++] - '0';
    return n ? 0 : fail_damaged(p, "a letter in place of a number");
}

/* ---- the header ---- */

/* Reads the numbers of P1 to P6. */
static int read_numbers(struct pnm_state *p)
{
    const struct sample *s = p->sample;
    const bool bits = p->kind == '1' || p->kind == '4', raw = p->kind >= '4';
    p->depth = p->kind == '3' || p->kind == '6' ? 3 : 1;
    p->visual = true;
    p->maxval = 1;
    if (read_number(p, 10, &p->width) || read_number(p, 10, &p->height) ||
        (!bits && read_number(p, 10, &p->maxval)))
        return -1;
    if (raw && (p->at == s->size || !isspace(s->bytes[p->at++])))
        return fail_damaged(p, "no white space after the header");
    return 0;
}

/* Reads the rest of the line into `line`, and moves past it. A longer line is cut. */
static int read_line(struct pnm_state *p, char line[LINE])
{
    const uint8_t *from = p->sample->bytes + p->at;
    const uint8_t *end = memchr(from, '\n', p->sample->size - p->at);
    if (!end)
        return fail_damaged(p, "truncated");
    const size_t n = (size_t)(end - from);
    memcpy(line, from, n < LINE ? n : LINE - 1);
    line[n < LINE ? n : LINE - 1] = '\0';
    p->at += n + 1;
    return 0;
}

/* Reads the lines of P7. */
static int read_lines(struct pnm_state *p)
{
    static const char *const types[] = {"BLACKANDWHITE", "GRAYSCALE", "RGB"};
    char line[LINE], word[LINE], value[LINE];
    bool type = false;
    p->at++; /* the end of the first line */
    for (;;) {
        if (read_line(p, line))
            return -1;
        const int words = sscanf(line, "%255s %255s", word, value);
        if (words < 1 || *word == '#')
            continue;
        if (strcmp(word, "ENDHDR") == 0)
            break;
        char *end = value;
        const long long number = words == 2 ? strtoll(value, &end, 10) : 0;
        int64_t *to = strcmp(word, "WIDTH") == 0    ? &p->width
                      : strcmp(word, "HEIGHT") == 0 ? &p->height
                      : strcmp(word, "DEPTH") == 0  ? &p->depth
                      : strcmp(word, "MAXVAL") == 0 ? &p->maxval
                                                    : NULL;
        if (to && (end == value || *end))
            return fail_damaged(p, "a letter in place of a number");
        if (to)
            *to = number;
        else if (strcmp(word, "TUPLTYPE") != 0)
            return fail_damaged(p, "an unknown line in its header");
        type |= !to;
        for (size_t i = 0; !to && words == 2 && i < sizeof types / sizeof *types; i++)
            p->visual |= strncmp(value, types[i], strlen(types[i])) == 0;
    }
    p->visual |= !type && (p->depth == 1 || p->depth == 3);
    p->visual &= p->depth <= 4;
    return 0;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct pnm_state *p = state;
    (void)orient;
    p->sample = s;
    p->at = 2;
    p->kind = s->bytes[1];
    p->width = p->height = p->depth = p->maxval = 0;
    p->visual = false;
    if (p->kind == '7' ? read_lines(p) : read_numbers(p))
        return -1;
    if (p->maxval < 1 || p->maxval > MOST)
        return sample_fail(s, "damaged PNM: a largest value of %lld", (long long)p->maxval);
    if (p->depth < 1 || p->depth > IMAGE_MAX_CHANNELS)
        return sample_fail(s, "a PNM of %lld channels; up to %d are read", (long long)p->depth,
                           IMAGE_MAX_CHANNELS);
    found->width = p->width;
    found->height = p->height;
    found->kind = (struct image_kind){(int)p->depth, p->maxval == 1 || p->maxval == 255 ? 8 : 16};
    found->no_rgb = !p->visual;
    return 0;
}

/* ---- the pixels ---- */

/* Fills the table, with values rounded as Python rounds. */
static void make_table(struct pnm_state *p, int64_t largest)
{
    if (p->table_maxval == p->maxval && p->table_largest == largest)
        return;
    p->table_maxval = p->maxval;
    p->table_largest = largest;
    for (int64_t v = 0; v <= p->maxval; v++)
        p->table[v] = (uint16_t)rint((double)v / (double)p->maxval * (double)largest);
}

/* Reads value i of a row that begins at p->at. P1 and P4 have 1 for black. */
static int read_value(struct pnm_state *p, size_t i, int64_t *value)
{
    const uint8_t *row = p->sample->bytes + p->at;
    switch (p->kind) {
    case '1':
    case '2':
    case '3':
        if (read_number(p, p->kind == '1' ? 1 : 10, value))
            return -1;
        break;
    case '4':
        *value = row[i / 8] >> (7 - i % 8) & 1;
        break;
    default:
        *value = p->maxval < 256 ? row[i] : row[2 * i] << 8 | row[2 * i + 1];
    }
    if (*value > p->maxval)
        return fail_damaged(p, "a value above the largest one");
    if (p->kind == '1' || p->kind == '4')
        *value = 1 - *value;
    return 0;
}

/* Reads a row to `channels` values a pixel: those of the file, or the first three, or grey three
 * times. */
static int read_row(struct pnm_state *p, size_t channels, bool wide, uint8_t *bytes)
{
    const size_t depth = (size_t)p->depth, n = (size_t)p->width;
    const bool grey = channels == 3 && depth < 3;
    uint16_t *words = (uint16_t *)(void *)bytes;
    for (size_t i = 0; i < n * depth; i++) {
        const size_t pixel = i / depth * channels, c = i % depth;
        int64_t value = 0;
        if (read_value(p, i, &value))
            return -1;
        const uint16_t v = p->table[value];
        if (wide)
            words[pixel + c] = v;
        else if (grey && c == 0)
            bytes[pixel] = bytes[pixel + 1] = bytes[pixel + 2] = (uint8_t)v;
        else if (!grey && c < channels)
            bytes[pixel + c] = (uint8_t)v;
    }
    return 0;
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    struct pnm_state *p = state;
    const bool wide = image->kind.depth == 16, plain = p->kind <= '3';
    const size_t values = (size_t)p->width * (size_t)p->depth;
    const size_t row = plain            ? 0
                       : p->kind == '4' ? (values + 7) / 8
                                        : values * (p->maxval < 256 ? 1 : 2);
    const size_t out = image_pixel_bytes(image->kind) * (size_t)image->width;
    (void)pixels;
    (void)denominator;
    if (row * (size_t)p->height > p->sample->size - p->at)
        return fail_damaged(p, "truncated");
    make_table(p, wide ? MOST : 255);
    for (int64_t y = 0; y < p->height; y++, p->at += row)
        if (read_row(p, (size_t)image_channels(image->kind), wide, image->buffer + (size_t)y * out))
            return -1;
    return 0;
}

static void end(void *state)
{
    (void)state; /* nothing is kept but the table */
}

const struct decode_format decode_pnm = {.name = "PNM",
                                         .endings = ".pnm .pbm .pgm .ppm .pam",
                                         .recognize = recognize,
                                         .make = make_state,
                                         .free = free,
                                         .start = start,
                                         .finish = finish,
                                         .end = end};
