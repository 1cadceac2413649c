/* bmp: BMP files.
 *
 * No library of Debian fits: leptonica reads neither RLE nor masks, and takes 16 bits for grey;
 * gdk-pixbuf and SDL widen 5 bits to 8 otherwise than PIL, and bring a desktop with them. The
 * format is short enough to be read here.
 *
 *   file header   14 bytes: "BM", size, reserved, offset of the pixels (u32 at 10)
 *   header        its size (u32) tells its kind. 12: u16 width, height, planes, bits. 40 or more:
 *                 u32 width, i32 height, u16 planes, u16 bits, u32 compression, size, two
 *                 resolutions, u32 colours; from 52 bytes on, masks of red, green, blue
 *   masks         after a header of 40 bytes, if the compression is 3
 *   palette       blue, green, red (and a byte of padding, if the header is not of 12 bytes)
 *   pixels        rows, each a multiple of 4 bytes, from the bottom to the top; from the top to the
 *                 bottom if the height is negative
 *
 * RLE (compression 1 with 8 bits, 2 with 4) is pairs of bytes: a count above 0 and what is repeated;
 * or 0 and 0: end of the row, 1: end of the picture, 2: skip columns and rows, 3 and more: as many
 * pixels as they are, padded to a multiple of 2 bytes. Pixels that are skipped have colour 0. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/decode_format.h"

enum { RAW, RLE8, RLE4, MASKS };

/* Where a colour is in a pixel of 16, 24 or 32 bits. */
struct bmp_mask {
    uint32_t bits, largest; /* the mask, and the largest value */
    int shift;
};

struct bmp_state {
    const struct sample *sample;
    int64_t width, height;
    int bits;
    uint32_t compression;
    bool upward; /* the first row is the lowest */
    size_t pixels;
    struct bmp_mask masks[3]; /* red, green, blue */
    uint8_t palette[256][3];
};

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 2 && memcmp(bytes, "BM", 2) == 0;
}

static void *make_state(void)
{
    struct bmp_state *b = calloc(1, sizeof *b);
    if (!b)
        fail_memory("BMP");
    return b;
}

static uint32_t read16(const uint8_t *b)
{
    return b[0] | (uint32_t)b[1] << 8;
}

static uint32_t read32(const uint8_t *b)
{
    return read16(b) | read16(b + 2) << 16;
}

/* ---- the header ---- */

static int set_mask(struct bmp_state *b, int colour, uint32_t bits)
{
    struct bmp_mask *mask = &b->masks[colour];
    mask->bits = bits;
    mask->shift = bits ? __builtin_ctz(bits) : 0;
    mask->largest = bits >> mask->shift;
    if (!bits || mask->largest > 255 || (mask->largest & (mask->largest + 1)) ||
        (b->bits < 32 && bits >> b->bits))
        return sample_fail(b->sample, "a BMP with mask %#x of %d bits, which is not read", bits,
                           b->bits);
    return 0;
}

/* Sets the masks of pixels of 16 to 32 bits; `given` are those of the file, or NULL. */
static int set_masks(struct bmp_state *b, const uint8_t *given)
{
    static const uint32_t narrow[3] = {0x7c00, 0x3e0, 0x1f}, wide[3] = {0xff0000, 0xff00, 0xff};
    const bool none = given && !read32(given) && !read32(given + 4) && !read32(given + 8);
    for (int c = 0; c < 3; c++) {
        const uint32_t usual = b->bits == 16 ? narrow[c] : wide[c];
        if (set_mask(b, c, given && !none ? read32(given + 4 * c) : usual))
            return -1;
    }
    return 0;
}

/* Reads `n` colours of `each` bytes. Those that a palette lacks are grey, as in PIL. */
static void read_palette(struct bmp_state *b, const uint8_t *from, size_t n, size_t each)
{
    for (size_t i = 0; i < 256; i++)
        for (size_t c = 0; c < 3; c++)
            b->palette[i][c] = i < n ? from[each * i + 2 - c] : (uint8_t)i;
}

