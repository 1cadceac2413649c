/* pnm: PBM, PGM, PPM and PAM files, by libnetpbm.
 *
 * Values v of a largest value m become v 255 / m, rounded, as in PIL; DECODE_RAW gives 16 bits, v
 * 65535 / m, unless m is 1 or 255. After an error libnetpbm jumps to a place that a global variable
 * names, so one thread at a time may be in it. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netpbm/pam.h>

#include "base/fail.h"
#include "data/decode_format.h"

struct pnm_state {
    const struct sample *sample;
    FILE *file; /* the sample's bytes */
    size_t at;  /* position in them */
    struct pam pam;
    tuple *row;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char defect[200]; /* libnetpbm's message; protected by the lock */

static void on_message(const char *text)
{
    (void)text;
}

static void on_error(const char *text)
{
    snprintf(defect, sizeof defect, "%s", text);
}

/* Returns true for files of numbers in decimal. */
static bool is_plain(const struct sample *s)
{
    return s->bytes[1] <= '3';
}

/* Reads from the sample. libnetpbm wants a character after the last number of a plain file, which
 * others do without: a newline follows the bytes of such a file. */
static ssize_t read_bytes(void *state, char *to, size_t size)
{
    struct pnm_state *p = state;
    const struct sample *s = p->sample;
    if (p->at == s->size && is_plain(s) && size > 0) {
        p->at++;
        *to = '\n';
        return 1;
    }
    const size_t left = p->at < s->size ? s->size - p->at : 0, n = size < left ? size : left;
    memcpy(to, s->bytes + p->at, n);
    p->at += n;
    return (ssize_t)n;
}

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7' &&
           (strchr(" \t\n\v\f\r#", bytes[2]) && bytes[2]);
}

static void *make_state(void)
{
    struct pnm_state *p = calloc(1, sizeof *p);
    pthread_mutex_lock(&lock);
    pm_setusermessagefn(on_message);
    pm_setusererrormsgfn(on_error);
    pthread_mutex_unlock(&lock);
    if (!p)
        fail_memory("PNM");
    return p;
}

static void end(void *state)
{
    struct pnm_state *p = state;
    if (p->row)
        pnm_freepamrow(p->row);
    if (p->file)
        fclose(p->file);
    p->row = NULL;
    p->file = NULL;
}

/* Calls work(), with libnetpbm's errors caught. Call it with the lock. */
static int attempt(struct pnm_state *p, void (*work)(struct pnm_state *p, struct image *image),
                   struct image *image)
{
    jmp_buf failed;
    if (setjmp(failed))
        return sample_fail(p->sample, "damaged PNM: %s", defect);
    pm_setjmpbuf(&failed);
    work(p, image);
    return 0;
}

static int guard(struct pnm_state *p, void (*work)(struct pnm_state *p, struct image *image),
                 struct image *image)
{
    pthread_mutex_lock(&lock);
    const int result = attempt(p, work, image);
    pm_setjmpbuf(NULL);
    pthread_mutex_unlock(&lock);
    return result;
}

static void read_header(struct pnm_state *p, struct image *image)
{
    (void)image;
    pnm_readpaminit(p->file, &p->pam, sizeof p->pam);
}

/* Returns true for grey and colours. A type that netpbm does not define means grey with one
 * channel, and red, green and blue with three. */
static bool is_visual(const struct pam *pam)
{
    return pam->visual || pam->depth == 1 || pam->depth == 3;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct pnm_state *p = state;
    (void)orient;
    p->sample = s;
    memset(&p->pam, 0, sizeof p->pam);
    p->at = 0;
    p->file = fopencookie(p, "r", (cookie_io_functions_t){.read = read_bytes});
    if (!p->file)
        return sample_fail(s, "out of memory");
    if (guard(p, read_header, NULL))
        return -1;
    if (p->pam.maxval < 1 || p->pam.maxval > UINT16_MAX)
        return sample_fail(s, "damaged PNM: a largest value of %lu", p->pam.maxval);
    const unsigned int most = IMAGE_MAX_CHANNELS + 1; /* decode.c refuses it */
    const bool narrow = p->pam.maxval == 255 || p->pam.maxval == 1;
    found->width = p->pam.width;
    found->height = p->pam.height;
    found->kind =
        (struct image_kind){(int)(p->pam.depth < most ? p->pam.depth : most), narrow ? 8 : 16};
    found->no_rgb = !is_visual(&p->pam);
    return 0;
}

/* Fills table[0..maxval] with the values scaled to `largest`, rounded as Python rounds. */
static void scale(sample maxval, double largest, uint16_t *table)
{
    for (sample v = 0; v <= maxval; v++)
        table[v] = (uint16_t)rint((double)v / (double)maxval * largest);
}

static void read_rows(struct pnm_state *p, struct image *image)
{
    static uint16_t table[1 << 16]; /* protected by the lock */
    const struct pam *pam = &p->pam;
    const size_t channels = (size_t)image_channels(image->kind), n = (size_t)image->width;
    const bool wide = image->kind.depth == 16, grey = channels == 3 && pam->depth < 3;
    scale(pam->maxval, wide ? 65535 : 255, table);
    p->row = pnm_allocpamrow(pam);
    for (int y = 0; y < image->height; y++) {
        pnm_readpamrow(pam, p->row);
        const size_t first = (size_t)y * n * channels;
        uint8_t *bytes = image->buffer + first;
        uint16_t *words = (uint16_t *)(void *)image->buffer + first;
        for (size_t x = 0; x < n; x++)
            for (size_t c = 0; c < channels; c++) {
                const uint16_t v = table[p->row[x][grey ? 0 : c]];
                if (wide)
                    words[x * channels + c] = v;
                else
                    bytes[x * channels + c] = (uint8_t)v;
            }
    }
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    (void)pixels;
    (void)denominator;
    return guard(state, read_rows, image);
}

const struct decode_format decode_pnm = {.name = "PNM",
                                         .endings = ".pnm .pbm .pgm .ppm .pam",
                                         .recognize = recognize,
                                         .make = make_state,
                                         .free = free,
                                         .start = start,
                                         .finish = finish,
                                         .end = end};
