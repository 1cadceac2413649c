/* dataset: labelled images or time series, wherever they come from.
 *
 *   format     data
 *   --------   ----------------------------------------------------------------------------------
 *   cifar10    CIFAR-10: a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin
 *              (the binary version), or data_batch_1 ... (pickles of Python), or the .tar.gz that is
 *              distributed
 *   cifar100   CIFAR-100: a folder with train.bin and test.bin, or train and test (pickles), or its
 *              .tar.gz; the labels are the fine ones
 *   stl10      STL-10: a folder with train_X.bin, train_y.bin, test_X.bin ..., or its .tar.gz
 *   idx        MNIST's files: a folder with *images*idx3* and *labels*idx1* files, perhaps .gz, or
 *              one of them; grey becomes three channels
 *   folder     a folder for each class with image files in it or below it; without such
 *              folders the images have no labels
 *   tar        .tar, .tar.gz, .tar.zst ..., one or a brace list of them ("train-{000..146}.tar"),
 *              or "-", stdin. Labels are in KEY.cls beside KEY.jpg (WebDataset), else folders are
 *              classes as above
 *   frames     frames with x U8 [N,H,W,3], [N,1,H,W,3] or [H,W,3], and y I64 [N] or none; or x U8
 *              or F32 of any channels; from a file, "-", or another of endpoint.h's sources
 *   shapes     built in, without any file: drawn shapes of ten classes
 *   series     time series, whose samples are floats: "waves", which are built in (waves.h), a file
 *              in a layout of dataset_series.c, or a folder with such a file for each part
 *
 * In folders and archives, the parts (train, test, ...) are folders (layout.h); the other formats
 * have a file for each part. Data without parts is a training part. Classes with names are numbered
 * in the byte order of the names, over all parts.
 *
 * A set is either indexed (any image can be read at any time) or a stream (images come one after
 * the other). Archives that are not compressed are indexed: their images are read directly from
 * their places in the file. Data that can only be read in sequence (compressed archives, stdin,
 * frames) is held in memory and indexed if its bytes fit into the budget; otherwise it is a stream.
 * A stream from files or commands is read once to count it, and can begin again; stdin cannot.
 * With `count` a stream is not read to count it. Then nothing is known of its layout either: labels
 * come from .cls files alone, the classes have no names and no number, and a folder in an image's
 * path decides its part.
 *
 * Each format is one file, dataset_NAME.c; dataset_format.h says how to add one. */
#ifndef DATASET_H
#define DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "data/read_errors.h"
#include "data/sample.h"
#include "link/endpoint.h"

struct dataset;

/* The names of the formats, in the form in which options_parse() takes choices:
 * "auto|cifar10|...". */
extern const char dataset_formats[];

/* The data to open. The texts must stay valid until dataset_open() returns, and `links` as long as
 * the set. */
struct dataset_options {
    const char *path;   /* "" if the format needs none */
    const char *format; /* one of dataset_formats; "auto" recognizes the format */
    const char *split;  /* "train", "test" or "unlabeled"; dataset_open() refuses data without
                           such a part */
    bool hold;          /* the caller divides the training part into training and test images;
                           dataset_open() then refuses data that has a test part */
    int size;           /* pixels a side of the views, for sets that draw their images at any
                           size; 0: not known yet */
    int64_t budget;     /* bytes of samples that may be held in memory */
    int64_t count;      /* number of images of the split, if the caller knows it, so that a stream
                           need not be counted; 0: unknown */
    int64_t retries;    /* how often the command of a shard is run again if it breaks off */
    const struct link_config *links; /* for data that comes over a link */
};

/* Opens a set. `errors`, which must outlive it, decides whether a truncated archive, or a label
 * that cannot be read, ends the run. Returns NULL with a message that names the file and its
 * defect. */
struct dataset *dataset_open(const struct dataset_options *options, struct read_errors *errors);
void dataset_close(struct dataset *set); /* NULL is fine */

