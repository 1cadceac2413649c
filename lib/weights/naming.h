/* naming: finds the encoder among the names in a file of another program, and translates its names
 * to this project's, which are torchvision's.
 *
 * A name is a prefix, such as "state_dict.module.encoder_q.", and the rest, which is in one of four
 * forms. They are shown here for the first convolution and one in the first block:
 *
 *   torchvision   conv1.weight and layer1.0.conv1.weight; shortcuts are `downsample` or, as in many
 *                 codes for CIFAR, `shortcut`
 *   sequence      0.weight and 4.0.conv1.weight, of nn.Sequential(*resnet.children()); without
 *                 pooling or without ReLU the stages are 3 to 6 or 2 to 5
 *   Hugging Face  embedder.embedder.convolution.weight and
 *                 encoder.stages.0.layers.0.layer.0.convolution.weight
 *   SimCLRv2      net.0.0.weight and net.1.blocks.0.net.0.weight, of SimCLRv2-Pytorch
 *
 * An encoder is there if the first convolution and the first block of each of the four stages are
 * there under one prefix. Which prefix it is does not matter if there is one. If there are several,
 * those that mark a moving average are left out: one of their words, which are separated by '.' and
 * '_', is k, key, ema, momentum or target. If there is still more than one, the file is refused.
 *
 * Heads are searched under the encoder's prefix and the shorter ones that it begins with:
 * projector.* and predictor.* as they are; head.layers.N of SimCLRv2-Pytorch as the projector; fc.*,
 * classifier.* and classifier.1.* of Hugging Face as `fc`. */
#ifndef NAMING_H
#define NAMING_H

#include <stdbool.h>

enum {
    NAMING_TEXT = 512, /* bytes of a prefix, and of a translated name, with the 0 at its end */
    NAMING_LAYERS = 16 /* parts of a head of SimCLRv2 */
};

struct naming {
    enum naming_form {
        NAMING_OWN, /* no encoder was found: names are taken as they are */
        NAMING_TORCHVISION,
        NAMING_SEQUENCE,
        NAMING_HUGGING_FACE,
        NAMING_SIMCLR_V2
    } form;
    char prefix[NAMING_TEXT];  /* of the encoder: "", or up to and with a '.' */
    char passed[NAMING_TEXT];  /* prefix of another encoder that was not chosen, or "" */
    int first_stage;           /* NAMING_SEQUENCE: index of the first stage */
    bool selective;            /* NAMING_SIMCLR_V2: with selective kernels */
    char head[NAMING_TEXT];    /* prefix of the head, such as "projector." or "head.layers." */
    int layers[NAMING_LAYERS]; /* NAMING_SIMCLR_V2: indices of the head's parts, ascending */
    int n_layers;
    char predictor[NAMING_TEXT];  /* prefix of BYOL's predictor, such as "predictor." */
    char classifier[NAMING_TEXT]; /* prefix of the classifier, such as "fc." */
};

/* Finds the encoder and its heads among n names, which must be sorted as strcmp() does. Returns -1
 * with a message if there are several encoders. */
int naming_find(struct naming *naming, const char *const *names, int n);

/* Writes this project's name for a name of the file, and returns true; or returns false if it does
 * not belong to the encoder or its heads, or is too long. A name inside the encoder that has no
 * counterpart here is kept, so that it is found to be superfluous. */
bool naming_translate(const struct naming *naming, const char *name, char own[NAMING_TEXT]);

/* Writes what to call a name that does not belong to it in a list: the first word after what it has
 * in common with the prefix, with that ("module.encoder_k"). */
void naming_part(const struct naming *naming, const char *name, char part[NAMING_TEXT]);

#endif
