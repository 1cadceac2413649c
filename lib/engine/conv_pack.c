#include "engine/conv_pack.h"

#include <assert.h>
#include <string.h>

#include "base/count.h"
#include "base/half.h"
#include "base/multiversion.h"
#include "engine/transpose.h"

/* The largest number of values of a step, over all kernels. */
enum { STEP = GEMM_KERNEL_BYTES / 2 * GEMM_KERNEL_COLUMNS };

/* The weights of a pass, where weight (out, in, k) is number out * out_step + in * in_step + k. */
struct conv_weights {
    const float *values;
    int64_t out_step, in_step;
    int64_t kernel;
    bool backward;
    const struct conv_shape *s;
    int64_t py, px;
};

/* Returns the number k of tap (ty, tx) of the pass. */
static int64_t kernel_position(const struct conv_weights *w, int64_t ty, int64_t tx)
{
    if (w->backward)
        return conv_pass_tap_row(w->s, w->py, ty) * w->kernel +
               conv_pass_tap_column(w->s, w->px, tx);
    return ty * w->kernel + tx;
}

/* A loop over n_outer x n_inner weights of some taps each, with the distances between these weights
 * at the source and at the destination. */
struct conv_walk {
    int64_t n_outer, n_inner, from_outer, from_inner, to_outer, to_inner, to_tap;
};

static inline __attribute__((always_inline)) void gather_taps(const float *from,
                                                              const struct conv_walk *w,
                                                              const int64_t *position, int64_t nx,
                                                              float *to)
{
    for (int64_t i = 0; i < w->n_outer; i++, from += w->from_outer) {
        for (int64_t k = 0; k < w->n_inner * w->from_inner; k += 16)
            __builtin_prefetch(from + w->from_outer + k);
        for (int64_t j = 0; j < w->n_inner; j++)
            for (int64_t tx = 0; tx < nx; tx++)
                to[i * w->to_outer + j * w->to_inner + tx * w->to_tap] =
                    from[j * w->from_inner + position[tx]];
    }
}

/* Gathers a whole block at once for windows of one pixel, where the weights of an output are
 * neighbours. Returns false, and does nothing, for any other block. */
static bool gather_block(const struct conv_weights *w, int64_t out, int64_t in, int64_t outputs,
                         int64_t inputs, int64_t columns, float *to)
{
    const float *from = w->values + out * w->out_step + in * w->in_step;
    const char *rows[TRANSPOSE_ROWS];
    if (w->kernel > 1)
        return false;
    if (w->backward) {
        for (int64_t i = 0; i < inputs; i++)
            memcpy(to + i * columns, from + i * w->in_step, (size_t)outputs * sizeof *to);
        return true;
    }
    if (outputs != TRANSPOSE_ROWS || columns != TRANSPOSE_ROWS)
        return false;
    for (int64_t j = 0; j < outputs; j++) {
        rows[j] = (const char *)(from + j * w->out_step);
        for (int64_t i = 0; i < inputs; i += 16) /* the lines from here on are the next block's */
            __builtin_prefetch(from + j * w->out_step + inputs + i);
    }
    transpose_rows(rows, inputs, false, (char *)to, (size_t)columns * sizeof *to);
    return true;
}

/* Gathers the weights of one line of taps into (taps, depth, columns) floats, with zeros where
 * there is no such input or output. It reads the weights in the order of memory, and each cache
 * line once, because the weights of an output channel are neighbours. */
static void gather_line(const struct conv_pass *p, const struct conv_weights *w, int64_t out,
                        int64_t in, int64_t ty, bool folded, float *to)
{
    const struct gemm_kernel *product = p->v->product;
    const int64_t columns = product->columns, depth = product->depth, c = p->window.c;
    const int64_t nx = p->window.nx, rest = c - in;
    const int64_t outputs = p->o - out < columns ? p->o - out : columns;
    const int64_t inputs = rest < depth ? rest : depth;
    const float *from = w->values + out * w->out_step;
    int64_t position[CONV_PACK_KERNEL];
    for (int64_t tx = 0; tx < nx; tx++)
        position[tx] = kernel_position(w, ty, tx);
    if (folded || outputs < columns || inputs < depth)
        memset(to, 0, (size_t)((folded ? 1 : nx) * depth * columns) * sizeof *to);
    if (folded) {
        for (int64_t k = in; k < in + depth && k < nx * c; k++)
            for (int64_t j = 0; j < outputs; j++)
                to[(k - in) * columns + j] =
                    from[j * w->out_step + k % c * w->in_step + position[k / c]];
        return;
    }
    if (gather_block(w, out, in, outputs, inputs, columns, to))
        return;
    from += in * w->in_step;
    struct conv_walk walk = {outputs, inputs, w->out_step, w->in_step, 1, columns, depth * columns};
    if (w->backward)
        walk = (struct conv_walk){inputs,  outputs, w->in_step,     w->out_step,
                                  columns, 1,       depth * columns};
    if (nx == 3)
        gather_taps(from, &walk, position, 3, to);
    else
        gather_taps(from, &walk, position, nx, to);
}

