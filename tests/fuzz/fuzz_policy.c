/* Fuzzes a list of operations as --ops accepts it, on images and on series. If the list is valid, a
 * view is drawn and computed. */
#include "views/policy.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "input.h"
#include "views/view.h"

enum { MOST = 24 }; /* largest number of pixels a side */

static void check_box(const struct box *b, int width, int height)
{
    assert(b->w >= 1 && b->h >= 1 && b->x >= 0 && b->y >= 0);
    assert(b->x + b->w <= width && b->y + b->h <= height);
}

static void make_view(const struct policy *policy, int width, int height, int size)
{
    static const uint8_t pixels[3 * MOST * MOST] = {255, 0, 3, 77};
    uint8_t out[3 * MOST * MOST];
    struct random r;
    struct view view;
    struct view_memory memory = {0};
    random_start(&r, 1, RANDOM_VIEW, 2, 3, 4);
    view_draw(&view, policy, width, height, size, &r);
    assert(view.n_ops <= POLICY_MAX_OPS);
    check_box(view_box(&view), width, height);
    for (int i = 0; i < view.n_ops; i++)
        if (strcmp(view.ops[i].operation->name, "cutout") == 0)
            check_box((const struct box *)view.ops[i].drawn, size, size);
    const struct scaled_image image = {pixels, width, height, 1, {0}};
    assert(!view_apply(&view, &image, size, &memory, out));
    view_memory_free(&memory);
}

static void make_series_view(const struct policy *policy, int length, int channels, int size)
{
    static const float x[MOST * MOST] = {1, -3, 1e30f};
    float out[MOST * MOST];
    struct random r;
    struct view view;
    struct view_memory memory = {0};
    random_start(&r, 1, RANDOM_VIEW, 2, 3, 4);
    view_draw(&view, policy, length, 1, size, &r);
    assert(view.n_ops <= POLICY_MAX_OPS);
    check_box(view_box(&view), length, 1);
    assert(!view_apply_series(&view, x, length, channels, size, &memory, out));
    view_memory_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size};
    const int width = 1 + input_byte(&rest) % MOST, height = 1 + input_byte(&rest) % MOST,
              side = 1 + input_byte(&rest) % MOST;
    char *ops = input_text(rest);
    struct policy policy;
    if (!policy_parse(&policy, &operations_on_images, ops)) {
        assert(policy.n_ops >= 1 && policy.n_ops <= POLICY_MAX_OPS);
        make_view(&policy, width, height, side);
    }
    if (!policy_parse(&policy, &operations_on_series, ops)) {
        assert(policy.n_ops >= 1 && policy.n_ops <= POLICY_MAX_OPS);
        make_series_view(&policy, width, height, side);
    }
    free(ops);
    return 0;
}
