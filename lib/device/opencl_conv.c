#include "device/opencl_conv.h"

#include <limits.h>

#include "device/kernel_arguments.h"

/* With c channels in and out, Winograd's transform saves three quarters of 18 c^2 operations for a
 * pixel, and moves 44 c bytes more. Consumers' GPUs of 10 to 80 TFLOP/s have 28 to 80 operations for
 * a byte of memory, so it pays from about 100 channels on; data centres' have less than 15. */
enum { WINOGRAD_CHANNELS = 128 };

/* A gradient of weights has at least about this many groups in each grain, if there are pixels. */
enum { GRADIENT_GROUPS = 64, SPLIT_PIXELS = 512 };

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t divide_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static int64_t row_stride(const struct conv_shape *s)
{
    return s->row ? 1 : s->stride;
}

static int64_t window(const struct conv_shape *s)
{
    return conv_rows(s) * s->kernel;
}

/* Returns false if a map or the weights have too many values for an int. */
static bool fits(const struct conv_shape *s)
{
    const int64_t products[][4] = {{s->images, s->h, s->w, s->c},
                                   {s->images, s->oh, s->ow, s->o},
                                   {window(s) + STEP, s->c + TILE, s->o + TILE, 1}};
    for (int i = 0; i < 3; i++) {
        int product = 1;
        for (int j = 0; j < 4; j++)
            if (products[i][j] > INT_MAX ||
                __builtin_mul_overflow(product, (int)products[i][j], &product))
                return false;
    }
    return true;
}

/* ---- Winograd ---- */

static int64_t tile_rows(const struct conv_shape *s)
{
    return divide_up(s->oh, 4);
}

static int64_t tile_columns(const struct conv_shape *s)
{
    return divide_up(s->ow, 4);
}

static int64_t image_tiles(const struct conv_shape *s)
{
    return tile_rows(s) * tile_columns(s);
}

/* Returns true if the transform is used for the forward pass and the gradient of the input. It
 * depends on the sizes of one image alone. */
static bool by_winograd(const struct conv_shape *s)
{
    return s->kernel == 3 && s->stride == 1 && s->padding == 1 && !s->row &&
           s->c >= WINOGRAD_CHANNELS && s->o >= WINOGRAD_CHANNELS &&
           image_tiles(s) * SIDE * SIDE * 2 <= s->oh * s->ow * 9;
}

/* Returns the bytes of the transforms of a map with this many channels. */
static int64_t transform_bytes(const struct conv_shape *s, int64_t channels)
{
    return SIDE * SIDE * s->images * image_tiles(s) * channels * (int64_t)sizeof(float);
}

/* ---- phases ----
 * The gradient of the input is a sum over a window of dy whose positions depend on the pixel's
 * place in the stride: one pass for each such phase. */

/* One axis of a phase. */
struct axis {
    int part;   /* pixels of dx */
    int window; /* positions of the window */
    int in;     /* the pixel of dy at which the window of the first pixel of dx begins */
    int first;  /* the position of the weights' window that belongs to it; the next are `stride`
                   before it */
};

static struct axis axis(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                        int64_t phase)
{
    const int64_t last = (phase + padding) % stride;
    const int64_t n = last < kernel ? (kernel - 1 - last) / stride + 1 : 0;
    return (struct axis){
        .part = phase < size ? (int)((size - 1 - phase) / stride + 1) : 0,
        .window = (int)n,
        .in = (int)((phase + padding - last) / stride - (n - 1)),
        .first = (int)(last + (n - 1) * stride),
    };
}

struct phase {
    struct axis rows, columns;
    int packed_rows;
};

static struct phase phase(const struct conv_shape *s, int64_t row, int64_t column)
{
    struct phase p = {axis(s->h, conv_rows(s), row_stride(s), conv_row_padding(s), row),
                      axis(s->w, s->kernel, s->stride, s->padding, column), 0};
    p.packed_rows = (int)round_up(p.rows.window * p.columns.window * s->o, STEP);
    return p;
}

/* ---- sizes ---- */

static size_t floats(int64_t n)
{
    return (size_t)n * sizeof(float);
}

