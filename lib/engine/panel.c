#include "engine/panel.h"

#include <assert.h>
#include <string.h>

#include "base/count.h"
#include "base/half.h"
#include "base/multiversion.h"
#include "engine/transpose.h"

/* GROUP is the number of rows that are copied at a time, which are two cache lines of bf16 pairs.
 * CHUNK is the number of bytes of a row in a panel of A. */
enum { GROUP = TRANSPOSE_ROWS, CHUNK = GEMM_KERNEL_BYTES };

/* Rounds bytes up to an odd number of cache lines, which keeps planes from falling into the same few
 * sets of a cache. */
static size_t odd_lines(int64_t bytes)
{
    return (size_t)(count_round_up(bytes, 2 * CHUNK) + CHUNK);
}

void panel_lay_out(struct panel *p, const struct panel_window *window,
                   const struct precision *values, enum panel_layout layout, int64_t rows,
                   int64_t columns, int64_t n)
{
    const struct gemm_kernel *product = values->product;
    const int64_t depth = product->depth, value = (int64_t)gemm_kernel_value_bytes(product);
    /* Pairs of rows must begin at even rows, whatever their tap and line. */
    const bool pairs = layout == PANEL_B && product->values == GEMM_BF16 &&
                       (window->nx > 1 || window->ny > 1 || (columns % 2 && rows > 1));
    *p = (struct panel){.window = *window,
                        .values = *values,
                        .layout = layout,
                        .rows = rows,
                        .columns = columns,
                        .n = pairs ? count_round_up(n, 2) : n,
                        .channels = window->c,
                        .nx = window->nx};
    p->folded = window->nx > 1 && window->pitch * 2 <= depth;
    if (p->folded) {
        p->channels *= window->nx;
        p->nx = 1;
    }
    p->line_step = window->ny < window->step ? window->ny : window->step;
    p->slot_step = p->nx < window->step ? p->nx : window->step;
    p->lines = (rows - 1) * p->line_step + window->ny;
    p->phase = columns + (p->nx - 1) / p->slot_step;
    p->line_rows = p->slot_step * p->phase * p->n;
    p->line_pitch = layout == PANEL_TRANSPOSED || layout == PANEL_ACROSS
                        ? count_round_up(p->line_rows, depth)
                        : p->line_rows;
    /* A block reads all its rows of A, and a step reads all its k of B, even those whose results
     * are not used. */
    int64_t total = p->lines * p->line_pitch, planes;
    if (layout == PANEL_A) {
        p->row_bytes = CHUNK;
        p->plane = (size_t)((total + product->rows) * CHUNK);
        planes = count_round_up(p->channels, depth) / depth;
    } else if (layout == PANEL_B) {
        p->row_bytes = (size_t)(product->columns * value);
        p->plane = (size_t)(count_round_up(total + depth, 2)) * p->row_bytes;
        planes = count_round_up(p->channels, product->columns) / product->columns;
    } else if (layout == PANEL_ACROSS) {
        p->row_bytes = (size_t)(product->rows * value);
        p->plane = odd_lines(total * product->rows * value);
        planes = count_round_up(p->channels, product->rows) / product->rows;
    } else {
        p->row_bytes = (size_t)value;
        p->plane = odd_lines(total * value);
        planes = count_round_up(p->channels, product->rows);
    }
    p->half = (size_t)planes * p->plane;
    p->bytes = p->half * (size_t)precision_halves(values);
}

ptrdiff_t panel_tap(const struct panel *p, int64_t ty, int64_t tx)
{
    const int64_t slot = tx % p->slot_step * p->phase + tx / p->slot_step;
    return (ty * p->line_pitch + slot * p->n) * (ptrdiff_t)p->row_bytes;
}

/* ---- rows into layouts ---- */

/* Copies row i, `bytes` bytes at from[i], in chunks to `to` + chunk number * plane + i * chunk, and
 * fills the last chunk with zeros. */
