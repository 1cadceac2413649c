/* conv_pass: the product of a feature map and packed weights. The forward pass of a convolution is
 * one such product, and so is each phase of its backward pass for the input (conv.h has the
 * whole). */
#ifndef CONV_PASS_H
#define CONV_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/panel.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* One pass. Output (b, a) of the grid of rows x columns goes to pixel (b * spread + x, a * spread +
 * y) of a map of to_h x to_w pixels and `o` channels. */
struct conv_pass {
    const struct precision *v;
    struct panel_window window;
    int64_t images, grains, rows, columns, o;
    int64_t to_h, to_w, spread, y, x;
};

/* Returns the forward pass, which reads x and writes y. */
struct conv_pass conv_pass_forward(const struct precision *v, const struct conv_shape *s);

/* Returns phase (py, px) of the backward pass for the input, where py and px are from 0 to stride -
 * 1. It reads dy and writes the pixels of dx at rows py, py + stride, ... and columns px, px +
 * stride, .... If no output depends on these pixels, window.ny or window.nx is 0. */
struct conv_pass conv_pass_backward(const struct precision *v, const struct conv_shape *s,
                                    int64_t py, int64_t px);

/* Returns the kernel row (or column) of tap t of phase `phase` of the backward pass along the
 * height (or width). Tap 0 is the uppermost (or leftmost) one. */
int64_t conv_pass_tap_row(const struct conv_shape *s, int64_t phase, int64_t t);
int64_t conv_pass_tap_column(const struct conv_shape *s, int64_t phase, int64_t t);

/* Returns the number of rows of sums that a pass writes. */
int64_t conv_pass_sum_rows(const struct conv_pass *p);

/* Returns the bytes of a thread's workspace. */
size_t conv_pass_work_bytes(const struct conv_pass *p);

/* Computes a pass: sets dst to the products of src and the packed weights (conv_pack.h), or with
 * `add` adds them to dst. Row i of sums, (2, o) doubles, receives the sums of part i's values and
 * of their squares. sums may be NULL. */
void conv_pass_run(const struct conv_pass *whole, const void *src, const void *packed, void *dst,
                   bool add, double *sums, const struct workspace *work);

/* Writes zeros to the pixels of a phase on which no output depends. */
void conv_pass_clear(const struct conv_pass *p, void *dst, int threads);

#endif
