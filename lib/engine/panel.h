/* panel: part of a feature map, copied into a thread's second-level cache in the layout that block
 * products (gemm_kernel.h) read.
 *
 * A convolution reads a window of the source map for each position of a grid of outputs. A panel
 * covers some rows of that grid for n neighbouring images. It holds the lines of the source that
 * these rows read, with zeros where a window extends beyond the map. Each line has a slot for each
 * pixel and image, with the images of a pixel side by side. The slots that one tap of the window
 * needs for a row of outputs are therefore neighbours, and another tap is only another offset.
 *
 *   line i, slot j, image m  ->  panel row (i * slots + j) * n + m
 *
 * With a stride, slots are ordered by phase: first those of taps 0, stride, 2 stride ..., then
 * those of taps 1, stride + 1, .... Where a map has only a few channels (as an image has), a slot
 * holds all pixels of a window's row as channels ("folded"), and the window is one column wide.
 *
 * A panel works with any kernel that keeps the contract of gemm_kernel.h. */
#ifndef PANEL_H
#define PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/precision.h"

/* A window of the source. Output (b, a) of the grid reads the ny x nx source pixels from (a * step
 * + y0, b * step + x0) on. Pixels outside the h x w map are 0. It reads c of the `pitch` values
 * that each pixel of the map has. */
struct panel_window {
    int64_t h, w, c, pitch;
    int64_t step, y0, x0, ny, nx;
};

/* How a panel arranges the c values of its rows, in the kernel's type. */
enum panel_layout {
    PANEL_A, /* [64 bytes' worth of c][row][64 bytes]: rows of A */
    PANEL_B, /* [columns' worth of c][row][columns], bf16 rows in pairs: packed as B */
    /* Rows of A run through pixels. Lines are a multiple of a step of pixels; the rest is zeros. */
    PANEL_TRANSPOSED, /* [c][row] */
    PANEL_ACROSS,     /* [rows' worth of c][row][rows], bf16 rows in pairs: for product->across */
};

/* The layout of a panel. In a split precision, all high halves come before all low ones. */
struct panel {
    struct panel_window window;
    struct precision values;
    enum panel_layout layout;
    int64_t rows, columns; /* of the grid */
    int64_t n;             /* images, including zero ones that make the number even */
    /* The members below follow from those above: */
    bool folded;
    int64_t channels;   /* values in a row */
    int64_t nx;         /* columns of the window: 1 when folded */
    int64_t line_step;  /* lines from one row of outputs to the next */
    int64_t slot_step;  /* phases */
    int64_t phase;      /* slots of a phase */
    int64_t lines;      /* lines in all */
    int64_t line_rows;  /* panel rows of a line that hold slots */
    int64_t line_pitch; /* panel rows from a line to the next */
    size_t row_bytes;   /* from a row to the next (transposed: from a pixel to the next) */
    size_t plane;       /* bytes from one group of channels to the next */
    size_t half;        /* bytes of the high halves, or of all values */
    size_t bytes;       /* of the panel */
};

/* Sets *p to the layout of a panel for `rows` rows of `columns` outputs of n images. */
void panel_lay_out(struct panel *p, const struct panel_window *window,
                   const struct precision *values, enum panel_layout layout, int64_t rows,
                   int64_t columns, int64_t n);

/* Returns the byte offset, within a plane, of the value that tap (ty, tx) reads for the first
 * output of the first row. */
ptrdiff_t panel_tap(const struct panel *p, int64_t ty, int64_t tx);

/* Returns the bytes of scratch memory that panel_fill() needs. */
size_t panel_scratch_bytes(const struct panel *p);

/* Fills the panel at memory (p->bytes bytes, 64-byte aligned) for the output rows from `row` on.
 * src is the source map of the first of `images` images (at most n); the panel's other images
 * become zeros. scratch is 64-byte aligned and is overwritten. */
void panel_fill(const struct panel *p, const void *src, int64_t images, int64_t row, void *memory,
                void *scratch);

#endif