static inline __attribute__((always_inline)) void
copy_chunks(const char *const *from, int64_t n, size_t bytes, size_t chunk, char *to, size_t plane)
{
    for (int64_t i = 0; i < n; i++, to += chunk) {
        char *at = to;
        size_t done = 0;
        for (; done + chunk <= bytes; done += chunk, at += plane)
            memcpy(at, from[i] + done, chunk);
        if (done < bytes) {
            memcpy(at, from[i] + done, bytes - done);
            memset(at + bytes - done, 0, chunk - (bytes - done));
        }
    }
}

MULTIVERSION static void copy_rows(const char *const *from, int64_t n, size_t bytes, size_t chunk,
                                   char *to, size_t plane)
{
    if (chunk == CHUNK)
        copy_chunks(from, n, bytes, CHUNK, to, plane);
    else if (chunk == (size_t)2 * CHUNK)
        copy_chunks(from, n, bytes, (size_t)2 * CHUNK, to, plane);
    else if (chunk == CHUNK / 2)
        copy_chunks(from, n, bytes, CHUNK / 2, to, plane);
    else if (chunk == 6 * sizeof(float))
        copy_chunks(from, n, bytes, 6 * sizeof(float), to, plane);
    else
        copy_chunks(from, n, bytes, chunk, to, plane);
}

/* Does the same with rows of c bf16, in chunks of `columns` floats. */
static inline __attribute__((always_inline)) void
widen_chunks(const char *const *from, int64_t n, int64_t c, int64_t columns, char *to, size_t plane)
{
    for (int64_t i = 0; i < n; i++) {
        const uint16_t *row = (const uint16_t *)from[i];
        char *at = to + (size_t)(i * columns) * sizeof(float);
        int64_t done = 0;
        for (; done + columns <= c; done += columns, at += plane) {
#pragma omp simd
            for (int64_t k = 0; k < columns; k++)
                ((float *)at)[k] = bf16_widen(row[done + k]);
        }
        for (int64_t k = 0; done < c && k < columns; k++)
            ((float *)at)[k] = done + k < c ? bf16_widen(row[done + k]) : 0;
    }
}

MULTIVERSION static void widen_rows(const char *const *from, int64_t n, int64_t c, int64_t columns,
                                    char *to, size_t plane)
{
    if (columns == 16)
        widen_chunks(from, n, c, 16, to, plane);
    else if (columns == 32)
        widen_chunks(from, n, c, 32, to, plane);
    else if (columns == 8)
        widen_chunks(from, n, c, 8, to, plane);
    else if (columns == 6)
        widen_chunks(from, n, c, 6, to, plane);
    else
        widen_chunks(from, n, c, columns, to, plane);
}

/* Interleaves the values of pairs of rows of c bf16, in chunks of `columns` pairs. */
static inline __attribute__((always_inline)) void
pair_chunks(const char *const *from, int64_t n, int64_t c, int64_t columns, char *to, size_t plane)
{
    for (int64_t i = 0; i < n; i += 2) {
        const uint16_t *first = (const uint16_t *)from[i];
        const uint16_t *second = (const uint16_t *)from[i + 1];
        char *at = to + i * columns * 2;
        int64_t done = 0;
        for (; done + columns <= c; done += columns, at += plane) {
            uint32_t *restrict pair = (uint32_t *)at;
            for (int64_t k = 0; k < columns; k++)
                pair[k] = (uint32_t)second[done + k] << 16 | first[done + k];
        }
        for (int64_t k = 0; done < c && k < columns; k++)
            ((uint32_t *)at)[k] =
                done + k < c ? (uint32_t)second[done + k] << 16 | first[done + k] : 0;
    }
}

