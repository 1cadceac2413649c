#include "image.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"

int image_resize(struct image *image, int64_t width, int64_t height, const char *where)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        width * height > IMAGE_MAX_PIXELS)
        return fail("%s: %lld x %lld pixels is more than is read", where, (long long)width,
                    (long long)height);
    const size_t bytes = (size_t)width * (size_t)height * 3;
    if (bytes > image->capacity) {
        free(image->buffer);
        image->capacity = 0;
        image->buffer = malloc(bytes);
        if (!image->buffer)
            return fail("%s: out of memory", where);
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

/* What libpng's callbacks and the code after its longjmp need. */
struct decoder {
    png_structp png;
    png_infop info;
    png_bytep *rows;
    FILE *file;
    const char *path;
    char defect[128];
};

static void on_error(png_structp png, png_const_charp text)
{
    struct decoder *d = png_get_error_ptr(png);
    snprintf(d->defect, sizeof d->defect, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text; /* such as an odd colour profile: the pixels are fine */
}

static int open_file(struct decoder *d)
{
    d->file = fopen(d->path, "rbe");
    struct stat st;
    if (!d->file || fstat(fileno(d->file), &st) != 0)
        return fail("%s: %s", d->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail("%s: not a regular file", d->path);
    unsigned char signature[8];
    if (fread(signature, 1, sizeof signature, d->file) != sizeof signature ||
        png_sig_cmp(signature, 0, sizeof signature) != 0)
        return fail("%s: not a PNG", d->path);
    return 0;
}

static int decode(struct decoder *d, struct image *image)
{
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, on_error, on_warning);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    if (!d->info)
        return fail("%s: out of memory", d->path);
    if (setjmp(png_jmpbuf(d->png)))
        return fail("%s: damaged PNG: %s", d->path, d->defect);
    png_set_user_limits(d->png, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
    png_init_io(d->png, d->file);
    png_set_sig_bytes(d->png, 8);
    png_read_info(d->png, d->info);
    const png_uint_32 width = png_get_image_width(d->png, d->info);
    const png_uint_32 height = png_get_image_height(d->png, d->info);
    if (image_resize(image, width, height, d->path))
        return -1;
    png_set_palette_to_rgb(d->png);
    if (png_get_bit_depth(d->png, d->info) < 8)
        png_set_expand_gray_1_2_4_to_8(d->png);
    png_set_gray_to_rgb(d->png);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    if (png_get_rowbytes(d->png, d->info) != 3 * (size_t)width)
        return fail("%s: an unknown kind of PNG", d->path);
    d->rows = malloc(height * sizeof *d->rows);
    if (!d->rows)
        return fail("%s: out of memory", d->path);
    for (png_uint_32 y = 0; y < height; y++)
        d->rows[y] = image->buffer + (size_t)y * 3 * width;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, NULL);
    return 0;
}

int image_read_png(struct image *image, const char *path)
{
    struct decoder d = {.path = path};
    int result = open_file(&d);
    if (result == 0)
        result = decode(&d, image);
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    if (d.file)
        fclose(d.file);
    return result;
}
