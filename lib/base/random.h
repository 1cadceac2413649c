/* random: random numbers that depend on their purpose and not on the time at which they are drawn.
 *
 * A stream is named by (seed, purpose, epoch, index, view). The same name gives the same numbers on
 * any thread, on any shard and after any restart, and streams of different names never overlap. The
 * generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011). Its key is the seed; its counter is made of the rest of the name and a running number. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stdint.h>

/* The purposes of streams. Add new ones at the end, since the values are part of every result. */
enum random_purpose {
    RANDOM_SHUFFLE, /* the order of an epoch's images */
    RANDOM_VIEW,    /* the random choices for a view of an image */
    RANDOM_PIXELS,  /* noise on a view's pixels */
    RANDOM_SHAPE,   /* an image of the built-in data set */
    RANDOM_INIT,    /* initial parameters; index is the tensor's number */
    RANDOM_SPLIT,   /* choosing rows for validation */
    RANDOM_SAMPLE,  /* resampled test rows; index is the sample's number */
    RANDOM_WAVE,    /* a series of the built-in data set */
    RANDOM_LABELS,  /* choosing images whose labels are used */
    RANDOM_LIMIT,   /* choosing the images of a limited data set */
    RANDOM_HOLD,    /* choosing images that are held back for a test */
    RANDOM_MAP      /* the initial map of features */
};

/* The position in a stream of random numbers. */
struct random {
    uint32_t key[2], counter[4]; /* counter[0] is the running number */
    uint32_t block[4];           /* the last output of Philox */
    int used;                    /* number of its words already returned */
};

/* Applies Philox4x32-10 once. It is inline, so that the compiler vectorizes a loop over counters.
 */
static inline void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53 * c0;
        const uint64_t b = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Starts the stream with that name. view must be below 2^24. A stream has 2^34 words of 32 bits. */
void random_start(struct random *r, uint64_t seed, enum random_purpose purpose, uint32_t epoch,
                  uint32_t index, uint32_t view);

/* Returns a new stream that has r's name except for the purpose. It starts at its beginning. */
struct random random_other(const struct random *r, enum random_purpose purpose);

/* Draw the next number of a stream. random_u32() draws from all 2^32 values. */
uint32_t random_u32(struct random *r);
float random_float(struct random *r);   /* uniform in [0, 1), a multiple of 2^-24 */
double random_double(struct random *r); /* uniform in [0, 1), a multiple of 2^-53 */
double random_uniform(struct random *r, double low, double high); /* in [low, high) */
bool random_chance(struct random *r, double p);                   /* true with probability p */
/* Returns an integer in 0..n-1, each with the same probability; n must be at least 1. */
uint64_t random_below(struct random *r, uint64_t n);

/* Draw from the normal distribution of mean 0 and standard deviation 1. The truncated one draws
 * again until the value is within two standard deviations; the standard deviation of its results is
 * 0.87962566, so callers that want a given standard deviation divide by that. */
double random_normal(struct random *r);
double random_truncated_normal(struct random *r);

/* Fills out[n] with 0..n-1 in random order. Each of the n! orders has the same probability. */
void random_permutation(struct random *r, int64_t *out, int64_t n);

#endif
