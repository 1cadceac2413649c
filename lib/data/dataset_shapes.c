/* shapes: the built-in set. An image holds one to four copies of one shape, which is its class, on
 * a background of two textures (gradients, stripes, checks, clouds). Number, place, size, rotation
 * and colours of the copies and of the background are drawn independently of the class, and shapes
 * are darker than their background as often as lighter. Pixels and colours therefore say little
 * about the class; only outlines identify it. An image is a function of its split and number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/random.h"
#include "data/dataset_format.h"
#include "data/image.h"
#include "data/part.h"

enum { CLASSES = 10, TRAIN_IMAGES = 10000, TEST_IMAGES = 2000, NATIVE_SIZE = 32, MAX_COPIES = 4 };

/* LIGHTNESS is half the range of luminance in a background. CONTRAST is the smallest difference
 * between the middle of that range and the luminance of a shape. */
static const float LIGHTNESS = 0.05f, CONTRAST = 0.3f;

struct point {
    float x, y;
};

struct color {
    float r, g, b;
};

/* ---- outlines: distance to the edge, negative inside, of a shape within the unit circle ---- */

static float to_rectangle(struct point p, float half_width, float half_height)
{
    return fmaxf(fabsf(p.x) - half_width, fabsf(p.y) - half_height);
}

static float to_triangle(struct point p)
{
    const float side = 0.8660254f * fabsf(p.x) + 0.5f * p.y;
    return fmaxf(side, -p.y) - 0.5f;
}

/* Returns the signed distance from a star's outline. It folds the plane into the wedge between a
 * tip and the valley beside it, where the outline is one straight edge. */
static float to_star(struct point p)
{
    const float fifth = 2 * (float)M_PI / 5, valley = 0.4f;
    const float angle = atan2f(p.y, p.x), radius = hypotf(p.x, p.y);
    const float folded = fabsf(angle - fifth * rintf(angle / fifth));
    const struct point q = {radius * cosf(folded), radius * sinf(folded)};
    const struct point edge = {valley * cosf(fifth / 2) - 1, valley * sinf(fifth / 2)};
    return (edge.y * (q.x - 1) - edge.x * q.y) / hypotf(edge.x, edge.y);
}

static float to_outline(int shape, struct point p)
{
    const float radius = hypotf(p.x, p.y);
    switch (shape) {
    case 0: /* disc */
        return radius - 0.85f;
    case 1: /* ring */
        return fabsf(radius - 0.7f) - 0.2f;
    case 2: /* square */
        return to_rectangle(p, 0.72f, 0.72f);
    case 3: /* frame */
        return fabsf(to_rectangle(p, 0.58f, 0.58f)) - 0.16f;
    case 4:
        return to_triangle(p);
    case 5:
        return to_star(p);
    case 6: /* cross */
        return fminf(to_rectangle(p, 0.95f, 0.27f), to_rectangle(p, 0.27f, 0.95f));
    case 7: /* crescent */
        return fmaxf(radius - 0.9f, 0.7f - hypotf(p.x - 0.5f, p.y));
    case 8: /* two discs */
        return hypotf(fabsf(p.x) - 0.55f, p.y) - 0.4f;
    default: /* two bars */
        return fmaxf(fabsf(p.x) - 0.85f, fabsf(fabsf(p.y) - 0.48f) - 0.22f);
    }
}

/* ---- random parameters ---- */

struct copy {
    struct point center; /* the image is the unit square */
    float radius, cosine, sine;
    struct color color;
};

/* The texture on one side of the image's dividing line. */
struct texture {
    enum { GRADIENT, STRIPES, CHECKS, CLOUDS, TEXTURES } kind;
    struct color from, to;
    struct point waves[3]; /* direction times frequency, in radians for each unit */
    float phases[3];
};

/* The background: two textures of about the same lightness, one on either side of a line. Two views
 * of an image then rarely share a background, and have only the shape in common. */
struct background {
    struct texture sides[2];
    struct point normal; /* of the line */
    float offset, lightness, noise;
};

