/* kernel_arguments: what the kernels of kernels.cl are told, as the host and a device see it. This
 * text is part of both programs, so it has only structs of 32-bit integers, which have the same
 * layout everywhere. Maps are NHWC; a count of values is below 2^31 (engine_opencl.c checks it). */
#ifndef KERNEL_ARGUMENTS_H
#define KERNEL_ARGUMENTS_H

/* The tile that a group of ITEMS items computes in a block product: TILE rows of pixels by TILE
 * channels, of which each item has 8 x 8. STEP products are added between two barriers. */
#define TILE 64
#define STEP 16
#define ITEMS 64

/* Tiles of Winograd's F(4x4, 3x3) are read as SIDE x SIDE pixels, and give 4 x 4 of them. */
#define SIDE 6

/* A sum over the window, for each pixel of a part of a map: the part's pixel (a, b) is
 * (a * out_step + out_row, b * out_step_x + out_column) of the map that is written, and reads the
 * window that begins at (a * in_step + in_row, b * in_step_x + in_column). The packed weights are
 * (window * in_channels, packed_columns), with rows padded to STEP and columns to TILE. The third
 * dimension of the groups numbers products that lie the given numbers of values apart. */
struct pass_arguments {
    int in_rows, in_columns, in_channels;
    int out_rows, out_columns, out_channels;
    int part_rows, part_columns;
    int in_step, in_step_x, in_row, in_column;
    int out_step, out_step_x, out_row, out_column;
    int window_rows, window_columns;
    int grain_pixels, grain_images, grain_tiles; /* of one grain, and of this part */
    int packed_rows, packed_columns;
    int in_apart, packed_apart, out_apart;
    int add;  /* add to what is there */
    int sums; /* also write each tile's sums of values and of their squares */
};

/* Weights (out, in, rows, columns) and their packed form. Position (i, j) of the packed window is
 * (first_row + i * row_step, first_column + j * column_step) of the weights'. With `backward` the
 * packed rows run through the weights' output channels, and the packed columns through the input
 * channels; else the other way round. */
struct pack_arguments {
    int out, in, rows, columns;
    int window_rows, window_columns;
    int first_row, first_column, row_step, column_step;
    int packed_rows, packed_columns;
    int backward;
};

/* The gradient of weights (out, window * in_channels): sums over pixels, split into `splits` parts
 * of split_pixels each in every grain. */
struct gradient_arguments {
    int in_rows, in_columns, in_channels;
    int out_rows, out_columns, out_channels;
    int step, step_x, padding, padding_x;
    int window_rows, window_columns;
    int grain_pixels, grain_images, splits, split_pixels;
};

/* The sum of a gradient's parts, `grains` times `splits`, each (out, window, in). */
struct gather_arguments {
    int out, in, window, grains, splits;
};

/* Pixels as bytes: `values` of them in all, `channels` for each pixel. */
struct bytes_arguments {
    int values, channels;
};

/* Rows of pairs (grains, grain_rows, columns), which are added for each grain. */
struct sum_arguments {
    int grain_rows, columns;
};

/* A map (images, pixels, channels); `half` channels in each half for selective kernels. */
struct map_arguments {
    int values, pixels, channels;
    int grain_pixels, grain_parts; /* pixels of a grain, and its parts of TILE pixels */
    int residual, relu, masked;    /* see the kernels */
};

/* Windows of pools. */
struct pool_arguments {
    int images, in_rows, in_columns, channels, out_rows, out_columns;
    int window, step, padding;
};

/* Winograd's transform of a map (images, rows, columns, channels), whose tiles are (images,
 * tile_rows, tile_columns). The pixel above and to the left of a tile (a, b) is (4 a - 1, 4 b - 1). */
struct winograd_arguments {
    int images, rows, columns, channels, tile_rows, tile_columns;
    int grain_tiles, grain_parts; /* of one grain, and its parts of TILE tiles */
    int add, sums;
};

#endif
