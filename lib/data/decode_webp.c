/* webp: WebP files, by libwebp. An animation shows its first frame on a canvas that is otherwise
 * transparent black. */
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "base/fail.h"
#include "data/decode_format.h"

struct webp_state {
    const struct sample *sample;
    bool animated;
};

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

static void *make_state(void)
{
    struct webp_state *w = calloc(1, sizeof *w);
    if (!w)
        fail_memory("WebP");
    return w;
}

static const char *status_text(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return "out of memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "a feature that libwebp does not know";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "truncated";
    default:
        return "its data is wrong";
    }
}

static int fail_status(const struct sample *s, VP8StatusCode status)
{
    return sample_fail(s, "damaged WebP: %s", status_text(status));
}

static WebPData data_of(const struct sample *s)
{
    return (WebPData){s->bytes, s->size};
}

static int find_orientation(const struct sample *s)
{
    const WebPData data = data_of(s);
    WebPDemuxer *demuxer = WebPDemux(&data);
    WebPChunkIterator chunk;
    int orientation = 1;
    if (demuxer && WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = decode_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demuxer);
    return orientation;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct webp_state *w = state;
    WebPBitstreamFeatures features;
    const VP8StatusCode status = WebPGetFeatures(s->bytes, s->size, &features);
    if (status != VP8_STATUS_OK)
        return fail_status(s, status);
    w->sample = s;
    w->animated = features.has_animation;
    found->width = features.width;
    found->height = features.height;
    found->kind = (struct image_kind){features.has_alpha ? 4 : 3, 8};
    if (orient)
        found->orientation = find_orientation(s);
    return 0;
}

/* Decodes the first frame of an animation, on its canvas. */
static int finish_animation(const struct sample *s, struct image *image)
{
    const WebPData data = data_of(s);
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, NULL);
    WebPAnimInfo info;
    uint8_t *canvas; /* (height,width,4), the decoder's */
    int time, result = 0;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder, &info) ||
        info.canvas_width != (uint32_t)image->width ||
        info.canvas_height != (uint32_t)image->height ||
        !WebPAnimDecoderGetNext(decoder, &canvas, &time))
        result = sample_fail(s, "damaged WebP: its first frame cannot be read");
    else {
        const size_t pixel = image_pixel_bytes(image->kind);
        const size_t n = (size_t)image->width * (size_t)image->height;
        for (size_t i = 0; i < n; i++)
            memcpy(image->buffer + pixel * i, canvas + 4 * i, pixel);
    }
    WebPAnimDecoderDelete(decoder);
    return result;
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    const struct webp_state *w = state;
    const struct sample *s = w->sample;
    const size_t stride = image_pixel_bytes(image->kind) * (size_t)image->width;
    (void)pixels;
    (void)denominator;
    if (w->animated)
        return finish_animation(s, image);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return sample_fail(s, "libwebp has another version");
    config.output.colorspace = image->kind.channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->buffer;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)image->height;
    const VP8StatusCode status = WebPDecode(s->bytes, s->size, &config);
    return status == VP8_STATUS_OK ? 0 : fail_status(s, status);
}

static void end(void *state)
{
    (void)state; /* nothing is kept between the calls */
}

const struct decode_format decode_webp = {.name = "WebP",
                                          .endings = ".webp",
                                          .recognize = recognize,
                                          .make = make_state,
                                          .free = free,
                                          .start = start,
                                          .finish = finish,
                                          .end = end};