/* Prints once on stderr which contents of the data the set does not read. Call it after
 * dataset_open(), or for a stream that comes once, at its end. */
void dataset_report_ignored(struct dataset *set);

/* Returns true if dataset_open() would look for time series at this path, and not for images. It
 * opens nothing. */
bool dataset_holds_series(const char *path, const char *format);

bool dataset_is_stream(const struct dataset *set);
int64_t dataset_count(const struct dataset *set); /* -1: a stream that cannot be counted */
/* Returns true if the set is a stream whose number of images is the caller's. */
bool dataset_count_is_given(const struct dataset *set);
/* Returns the number of commands that deliver the set, or 0 if none do. */
int64_t dataset_commands(const struct dataset *set);
bool dataset_comes_once(const struct dataset *set); /* a stream that cannot begin again */
int dataset_classes(const struct dataset *set);     /* labels are below this; 0: no labels */
/* Returns the names of the classes by label, which the set owns, or NULL if the classes have
 * none. */
const char *const *dataset_class_names(const struct dataset *set);
/* Returns the number of values at each step of the series, or 0 if the samples are images. */
int dataset_channels(const struct dataset *set);
/* Returns the number of steps of the series. For images, returns the pixels a side of most of them
 * if these are square and have up to SIZE_SAMPLE_SMALL pixels a side, else 0. If images may differ,
 * a sample of them decides (size_sample.h), or in a stream that comes once, the images that fit
 * into the budget; *agree of *looked_at images have this size. Both are 0 if all images are known
 * to have it, or if the set was opened with a size. */
int dataset_native_size(const struct dataset *set, int *agree, int *looked_at);
/* Returns what DECODE_RAW gives (decode.h) of the first image of the set that can be read, and sets
 * *no_rgb to whether it has neither colours nor grey. It is {0} if none was readable. Of a stream
 * that comes once, the images that fit into the budget are looked at. */
struct image_kind dataset_kind(const struct dataset *set, bool *no_rgb);
/* Returns the number of bytes of the budget that are in use. */
int64_t dataset_bytes_held(const struct dataset *set);
/* Returns true if getting an image costs more than returning a pointer to its pixels, because it is
 * decoded or drawn. */
bool dataset_is_costly(const struct dataset *set);

/* Gets sample i of an indexed set, 0 <= i < count, with its label. Its bytes stay valid until `s`
 * is used again or the set is closed. Several threads may call this at once, each with its own
 * sample. Returns -1 with a message that names the sample. */
int dataset_get(const struct dataset *set, int64_t i, struct sample *s);

/* Returns the label of sample i, or -1 if it has none. It does not read the sample. */
int64_t dataset_label(const struct dataset *set, int64_t i);

/* Returns a name that identifies sample i among all of the data. The name does not depend on where
 * the data is, and is the same in a folder and in an archive of it. It is valid as long as the set.
 * Returns NULL if the sample's number identifies it. */
const char *dataset_image_name(const struct dataset *set, int64_t i);

/* The place that a sample comes from. The texts are valid as long as the set. */
struct dataset_origin {
    const char *file;   /* the path of a file or archive, or the name of drawn data */
    const char *member; /* the sample's path in its archive, or NULL */
    int64_t number;     /* the sample's number in a file of many, from 0; -1: the file is one */
};

/* Sets *out to the origin of sample i. It does not read the sample. In a stream of archives, only
 * the sample itself knows its file and member. */
void dataset_origin(const struct dataset *set, int64_t i, struct dataset_origin *out);

enum dataset_result {
    DATASET_FAILED = -1, /* fail_message() has the reason */
    DATASET_END = 0,
    DATASET_SAMPLE = 1
};

/* Gets the next sample of a stream; its bytes are in the sample's own memory. If the stream ends
 * with another number of images than the caller's `count`, fails. */
enum dataset_result dataset_next(struct dataset *set, struct sample *s);
/* Begins a stream again. Returns -1 with a message if that is impossible. */
int dataset_rewind(struct dataset *set);

#endif