/* Checks the kind of the pixels. */
static int check_kind(const struct bmp_state *b)
{
    const int bits = b->bits;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return sample_fail(b->sample, "a BMP of %d bits; 1, 4, 8, 16, 24 and 32 are read", bits);
    if (b->compression > MASKS || (b->compression == RLE8 && bits != 8) ||
        (b->compression == RLE4 && bits != 4) || (b->compression == MASKS && bits < 16))
        return sample_fail(b->sample, "a BMP of %d bits with compression %u, which is not read",
                           bits, b->compression);
    return 0;
}

/* Reads what follows the sizes in the header: colours, palette or masks, and where the pixels
 * are. */
static int read_colours(struct bmp_state *b, uint32_t header)
{
    const uint8_t *bytes = b->sample->bytes;
    const size_t size = b->sample->size, after = 14 + (size_t)header;
    const size_t each = header == 12 ? 3 : 4;
    size_t colours = header == 12 ? 0 : read32(bytes + 46), end = after;
    b->pixels = read32(bytes + 10);
    if (b->bits <= 8) {
        if (colours == 0)
            colours = (size_t)1 << b->bits;
        if (colours > 65536 || colours * each > size - after)
            return sample_fail(b->sample, "damaged BMP: a palette of %zu colours", colours);
        read_palette(b, bytes + after, colours, each);
        end += colours * each;
        if (b->pixels == after) /* some programs forget the palette, says PIL */
            b->pixels += 4 * colours;
    } else {
        const bool behind = b->compression == MASKS && header < 52;
        if (behind && size - after < 12)
            return sample_fail(b->sample, "damaged BMP: truncated");
        if (set_masks(b, b->compression != MASKS ? NULL : bytes + (behind ? after : 54)))
            return -1;
        end += behind ? 12 : 0;
    }
    if (b->pixels == 0)
        b->pixels = end;
    return 0;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct bmp_state *b = state;
    const uint8_t *bytes = s->bytes;
    (void)orient;
    *b = (struct bmp_state){.sample = s, .upward = true};
    const uint32_t header = s->size >= 18 ? read32(bytes + 14) : 0;
    if (s->size < 26 || header > s->size - 14)
        return sample_fail(s, "damaged BMP: truncated");
    if (header == 12) {
        b->width = read16(bytes + 18);
        b->height = read16(bytes + 20);
        b->bits = (int)read16(bytes + 24);
    } else if (header == 40 || header == 52 || header == 56 || header == 64 || header == 108 ||
               header == 124) {
        b->width = read32(bytes + 18);
        b->height = (int32_t)read32(bytes + 22);
        b->bits = (int)read16(bytes + 28);
        b->compression = read32(bytes + 30);
    } else
        return sample_fail(s, "a BMP with a header of %u bytes, which is not read", header);
    if (b->height < 0) {
        b->height = -b->height;
        b->upward = false;
    }
    found->width = b->width;
    found->height = b->height;
    found->kind = (struct image_kind){3, 8};
    return check_kind(b) || read_colours(b, header) ? -1 : 0;
}

/* ---- the pixels ---- */

/* Returns row y of the picture as it is stored. */
static uint8_t *row_of(const struct bmp_state *b, struct image *image, int64_t y)
{
    return image->buffer + 3 * (size_t)((b->upward ? b->height - 1 - y : y) * b->width);
}

static void convert_row(const struct bmp_state *b, const uint8_t *from, uint8_t *rgb)
{
    const size_t n = (size_t)b->width, bytes = (size_t)b->bits / 8;
    for (size_t x = 0; x < n; x++, rgb += 3) {
        if (b->bits <= 8) {
            const size_t at = x * (size_t)b->bits, shift = 8 - (size_t)b->bits - at % 8;
            memcpy(rgb, b->palette[from[at / 8] >> shift & ((1 << b->bits) - 1)], 3);
            continue;
        }
        uint32_t pixel = 0;
        for (size_t i = 0; i < bytes; i++)
            pixel |= (uint32_t)from[bytes * x + i] << (8 * i);
        for (size_t c = 0; c < 3; c++) {
            const struct bmp_mask *mask = &b->masks[c];
            rgb[c] = (uint8_t)(((pixel & mask->bits) >> mask->shift) * 255 / mask->largest);
        }
    }
}

