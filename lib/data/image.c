#include "data/image.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

int image_channels(struct image_kind kind)
{
    return kind.channels ? kind.channels : 3;
}

size_t image_pixel_bytes(struct image_kind kind)
{
    return kind.channels ? (size_t)kind.channels * (size_t)kind.depth / 8 : 3;
}

int image_check(int64_t width, int64_t height, const char *where)
{
    if (width < 1 || height < 1)
        return fail("%s: %lld x %lld pixels is no image", where, (long long)width,
                    (long long)height);
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS)
        return fail("%s: %lld x %lld pixels is more than is read: up to %d a side, and %d in all",
                    where, (long long)width, (long long)height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    return 0;
}

int image_check_kind(int64_t width, int64_t height, struct image_kind kind, const char *where)
{
    if (image_check(width, height, where))
        return -1;
    if (kind.channels > IMAGE_MAX_CHANNELS)
        return fail("%s: %d channels are more than are read: up to %d", where, kind.channels,
                    IMAGE_MAX_CHANNELS);
    if (width * height * (int64_t)image_pixel_bytes(kind) > IMAGE_MAX_BYTES)
        return fail("%s: %lld x %lld pixels of %d channels are more than is read: up to %d bytes",
                    where, (long long)width, (long long)height, image_channels(kind),
                    IMAGE_MAX_BYTES);
    return 0;
}

int image_resize(struct image *image, int64_t width, int64_t height, struct image_kind kind,
                 const char *where)
{
    if (image_check_kind(width, height, kind, where))
        return -1;
    const size_t bytes = (size_t)width * (size_t)height * image_pixel_bytes(kind);
    if (bytes > image->capacity) {
        free(image->buffer);
        image->capacity = 0;
        image->buffer = malloc(bytes);
        if (!image->buffer)
            return fail_memory(where);
        image->capacity = bytes;
    }
    image->pixels = image->buffer;
    image->width = (int)width;
    image->height = (int)height;
    image->kind = kind;
    return 0;
}

void image_free(struct image *image)
{
    free(image->buffer);
    *image = (struct image){0};
}

void image_turn(const struct image *from, int orientation, struct image *to)
{
    const bool mirrored = orientation / 2 % 2;      /* 2, 3, 6, 7 */
    const bool flipped = (orientation - 1) / 2 % 2; /* 3, 4, 7, 8 */
    const bool aside = orientation >= 5;
    const size_t pixel = image_pixel_bytes(to->kind);
    uint8_t *out = to->buffer;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++, out += pixel) {
            const int u = mirrored ? to->width - 1 - x : x, v = flipped ? to->height - 1 - y : y;
            const size_t row = (size_t)(aside ? u : v), column = (size_t)(aside ? v : u);
            memcpy(out, from->buffer + (row * (size_t)from->width + column) * pixel, pixel);
        }
}