/* Copies weights. For maps of bf16 it rounds them to bf16, whatever type the kernel multiplies. */
MULTIVERSION static void pack_floats(const float *restrict from, int64_t n, bool bf16,
                                     float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = bf16 ? bf16_widen(bf16_narrow(from[i])) : from[i];
}

/* Converts (depth, columns) floats to (depth / 2, columns, 2) bf16: to their high halves, or with
 * `low` to their low ones. */
MULTIVERSION static void pack_bf16(const float *restrict from, int64_t depth, int64_t columns,
                                   bool low, uint32_t *restrict to)
{
    for (int64_t k = 0; k < depth; k += 2, from += 2 * columns, to += columns)
        for (int64_t j = 0; j < columns; j++) {
            float a = from[j], b = from[columns + j];
            if (low) {
                a -= bf16_widen(bf16_narrow(a));
                b -= bf16_widen(bf16_narrow(b));
            }
            to[j] = (uint32_t)bf16_narrow(b) << 16 | bf16_narrow(a);
        }
}

static void pack_pass(const struct conv_pass *p, const struct conv_weights *w, char *packed,
                      int threads)
{
    const struct gemm_kernel *product = p->v->product;
    const int64_t depth = product->depth, columns = product->columns;
    const size_t step = gemm_kernel_step_bytes(product),
                 pair = step * (size_t)precision_halves(p->v);
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, 1, 1, 1);
    const int64_t groups = count_divide_up(panel.channels, depth),
                  positions = p->window.ny * panel.nx;
    assert(p->window.nx <= CONV_PACK_KERNEL && depth * columns <= STEP);
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (int64_t b = 0; b < count_divide_up(p->o, columns); b++)
        for (int64_t g = 0; g < groups; g++)
            for (int64_t t = 0; t < positions; t++) {
                float values[CONV_PACK_KERNEL * STEP];
                const int64_t tx = t % panel.nx;
                if (tx == 0)
                    gather_line(p, w, b * columns, g * depth, t / panel.nx, panel.folded, values);
                const float *from = values + tx * depth * columns;
                char *to = packed + (size_t)((b * positions + t) * groups + g) * pair;
                if (product->values == GEMM_FLOAT)
                    pack_floats(from, depth * columns, p->v->bf16_maps, (float *)to);
                else
                    pack_bf16(from, depth, columns, false, (uint32_t *)to);
                if (p->v->split)
                    pack_bf16(from, depth, columns, true, (uint32_t *)(to + step));
            }
}

size_t conv_pack_bytes(const struct conv_pass *p)
{
    const struct gemm_kernel *product = p->v->product;
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, 1, 1, 1);
    return (size_t)(count_divide_up(p->o, product->columns) * p->window.ny * panel.nx *
                    count_divide_up(panel.channels, product->depth) * precision_halves(p->v)) *
           gemm_kernel_step_bytes(product);
}

void conv_pack_pass_forward(const struct conv_pass *p, const struct conv_shape *s,
                            const float *weight, char *packed, int threads)
{
    const int64_t area = conv_rows(s) * s->kernel;
    const struct conv_weights w = {
        .values = weight, .out_step = s->c * area, .in_step = area, .kernel = s->kernel, .s = s};
    pack_pass(p, &w, packed, threads);
}

void conv_pack_pass_backward(const struct conv_pass *p, const struct conv_shape *s, int64_t py,
                             int64_t px, const float *weight, char *packed, int threads)
{
    const int64_t area = conv_rows(s) * s->kernel;
    const struct conv_weights w = {.values = weight,
                                   .out_step = area,
                                   .in_step = s->c * area,
                                   .kernel = s->kernel,
                                   .backward = true,
                                   .s = s,
                                   .py = py,
                                   .px = px};
    pack_pass(p, &w, packed, threads);
}