static int read_rows(const struct bmp_state *b, const uint8_t *from, size_t left,
                     struct image *image)
{
    const size_t stride = ((size_t)b->width * (size_t)b->bits + 31) / 32 * 4;
    if ((size_t)b->height * stride > left)
        return sample_fail(b->sample, "damaged BMP: truncated");
    for (int64_t y = 0; y < b->height; y++, from += stride)
        convert_row(b, from, row_of(b, image, y));
    return 0;
}

/* The state of RLE: the pixels that were written, in the order in which they are stored. */
struct bmp_run {
    const struct bmp_state *bmp;
    struct image *image;
    int64_t done, total, column; /* column: in its row, even if a run reaches beyond it */
};

static void put(struct bmp_run *r, uint8_t colour, int64_t n)
{
    const struct bmp_state *b = r->bmp;
    for (; n > 0 && r->done < r->total; n--, r->done++)
        memcpy(row_of(b, r->image, r->done / b->width) + 3 * (r->done % b->width),
               b->palette[colour], 3);
}

/* Writes a run of one colour, or of two that alternate. It ends with its row. */
static void put_run(struct bmp_run *r, int64_t n, uint8_t colour)
{
    const bool two = r->bmp->bits == 4;
    const int64_t room = r->bmp->width - r->column;
    n = n < room ? n : room;
    for (int64_t i = 0; i < n; i++)
        put(r, two ? (i % 2 ? colour & 15 : colour >> 4) : colour, 1);
    r->column += n > 0 ? n : 0;
}

static void put_literal(struct bmp_run *r, const uint8_t *from, int64_t n)
{
    const bool two = r->bmp->bits == 4;
    for (int64_t i = 0; i < n; i++)
        put(r, two ? (i % 2 ? from[i / 2] & 15 : from[i / 2] >> 4) : from[i], 1);
    r->column += n;
}

static int read_runs(const struct bmp_state *b, const uint8_t *from, size_t left,
                     struct image *image)
{
    struct bmp_run r = {.bmp = b, .image = image, .total = b->width * b->height};
    while (r.done < r.total && left >= 2) {
        const int count = from[0], value = from[1];
        from += 2;
        left -= 2;
        if (count > 0)
            put_run(&r, count, (uint8_t)value);
        else if (value == 0) {
            put(&r, 0, (b->width - r.done % b->width) % b->width);
            r.column = 0;
        } else if (value == 1)
            break;
        else {
            const size_t need =
                value == 2 ? 2 : (((size_t)value * (size_t)b->bits + 7) / 8 + 1) & ~1UL;
            if (left < need)
                break;
            if (value == 2) {
                put(&r, 0, from[0] + from[1] * b->width);
                r.column = r.done % b->width;
            } else
                put_literal(&r, from, value);
            from += need;
            left -= need;
        }
    }
    return r.done == r.total ? 0 : sample_fail(b->sample, "damaged BMP: truncated");
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    const struct bmp_state *b = state;
    const struct sample *s = b->sample;
    (void)pixels;
    (void)denominator;
    if (b->pixels > s->size)
        return sample_fail(s, "damaged BMP: truncated");
    const uint8_t *from = s->bytes + b->pixels;
    const size_t left = s->size - b->pixels;
    return b->compression == RLE8 || b->compression == RLE4 ? read_runs(b, from, left, image)
                                                            : read_rows(b, from, left, image);
}

static void end(void *state)
{
    (void)state; /* nothing is kept */
}

const struct decode_format decode_bmp = {.name = "BMP",
                                         .endings = ".bmp .dib",
                                         .recognize = recognize,
                                         .make = make_state,
                                         .free = free,
                                         .start = start,
                                         .finish = finish,
                                         .end = end};