size_t opencl_conv_packed_bytes(const struct conv_shape *s)
{
    if (!fits(s))
        return SIZE_MAX;
    const int64_t c = round_up(s->c, TILE), o = round_up(s->o, TILE);
    const int64_t each = by_winograd(s) ? SIDE * SIDE : window(s);
    /* Each phase's rows are padded, and there are at most `window` phases with rows. */
    const int64_t forward = round_up(each * round_up(s->c, STEP), STEP) * o;
    const int64_t backward = each * round_up(s->o, STEP) * c;
    return floats(forward > backward ? forward : backward);
}

size_t opencl_conv_work_bytes(const struct conv_shape *s)
{
    if (!fits(s))
        return SIZE_MAX;
    return by_winograd(s) ? (size_t)(transform_bytes(s, s->c) + transform_bytes(s, s->o)) : 0;
}

/* Fills in the parts into which a grain's pixels are split. */
static void split(const struct conv_shape *s, struct gradient_arguments *g)
{
    const int64_t pixels = s->images / s->grains * s->oh * s->ow;
    const int64_t tiles = divide_up(s->o, TILE) * divide_up(window(s) * s->c, TILE);
    int64_t n = GRADIENT_GROUPS / tiles;
    if (n > pixels / SPLIT_PIXELS)
        n = pixels / SPLIT_PIXELS;
    const int64_t each = round_up(divide_up(pixels, n > 1 ? n : 1), STEP);
    g->grain_pixels = (int)pixels;
    g->split_pixels = (int)each;
    g->splits = (int)divide_up(pixels, each);
}

size_t opencl_conv_partial_bytes(const struct conv_shape *s)
{
    struct gradient_arguments g;
    if (!fits(s))
        return SIZE_MAX;
    split(s, &g);
    return floats((s->grains * g.splits + 1) * window(s) * s->c * s->o);
}

int opencl_conv_grain_rows(const struct conv_shape *s)
{
    const int64_t images = s->images / s->grains;
    return (int)(by_winograd(s) ? divide_up(images * image_tiles(s), TILE / 16)
                                : divide_up(images * s->oh * s->ow, TILE));
}

/* ---- packing ---- */

static void pack(struct opencl_queue *q, enum opencl_kernel kernel, const struct pack_arguments *a,
                 struct opencl_place weight, struct opencl_place packed)
{
    const int64_t n = (int64_t)a->packed_rows * a->packed_columns;
    opencl_run(q, kernel, (size_t[]){(size_t)divide_up(n, ITEMS), 1, 1}, a, sizeof *a,
               (struct opencl_place[]){weight, packed}, 2);
}

static void pack_phases(struct opencl_queue *q, const struct conv_shape *s,
                        struct pack_arguments *a, struct opencl_place weight,
                        struct opencl_place packed)
{
    a->row_step = -(int)row_stride(s);
    a->column_step = -(int)s->stride;
    for (int64_t row = 0; row < row_stride(s); row++)
        for (int64_t column = 0; column < s->stride; column++) {
            const struct phase p = phase(s, row, column);
            a->window_rows = p.rows.window;
            a->window_columns = p.columns.window;
            a->first_row = p.rows.first;
            a->first_column = p.columns.first;
            a->packed_rows = p.packed_rows;
            pack(q, OPENCL_KERNEL_pack_weights, a, weight, packed);
            packed.at += floats((int64_t)p.packed_rows * a->packed_columns);
        }
}

void opencl_conv_pack(struct opencl_queue *q, const struct conv_shape *s,
                      struct opencl_place weight, bool backward, struct opencl_place packed)
{
    struct pack_arguments a = {
        .out = (int)s->o,
        .in = (int)s->c,
        .rows = (int)conv_rows(s),
        .columns = (int)s->kernel,
        .window_rows = (int)conv_rows(s),
        .window_columns = (int)s->kernel,
        .row_step = 1,
        .column_step = 1,
        .packed_columns = (int)round_up(backward ? s->c : s->o, TILE),
        .backward = backward,
    };
    if (by_winograd(s)) {
        a.packed_rows = (int)round_up(backward ? s->o : s->c, STEP);
        pack(q, OPENCL_KERNEL_winograd_weights, &a, weight, packed);
    } else if (backward) {
        pack_phases(q, s, &a, weight, packed);
    } else {
        a.packed_rows = (int)round_up(window(s) * s->c, STEP);
        pack(q, OPENCL_KERNEL_pack_weights, &a, weight, packed);
    }
}

