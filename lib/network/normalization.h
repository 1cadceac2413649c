/* normalization: how bytes of images are converted to numbers, (x/255 - mean) / std of each
 * channel. */
#ifndef NORMALIZATION_H
#define NORMALIZATION_H

enum {
    NORMALIZATION_CHANNELS = 4, /* the engine's limit for images of bytes */
    NORMALIZATION_TEXT = 160    /* bytes of a text, with the 0 at its end */
};

struct normalization {
    int channels; /* number of means and deviations; 0: "none", for images of any channels */
    float mean[NORMALIZATION_CHANNELS], std[NORMALIZATION_CHANNELS]; /* 0 and 1 beyond channels */
};

/* Reads "none", "cifar10", "imagenet", or a list of means and one of standard deviations, of 1 to 4
 * channels: "0.5,0.5,0.5/0.25,0.25,0.25". Returns -1 with a message if it is none of them. */
int normalization_parse(const char *text, struct normalization *n);

/* Writes a text without spaces, which reads back as the same numbers. */
void normalization_print(const struct normalization *n, char text[NORMALIZATION_TEXT]);

#endif