static float between(struct random *r, float low, float high)
{
    return low + (high - low) * random_float(r);
}

static float clamp01(float x)
{
    return fminf(fmaxf(x, 0), 1);
}

static float luminance(struct color c)
{
    return 0.2989f * c.r + 0.587f * c.g + 0.114f * c.b;
}

static struct color mix(struct color a, struct color b, float share)
{
    return (struct color){a.r + share * (b.r - a.r), a.g + share * (b.g - a.g),
                          a.b + share * (b.b - a.b)};
}

/* Returns a random colour of that luminance, or of the nearest luminance that exists. */
static struct color draw_of_luminance(struct random *r, float wanted)
{
    struct color c = {random_float(r), random_float(r), random_float(r)};
    const float is = luminance(c);
    /* Mixing with black or white keeps the hue. */
    if (is > wanted)
        return mix((struct color){0, 0, 0}, c, wanted / is);
    return mix((struct color){1, 1, 1}, c, (1 - wanted) / (1 - is));
}

static struct texture draw_texture(struct random *r, float lightness)
{
    struct texture t = {.kind = (int)random_below(r, TEXTURES)};
    t.from = draw_of_luminance(r, clamp01(lightness + between(r, -LIGHTNESS, LIGHTNESS)));
    t.to = draw_of_luminance(r, clamp01(lightness + between(r, -LIGHTNESS, LIGHTNESS)));
    for (int i = 0; i < 3; i++) {
        const float angle = between(r, 0, 2 * (float)M_PI);
        const float frequency = t.kind == CLOUDS ? between(r, 3, 14) : between(r, 14, 45);
        t.waves[i] = (struct point){frequency * cosf(angle), frequency * sinf(angle)};
        t.phases[i] = between(r, 0, 2 * (float)M_PI);
    }
    return t;
}

static struct background draw_background(struct random *r)
{
    const float angle = between(r, 0, 2 * (float)M_PI);
    struct background b = {.normal = {cosf(angle), sinf(angle)},
                           .offset = between(r, -0.25f, 0.25f),
                           .lightness = random_float(r),
                           .noise = between(r, 0, 0.05f)};
    for (int i = 0; i < 2; i++)
        b.sides[i] = draw_texture(r, b.lightness);
    return b;
}

/* Returns a colour that differs from the background in lightness, darker or lighter. */
static struct color draw_color(struct random *r, const struct background *b)
{
    const float darker = b->lightness - CONTRAST, lighter = b->lightness + CONTRAST;
    const float room = fmaxf(darker, 0) + fmaxf(1 - lighter, 0);
    const float at = between(r, 0, room);
    return draw_of_luminance(r, at < darker ? at : lighter + at - fmaxf(darker, 0));
}

/* Places the copies apart from one another, and leaves out a copy for which there is no room. */
static int draw_copies(struct random *r, const struct background *b, struct copy *copies)
{
    const int wanted = 1 + (int)random_below(r, MAX_COPIES);
    const float smallest = wanted == 1 ? 0.3f : 0.2f, largest = wanted == 1 ? 0.42f : 0.28f;
    int n = 0;
    for (int i = 0; i < wanted; i++)
        for (int attempt = 0; attempt < 30; attempt++) {
            const float radius = between(r, smallest, largest), edge = 0.9f * radius;
            const struct point center = {between(r, edge, 1 - edge), between(r, edge, 1 - edge)};
            bool free_place = true;
            for (int k = 0; k < n; k++)
                free_place &= hypotf(center.x - copies[k].center.x, center.y - copies[k].center.y) >
                              radius + copies[k].radius;
            if (!free_place)
                continue;
            const float angle = between(r, 0, 2 * (float)M_PI);
            copies[n++] = (struct copy){center, radius, cosf(angle), sinf(angle), draw_color(r, b)};
            break;
        }
    return n;
}

/* ---- pixels ---- */

