#include "engine/conv.h"

#include <assert.h>

#include "base/fail.h"
#include "engine/conv_gradient.h"
#include "engine/conv_pack.h"
#include "engine/conv_pass.h"
#include "engine/winograd.h"
#include "engine/winograd_gradient.h"

/* Winograd's gradient of weights does not pay for fewer tiles of a grain than this. */
enum { FEW_TILES = 16 };

int conv_check(const struct precision *v)
{
    const struct gemm_kernel *k = v->product;
    if (gemm_kernel_check(k))
        return -1;
    if (v->split && (v->bf16_maps || k->values != GEMM_BF16))
        return fail("kernel %s cannot multiply split floats: its values are no bf16", k->name);
    if (!v->split && !v->bf16_maps && k->values == GEMM_BF16)
        return fail("kernel %s cannot multiply floats unless they are split", k->name);
    return 0;
}

/* ---- Winograd's way ----
 *
 * Convolutions 3x3 that are large enough gain by it: a quarter of the products, of floats, takes
 * half the time of products of bf16 pairs, but not of a matrix unit's. */

static struct winograd_shape winograd_shape(const struct precision *v, const struct conv_shape *s)
{
    return (struct winograd_shape){s->images, s->h, s->w, s->c, s->o, s->grains, v->bf16_maps};
}

static struct winograd_shape winograd_transposed(const struct precision *v,
                                                 const struct conv_shape *s)
{
    return (struct winograd_shape){s->images, s->h, s->w, s->o, s->c, s->grains, v->bf16_maps};
}

/* Returns the kernel of floats that computes this convolution with Winograd's method. Returns NULL
 * if sums over taps are faster, or if floats would be more exact than the precision that the caller
 * asked for. */
static const struct gemm_kernel *winograd_product(const struct precision *v,
                                                  const struct conv_shape *s)
{
    const struct winograd_shape w = winograd_shape(v, s);
    if (v->product->matrix_unit || v->split || s->row || s->kernel != 3 || s->stride != 1 ||
        s->padding != 1 || !winograd_pays(&w))
        return NULL;
    return v->product->values == GEMM_FLOAT ? v->product : gemm_kernel_choose(GEMM_FLOAT);
}

/* Does the same for the gradient of weights. Its products are sums over a grain's tiles; if there
 * are few of them, adding the 36 positions takes longer than products of bf16 pairs save. */
static const struct gemm_kernel *winograd_gradient_product(const struct precision *v,
                                                           const struct conv_shape *s)
{
    const struct winograd_shape w = winograd_shape(v, s);
    if (v->product->values == GEMM_BF16 && winograd_tiles(&w) / s->grains < FEW_TILES)
        return NULL;
    return winograd_product(v, s);
}

/* ---- the passes ---- */

static bool is_empty(const struct conv_pass *p)
{
    return !p->window.ny || !p->window.nx;
}

int64_t conv_sum_rows(const struct precision *v, const struct conv_shape *s)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        return winograd_sum_rows(&w);
    }
    const struct conv_pass p = conv_pass_forward(v, s);
    return conv_pass_sum_rows(&p);
}

void conv_forward(const struct precision *v, const struct conv_shape *s, const void *x,
                  const void *packed, void *y, double *sums, const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_forward(winograd, &w, x, packed, y, sums, false, work);
        return;
    }
    const struct conv_pass p = conv_pass_forward(v, s);
    conv_pass_run(&p, x, packed, y, false, sums, work);
}

void conv_backward_data(const struct precision *v, const struct conv_shape *s, const void *dy,
                        const void *packed, void *dx, bool add, const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_transposed(v, s);
        winograd_forward(winograd, &w, dy, packed, dx, NULL, add, work);
        return;
    }
    const char *weights = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct conv_pass p = conv_pass_backward(v, s, py, px);
            if (is_empty(&p)) {
                if (!add)
                    conv_pass_clear(&p, dx, work->threads);
                continue;
            }
            if (p.rows && p.columns)
                conv_pass_run(&p, dy, weights, dx, add, NULL, work);
            weights += conv_pack_bytes(&p);
        }
}

/* ---- weights ---- */

size_t conv_packed_bytes(const struct precision *v, const struct conv_shape *s)
{
    assert(!conv_check(v));
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        return winograd_packed_bytes(winograd, &w);
    }
    const struct conv_pass forward = conv_pass_forward(v, s);
    const size_t forth = conv_pack_bytes(&forward);
    size_t back = 0;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct conv_pass p = conv_pass_backward(v, s, py, px);
            if (!is_empty(&p))
                back += conv_pack_bytes(&p);
        }
    return forth > back ? forth : back;
}

void conv_pack_forward(const struct precision *v, const struct conv_shape *s, const float *weight,
                       bool once, void *packed, int threads)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_pack_forward(winograd, &w, weight, once, packed, threads);
        return;
    }
    const struct conv_pass p = conv_pass_forward(v, s);
    conv_pack_pass_forward(&p, s, weight, packed, threads);
}

void conv_pack_backward(const struct precision *v, const struct conv_shape *s, const float *weight,
                        void *packed, int threads)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_pack_backward(winograd, &w, weight, true, packed, threads);
        return;
    }
    char *to = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct conv_pass p = conv_pass_backward(v, s, py, px);
            if (is_empty(&p))
                continue;
            conv_pack_pass_backward(&p, s, py, px, weight, to, threads);
            to += conv_pack_bytes(&p);
        }
}

/* ---- the gradient of the weights ---- */

size_t conv_partial_bytes(const struct precision *v, const struct conv_shape *s, int threads)
{
    const struct gemm_kernel *winograd = winograd_gradient_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        return winograd_gradient_shared_bytes(winograd, &w);
    }
    return conv_gradient_shared_bytes(v, s, threads);
}

void conv_backward_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                           const void *dy, void *partials, float *grad,
                           const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_gradient_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_gradient(winograd, &w, x, dy, partials, grad, work);
        return;
    }
    conv_gradient_of_weights(v, s, x, dy, partials, grad, work);
}

/* ---- memory ---- */

static void raise_to(size_t *most, size_t bytes)
{
    if (bytes > *most)
        *most = bytes;
}

size_t conv_work_bytes(const struct precision *v, const struct conv_shape *s, int threads)
{
    assert(!conv_check(v));
    const struct gemm_kernel *winograd = winograd_product(v, s);
    const struct gemm_kernel *gradient = winograd_gradient_product(v, s);
    const struct winograd_shape w = winograd_shape(v, s);
    size_t most = gradient ? winograd_gradient_work_bytes(gradient, &w)
                           : conv_gradient_work_bytes(v, s, threads);
    if (winograd) {
        raise_to(&most, winograd_work_bytes(winograd, &w, threads));
        return most;
    }
    const struct conv_pass forward = conv_pass_forward(v, s);
    raise_to(&most, conv_pass_work_bytes(&forward));
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct conv_pass p = conv_pass_backward(v, s, py, px);
            if (!is_empty(&p) && p.rows && p.columns)
                raise_to(&most, conv_pass_work_bytes(&p));
        }
    return most;
}