/* ---- forward, and the gradient of the input ---- */

static void run_pass(struct opencl_queue *q, const struct pass_arguments *a, int64_t grains,
                     int64_t products, const struct opencl_place places[4])
{
    const size_t groups[] = {(size_t)(grains * a->grain_tiles),
                             (size_t)divide_up(a->out_channels, TILE), (size_t)products};
    opencl_run(q, OPENCL_KERNEL_conv_pass, groups, a, sizeof *a, places, 4);
}

/* Computes y (images, h, w, o) from x (images, h, w, c): the forward pass, or with c and o exchanged
 * the gradient of the input. */
static void winograd(struct opencl_queue *q, const struct conv_shape *s, struct opencl_place x,
                     struct opencl_place packed, struct opencl_place y, bool add,
                     struct opencl_place sums, struct opencl_place work)
{
    const int64_t tiles = s->images * image_tiles(s);
    const struct opencl_place out = {work.memory, work.at + (cl_ulong)transform_bytes(s, s->c)};
    struct winograd_arguments a = {
        .images = (int)s->images,
        .rows = (int)s->h,
        .columns = (int)s->w,
        .channels = (int)s->c,
        .tile_rows = (int)tile_rows(s),
        .tile_columns = (int)tile_columns(s),
        .grain_tiles = (int)(tiles / s->grains),
        .grain_parts = (int)divide_up(tiles / s->grains, TILE / 16),
        .add = add,
        .sums = sums.memory != NULL,
    };
    opencl_run(q, OPENCL_KERNEL_winograd_input,
               (size_t[]){(size_t)tiles, (size_t)divide_up(s->c, ITEMS), 1}, &a, sizeof a,
               (struct opencl_place[]){x, work}, 2);
    const struct pass_arguments product = {
        .in_rows = 1,
        .in_columns = 1,
        .in_channels = (int)s->c,
        .out_rows = 1,
        .out_columns = 1,
        .out_channels = (int)s->o,
        .part_rows = 1,
        .part_columns = 1,
        .in_step = 1,
        .in_step_x = 1,
        .out_step = 1,
        .out_step_x = 1,
        .window_rows = 1,
        .window_columns = 1,
        .grain_pixels = (int)tiles,
        .grain_images = (int)tiles,
        .grain_tiles = (int)divide_up(tiles, TILE),
        .packed_rows = (int)round_up(s->c, STEP),
        .packed_columns = (int)round_up(s->o, TILE),
        .in_apart = (int)(tiles * s->c),
        .packed_apart = (int)(round_up(s->c, STEP) * round_up(s->o, TILE)),
        .out_apart = (int)(tiles * s->o),
    };
    run_pass(q, &product, 1, SIDE * SIDE, (struct opencl_place[]){work, packed, out, out});
    a.channels = (int)s->o;
    opencl_run(q, OPENCL_KERNEL_winograd_output,
               (size_t[]){(size_t)(s->grains * a.grain_parts), (size_t)divide_up(s->o, ITEMS), 1},
               &a, sizeof a, (struct opencl_place[]){out, y, sums.memory ? sums : y}, 3);
}

void opencl_conv_forward(struct opencl_queue *q, const struct conv_shape *s, struct opencl_place x,
                         struct opencl_place packed, struct opencl_place y,
                         struct opencl_place sums, struct opencl_place work)
{
    if (by_winograd(s)) {
        winograd(q, s, x, packed, y, false, sums, work);
        return;
    }
    /* Tiles end at the end of a grain only where sums need it. */
    const int64_t grains = sums.memory ? s->grains : 1, images = s->images / grains;
    const struct pass_arguments a = {
        .in_rows = (int)s->h,
        .in_columns = (int)s->w,
        .in_channels = (int)s->c,
        .out_rows = (int)s->oh,
        .out_columns = (int)s->ow,
        .out_channels = (int)s->o,
        .part_rows = (int)s->oh,
        .part_columns = (int)s->ow,
        .in_step = (int)row_stride(s),
        .in_step_x = (int)s->stride,
        .in_row = -(int)conv_row_padding(s),
        .in_column = -(int)s->padding,
        .out_step = 1,
        .out_step_x = 1,
        .window_rows = (int)conv_rows(s),
        .window_columns = (int)s->kernel,
        .grain_pixels = (int)(images * s->oh * s->ow),
        .grain_images = (int)images,
        .grain_tiles = (int)divide_up(images * s->oh * s->ow, TILE),
        .packed_rows = (int)round_up(window(s) * s->c, STEP),
        .packed_columns = (int)round_up(s->o, TILE),
        .sums = sums.memory != NULL,
    };
    run_pass(q, &a, grains, 1, (struct opencl_place[]){x, packed, y, sums.memory ? sums : y});
}

