/* conv_pass: a feature map times packed weights, which the forward pass of a convolution and each
 * phase of its backward pass for the input are (conv.h has the whole). */
#ifndef CONV_PASS_H
#define CONV_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/panel.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* One pass. Output (b, a) of the rows x columns grid goes to pixel (b * spread + x, a * spread + y)
 * of a to_h x to_w map of `o` channels. */
struct conv_pass {
    const struct precision *v;
    struct panel_window window;
    int64_t images, grains, rows, columns, o;
    int64_t to_h, to_w, spread, y, x;
};

/* Returns the forward pass: x is the source, y is written. */
struct conv_pass conv_pass_forward(const struct precision *v, const struct conv_shape *s);

/* Returns phase (py, px) of the backward pass for the input, each from 0 to stride - 1: dy is the
 * source, and the pixels of dx at rows py, py + stride, ... and columns px, px + stride, ... are
 * written. If no output looks at these pixels, window.ny or window.nx is 0. */
struct conv_pass conv_pass_backward(const struct precision *v, const struct conv_shape *s,
                                    int64_t py, int64_t px);

/* Returns the kernel row (or column) of tap t of phase `phase` of the backward pass along the
 * height (or width); t = 0 is the tap that looks furthest up (or left). */
int64_t conv_pass_tap_row(const struct conv_shape *s, int64_t phase, int64_t t);
int64_t conv_pass_tap_column(const struct conv_shape *s, int64_t phase, int64_t t);

/* Returns the number of parts that a pass's sums come in. */
int64_t conv_pass_sum_rows(const struct conv_pass *p);

/* Returns the bytes of a thread's workspace. */
size_t conv_pass_work_bytes(const struct conv_pass *p);

/* Computes a pass: dst gets the products of src and the packed weights (conv_pack.h), or with `add`
 * they are added to it. Row i of sums, (2, o) doubles, gets the sums of part i's values and of
 * their squares; NULL: no sums. */
void conv_pass_run(const struct conv_pass *p, const void *src, const void *packed, void *dst,
                   bool add, double *sums, const struct workspace *work);

/* Writes zeros to the pixels of a phase that no output looks at. */
void conv_pass_clear(const struct conv_pass *p, void *dst, int threads);

#endif