MULTIVERSION static void pair_rows(const char *const *from, int64_t n, int64_t c, int64_t columns,
                                   char *to, size_t plane)
{
    if (columns == 32)
        pair_chunks(from, n, c, 32, to, plane);
    else if (columns == 8)
        pair_chunks(from, n, c, 8, to, plane);
    else
        pair_chunks(from, n, c, columns, to, plane);
}

/* ---- filling ---- */

/* Sets high and low so that from = high + low + e, where |e| is at most 2^-18 |from|. */
MULTIVERSION static void split_row(const float *restrict from, int64_t n, uint16_t *restrict high,
                                   uint16_t *restrict low)
{
    for (int64_t i = 0; i < n; i++) {
        high[i] = bf16_narrow(from[i]);
        low[i] = bf16_narrow(from[i] - bf16_widen(high[i]));
    }
}

/* The parts of panel_fill()'s scratch memory: a row of zeros, then GROUP rows of each kind that is
 * prepared before it is copied, which are folded windows and the halves of split values. */
struct panel_scratch {
    const char *zero;
    char *folded, *high, *low;
    size_t row; /* bytes */
};

static size_t scratch_row(const struct panel *p)
{
    return (size_t)count_round_up(p->channels * (int64_t)sizeof(float), CHUNK);
}

static struct panel_scratch scratch_at(const struct panel *p, char *memory)
{
    const size_t row = scratch_row(p);
    return (struct panel_scratch){.zero = memory,
                                  .folded = memory + row,
                                  .high = memory + (1 + GROUP) * row,
                                  .low = memory + (1 + 2 * GROUP) * row,
                                  .row = row};
}

size_t panel_scratch_bytes(const struct panel *p)
{
    return (1 + 3 * GROUP) * scratch_row(p);
}

/* Returns the number of the source line for line i of a panel that begins at output row `row`. */
static int64_t source_line(const struct panel *p, int64_t row, int64_t i)
{
    return (row + i / p->line_step) * p->window.step + p->window.y0 + i % p->line_step;
}

/* Copies a folded slot to `to`: the nx pixels of a line from x on, with zeros for those outside the
 * map. line is NULL if the whole line is outside. Returns `to`. */
static const char *fold(const struct panel_window *w, const char *line, int64_t x, size_t value,
                        char *to)
{
    const size_t pixel = (size_t)w->pitch * value;
    if (line && x >= 0 && x + w->nx <= w->w)
        return memcpy(to, line + (size_t)x * pixel, (size_t)w->nx * pixel);
    for (int64_t k = 0; k < w->nx; k++, x++) {
        if (line && x >= 0 && x < w->w)
            memcpy(to + (size_t)k * pixel, line + (size_t)x * pixel, pixel);
        else
            memset(to + (size_t)k * pixel, 0, pixel);
    }
    return to;
}

/* Sets from[0] to from[GROUP - 1] to the addresses of the values of the rows from `first` on, which
 * are of source line y. */
static void find_rows(const struct panel *p, const char *src, int64_t images, int64_t y,
                      int64_t first, const struct panel_scratch *scratch, const char **from)
{
    const struct panel_window w = p->window;
    const size_t value = precision_map_bytes(&p->values), pixel = (size_t)w.pitch * value;
    const size_t line = (size_t)w.w * pixel, image = (size_t)w.h * line;
    const int64_t n = p->n, phase_slots = p->phase;
    const bool inside = y >= 0 && y < w.h;
    const char *source = inside ? src + (size_t)y * line : NULL;
    int64_t slot = first / n % phase_slots, phase = first / n / phase_slots, m = first % n;
    int64_t x = slot * w.step + phase + w.x0, rows = p->line_rows - first;
    for (int64_t i = 0; i < GROUP; i++, rows--) {
        const bool used = rows > 0 && m < images;
        from[i] = scratch->zero;
        if (used && p->folded)
            from[i] = fold(&w, inside ? source + (size_t)m * image : NULL, x, value,
                           scratch->folded + (size_t)i * scratch->row);
        else if (used && inside && x >= 0 && x < w.w)
            from[i] = source + (size_t)m * image + (size_t)x * pixel;
        if (++m < n)
            continue;
        m = 0;
        x += w.step;
        if (++slot == phase_slots) {
            slot = 0;
            x = ++phase + w.x0;
        }
    }
}