void opencl_conv_backward_data(struct opencl_queue *q, const struct conv_shape *s,
                               struct opencl_place dy, struct opencl_place packed,
                               struct opencl_place dx, bool add, struct opencl_place work)
{
    if (by_winograd(s)) {
        struct conv_shape turned = *s;
        turned.c = s->o;
        turned.o = s->c;
        winograd(q, &turned, dy, packed, dx, add, (struct opencl_place){NULL, 0}, work);
        return;
    }
    struct pass_arguments a = {
        .in_rows = (int)s->oh,
        .in_columns = (int)s->ow,
        .in_channels = (int)s->o,
        .out_rows = (int)s->h,
        .out_columns = (int)s->w,
        .out_channels = (int)s->c,
        .in_step = 1,
        .in_step_x = 1,
        .out_step = (int)row_stride(s),
        .out_step_x = (int)s->stride,
        .grain_images = (int)s->images,
        .packed_columns = (int)round_up(s->c, TILE),
        .add = add,
    };
    for (a.out_row = 0; a.out_row < a.out_step; a.out_row++)
        for (a.out_column = 0; a.out_column < a.out_step_x; a.out_column++) {
            const struct phase p = phase(s, a.out_row, a.out_column);
            const int64_t pixels = s->images * p.rows.part * p.columns.part;
            a.part_rows = p.rows.part;
            a.part_columns = p.columns.part;
            a.window_rows = p.rows.window;
            a.window_columns = p.columns.window;
            a.in_row = p.rows.in;
            a.in_column = p.columns.in;
            a.packed_rows = p.packed_rows;
            a.grain_pixels = (int)pixels;
            a.grain_tiles = (int)divide_up(pixels, TILE);
            if (!add || p.packed_rows)
                run_pass(q, &a, 1, 1, (struct opencl_place[]){dy, packed, dx, dx});
            packed.at += floats((int64_t)p.packed_rows * a.packed_columns);
        }
}

/* ---- the gradient of the weights ---- */

void opencl_conv_backward_weights(struct opencl_queue *q, const struct conv_shape *s,
                                  struct opencl_place x, struct opencl_place dy,
                                  struct opencl_place partials)
{
    const int64_t n = window(s) * s->c * s->o;
    const struct opencl_place parts = {partials.memory, partials.at + floats(n)};
    struct gradient_arguments a = {
        .in_rows = (int)s->h,
        .in_columns = (int)s->w,
        .in_channels = (int)s->c,
        .out_rows = (int)s->oh,
        .out_columns = (int)s->ow,
        .out_channels = (int)s->o,
        .step = (int)row_stride(s),
        .step_x = (int)s->stride,
        .padding = (int)conv_row_padding(s),
        .padding_x = (int)s->padding,
        .window_rows = (int)conv_rows(s),
        .window_columns = (int)s->kernel,
        .grain_images = (int)(s->images / s->grains),
    };
    split(s, &a);
    opencl_run(q, OPENCL_KERNEL_conv_gradient,
               (size_t[]){(size_t)divide_up(window(s) * s->c, TILE), (size_t)divide_up(s->o, TILE),
                          (size_t)(s->grains * a.splits)},
               &a, sizeof a, (struct opencl_place[]){x, dy, parts}, 3);
    const struct gather_arguments sum = {.out = (int)s->o,
                                         .in = (int)s->c,
                                         .window = (int)window(s),
                                         .grains = (int)s->grains,
                                         .splits = a.splits};
    opencl_run(q, OPENCL_KERNEL_gather_gradient, (size_t[]){(size_t)divide_up(n, ITEMS), 1, 1},
               &sum, sizeof sum, (struct opencl_place[]){parts, partials}, 2);
}
