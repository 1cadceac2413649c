#include "data/image.h"

#include <stdlib.h>

#include "base/fail.h"

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

int image_resize(struct image *image, int64_t width, int64_t height, const char *where)
{
    if (image_check(width, height, where))
        return -1;
    const size_t bytes = (size_t)width * (size_t)height * 3;
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
    return 0;
}

void image_free(struct image *image)
{
    free(image->buffer);
    *image = (struct image){0};
}