/* Splits rows of floats. `from` then points to their high halves, and `low` to their low ones. */
static void split_rows(const struct panel *p, const struct panel_scratch *scratch,
                       const char **from, const char **low)
{
    for (int64_t i = 0; i < GROUP; i++) {
        char *high = scratch->high + (size_t)i * scratch->row;
        char *rest = scratch->low + (size_t)i * scratch->row;
        low[i] = from[i];
        if (from[i] == scratch->zero)
            continue;
        split_row((const float *)from[i], p->channels, (uint16_t *)high, (uint16_t *)rest);
        from[i] = high;
        low[i] = rest;
    }
}

/* Copies `n` rows into the panel, from panel row `row` on. A transposed panel takes GROUP rows,
 * some of which are padding. */
static void lay_rows(const struct panel *p, const char *const *from, int64_t n, int64_t row,
                     char *to)
{
    const struct gemm_kernel *product = p->values.product;
    const bool bf16 = product->values == GEMM_BF16;
    const size_t bytes = (size_t)p->channels * gemm_kernel_value_bytes(product);
    to += (size_t)row * p->row_bytes;
    if (p->values.bf16_maps && !bf16)
        widen_rows(from, n, p->channels, (int64_t)(p->row_bytes / sizeof(float)), to, p->plane);
    else if (p->layout == PANEL_TRANSPOSED)
        transpose_rows(from, p->channels, bf16, to, p->plane);
    else if (p->layout != PANEL_A && bf16)
        pair_rows(from, n, p->channels, p->layout == PANEL_B ? product->columns : product->rows, to,
                  p->plane);
    else
        copy_rows(from, n, bytes, p->row_bytes, to, p->plane);
}

/* Sets the rows after the last one in B to zeros. A step reads them and multiplies them by zeros,
 * so a NaN there would reach the result. */
static void clear_slack(const struct panel *p, char *memory)
{
    const size_t used = (size_t)(p->lines * p->line_pitch) * p->row_bytes;
    for (size_t plane = 0; plane < p->bytes; plane += p->plane)
        memset(memory + plane + used, 0, p->plane - used);
}

/* Prefetches rows, which are scattered over memory. Prefetched together, they cost one wait for
 * each group. */
static void prefetch_rows(const struct panel *p, const char *const *from, int64_t n)
{
    const size_t bytes = (size_t)p->window.c * precision_map_bytes(&p->values);
    for (int64_t i = 0; i < n; i++)
        for (size_t at = 0; at < bytes; at += CHUNK)
            __builtin_prefetch(from[i] + at);
}

void panel_fill(const struct panel *p, const void *src, int64_t images, int64_t row, void *memory,
                void *scratch_memory)
{
    const char *from[GROUP], *low[GROUP];
    const struct panel_scratch scratch = scratch_at(p, scratch_memory);
    memset(scratch_memory, 0, scratch.row);
    if (p->layout == PANEL_B)
        clear_slack(p, memory);
    for (int64_t i = 0; i < p->lines; i++) {
        const int64_t y = source_line(p, row, i);
        for (int64_t first = 0; first < p->line_pitch; first += GROUP) {
            const int64_t rest = p->line_pitch - first, n = rest < GROUP ? rest : GROUP;
            find_rows(p, src, images, y, first, &scratch, from);
            if (!p->folded)
                prefetch_rows(p, from, n);
            if (p->values.split)
                split_rows(p, &scratch, from, low);
            lay_rows(p, from, n, i * p->line_pitch + first, memory);
            if (p->values.split)
                lay_rows(p, low, n, i * p->line_pitch + first, (char *)memory + p->half);
        }
    }
}
