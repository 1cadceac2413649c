/* encoder: the description of an encoder, from which it can be built again.
 *
 * As a text, it is the metadata `encoder` of joins, states and models:
 *
 *   arch=resnet18 width=0.25 stem=cifar normalize=none sk=0 size=32 channels=3
 *
 * The words are in any order, and words that are unknown are an error. `channels=3` and `sk=0` may
 * be missing. */
#ifndef ENCODER_H
#define ENCODER_H

#include <stdbool.h>
#include <stdint.h>

#include "network/normalization.h"
#include "network/plan.h"
#include "network/resnet.h"

enum { ENCODER_TEXT = 512 }; /* bytes of a description, with the 0 at its end */

/* The names of the architectures, in the form in which options_parse() takes choices. */
extern const char encoder_archs[];

struct encoder {
    const char *arch; /* one of encoder_archs; encoder_parse() sets it to a constant */
    double width;     /* factor of the number of channels */
    enum resnet_stem stem;
    struct normalization normalize;
    bool selective;   /* selective kernels (resnet_sk_plan()) */
    int64_t size;     /* pixels a side of the training images, or steps of a series; 0: unknown */
    int64_t channels; /* of the input */
};

/* Returns true if the input is time series, F32 [B,V,1,T,C], and not images. */
bool encoder_is_series(const struct encoder *e);

/* Returns the stem that suits images of that size: the CIFAR stem up to 64 pixels a side (or steps
 * of a series), otherwise the ImageNet stem. */
enum resnet_stem encoder_auto_stem(int64_t height, int64_t width);
const char *encoder_stem_name(enum resnet_stem stem); /* "cifar" or "imagenet" */

/* Returns the name of the first word in which two descriptions differ, other than `size`, or NULL if
 * they are of the same network. Two widths of the same number of channels are the same. */
const char *encoder_difference(const struct encoder *a, const struct encoder *b);

/* Returns a new plan of the network, or NULL with a message if there is no such network. */
struct plan *encoder_plan(const struct encoder *e);

/* Write and read the text. encoder_parse() returns -1 with a message that names the word which it
 * does not know or lacks, or whose value is out of range. */
void encoder_print(const struct encoder *e, char text[ENCODER_TEXT]);
int encoder_parse(const char *text, struct encoder *e);

#endif