static struct color texture_at(const struct texture *t, struct point p)
{
    float waves[3];
    for (int i = 0; i < 3; i++)
        waves[i] = sinf(t->waves[i].x * p.x + t->waves[i].y * p.y + t->phases[i]);
    float share;
    switch (t->kind) {
    case STRIPES:
        share = 0.5f + 2 * waves[0];
        break;
    case CHECKS:
        share = 0.5f + 3 * waves[0] * waves[1];
        break;
    case CLOUDS:
        share = 0.5f + (waves[0] + waves[1] + waves[2]) / 4;
        break;
    default: {
        const struct point w = t->waves[0];
        share = 0.5f + (w.x * (p.x - 0.5f) + w.y * (p.y - 0.5f)) / hypotf(w.x, w.y);
    }
    }
    return mix(t->from, t->to, clamp01(share));
}

static struct color background_at(const struct background *b, struct point p, int size)
{
    const float side = b->normal.x * (p.x - 0.5f) + b->normal.y * (p.y - 0.5f) - b->offset;
    const float share = clamp01(0.5f + side * (float)size);
    return mix(texture_at(&b->sides[0], p), texture_at(&b->sides[1], p), share);
}

/* Returns the share of the pixel at p, 1/size wide, that the copy covers. */
static float coverage(const struct copy *c, int shape, struct point p, int size)
{
    const float x = (p.x - c->center.x) / c->radius, y = (p.y - c->center.y) / c->radius;
    if (x * x + y * y > 2)
        return 0;
    const struct point q = {c->cosine * x + c->sine * y, c->cosine * y - c->sine * x};
    return clamp01(0.5f - to_outline(shape, q) * c->radius * (float)size);
}

static uint8_t to_byte(float x, float noise, struct random *r)
{
    return (uint8_t)(255 * clamp01(x + noise * between(r, -1, 1)) + 0.5f);
}

static void draw_image(struct random *r, int shape, int size, uint8_t *pixels)
{
    const struct background b = draw_background(r);
    struct copy copies[MAX_COPIES];
    const int n = draw_copies(r, &b, copies);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const struct point p = {((float)x + 0.5f) / (float)size,
                                    ((float)y + 0.5f) / (float)size};
            struct color c = background_at(&b, p, size);
            for (int i = 0; i < n; i++)
                c = mix(c, copies[i].color, coverage(&copies[i], shape, p, size));
            *pixels++ = to_byte(c.r, b.noise, r);
            *pixels++ = to_byte(c.g, b.noise, r);
            *pixels++ = to_byte(c.b, b.noise, r);
        }
}

/* ---- the format ---- */

static bool recognize(const char *path)
{
    return strcmp(path, "shapes") == 0;
}

struct shapes {
    int side;
    bool test;
};

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct shapes *s = set->state = malloc(sizeof *s);
    if (!s)
        return fail_memory(NULL);
    s->test = strcmp(options->split, "test") == 0;
    if (options->hold)
        return part_refuse_hold("shapes");
    if (!s->test && strcmp(options->split, "train") != 0)
        return part_missing("shapes", options->split);
    s->side = options->size > NATIVE_SIZE ? options->size : NATIVE_SIZE;
    set->costly = true;
    set->count = s->test ? TEST_IMAGES : TRAIN_IMAGES;
    set->classes = CLASSES;
    set->native_size = s->side;
    return 0;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    (void)set;
    return i % CLASSES;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct shapes *shapes = set->state;
    s->file = "shapes";
    s->member = NULL;
    if (image_check(shapes->side, shapes->side, s->file) ||
        sample_reserve(s, 3 * (size_t)shapes->side * (size_t)shapes->side))
        return -1;
    struct random r;
    random_start(&r, 0, RANDOM_SHAPE, shapes->test, (uint32_t)i, 0);
    s->label = label(set, i);
    s->width = s->height = shapes->side;
    draw_image(&r, (int)s->label, shapes->side, s->buffer);
    return 0;
}

static void close_set(struct dataset *set)
{
    free(set->state);
}

const struct dataset_format dataset_shapes = {
    .recognize = recognize, .open = open_set, .get = get, .label = label, .close = close_set};
