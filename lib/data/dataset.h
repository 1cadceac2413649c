/* dataset: labelled images or time series, wherever they come from.
 *
 *   format     data
 *   --------   ----------------------------------------------------------------------------------
 *   cifar10    CIFAR-10, binary version: a folder with data_batch_1.bin to data_batch_5.bin and
 *              test_batch.bin, or the .tar.gz that is distributed
 *   cifar100   CIFAR-100, binary version: a folder with train.bin and test.bin, or its .tar.gz;
 *              with the fine labels
 *   idx        MNIST's files: a folder with *images*idx3* and *labels*idx1* files, perhaps .gz, or
 *              one of them; grey becomes three channels
 *   folder     a folder for each class with PNG and JPEG files in it or below it; without such
 *              folders the images have no labels
 *   tar        .tar, .tar.gz, .tar.zst ..., one or a brace list of them ("train-{000..146}.tar"),
 *              or "-", stdin. Labels are in KEY.cls beside KEY.jpg (WebDataset), else folders are
 *              classes as above
 *   frames     frames with x U8 [N,H,W,3], [N,1,H,W,3] or [H,W,3], and y I64 [N] or none; from a
 *              file, "-", or another of endpoint.h's sources
 *   shapes     built in, without any file: drawn shapes of ten classes
 *   series     time series, whose samples are floats: "waves", which are built in (waves.h), a file
 *              in a layout of dataset_series.c, or a folder with such a file for each part
 *
 * The parts of folders and archives are folders in them (layout.h); the other formats have a file
 * for each part. Data that has no parts is a training part. Classes with names are numbered in the
 * order of the names' bytes, over all parts.
 *
 * A set is either indexed (any image at any time) or a stream (one image after the other). Archives
 * that are not compressed are indexed: their images are read from where they are in the file. What
 * can only be read in sequence (compressed archives, stdin, frames) is held in memory and indexed,
 * if its bytes fit into the budget; otherwise it is a stream. A stream that comes from files is
 * read once to count it, and can begin again; stdin cannot.
 *
 * A format is one file, dataset_NAME.c; dataset_format.h says how to add one. */
#ifndef DATASET_H
#define DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "data/read_errors.h"
#include "data/sample.h"
#include "link/endpoint.h"

struct dataset;

/* The formats' names as options_parse() takes choices: "auto|cifar10|...". */
extern const char dataset_formats[];

/* What to open. The texts must stay valid until dataset_open() returns, `links` as long as the set.
 */
struct dataset_options {
    const char *path;   /* "" if the format needs none */
    const char *format; /* one of dataset_formats; "auto" finds out which one it is */
    const char *split;  /* "train", "test" or "unlabeled"; data without such a part is refused */
    bool hold;          /* the caller divides the training part into training and test images;
                         * data that has a test part is refused */
    int size;           /* pixels a side of the views, for sets that draw their images at any size;
                         * 0: not known yet */
    int64_t budget;     /* bytes of samples that may be held in memory */
    const struct link_config *links; /* for data that comes over a link */
};

/* Opens a set. `errors`, which must outlive it, decides whether an archive that breaks off, or a
 * label that cannot be read, ends the run. Returns NULL with a message that names the file and its
 * defect. */
struct dataset *dataset_open(const struct dataset_options *options, struct read_errors *errors);
void dataset_close(struct dataset *set); /* NULL is fine */

/* Prints on stderr, once, what the data holds and the set does not read. Call it after
 * dataset_open(); for a stream that comes once, at its end. */
void dataset_report_ignored(struct dataset *set);

/* Returns true if dataset_open() would look for time series at this path, and not for images.
 * Opens nothing. */
bool dataset_holds_series(const char *path, const char *format);

bool dataset_is_stream(const struct dataset *set);
int64_t dataset_count(const struct dataset *set); /* samples; -1: a stream that cannot be counted */
int dataset_classes(const struct dataset *set);   /* labels are below; 0: no labels */
/* The names of the classes, by label; they are the set's. NULL if they have none. */
const char *const *dataset_class_names(const struct dataset *set);
/* Values at each step of the series; 0: the samples are images. */
int dataset_channels(const struct dataset *set);
/* Steps of the series; or pixels a side of most images, if these are square and have up to
 * SIZE_SAMPLE_SMALL pixels a side, else 0. Where images may differ, a sample of them decides
 * (size_sample.h), of a stream that comes once those that fit into the budget: *agree of *looked_at
 * images have this size. Both are 0 if all images are known to have it, or if the set was opened
 * with a size. */
int dataset_native_size(const struct dataset *set, int *agree, int *looked_at);
/* How many bytes of the budget are in use. */
int64_t dataset_bytes_held(const struct dataset *set);
/* Returns true if getting an image costs more than pointing at its pixels: it is decoded or
 * drawn. */
bool dataset_is_costly(const struct dataset *set);

/* Gets sample i of an indexed set, 0 <= i < count, with its label. Its bytes stay valid until `s`
 * is used again or the set is closed. Several threads may call this at once, each with its own
 * sample. Returns -1 with a message that names the sample. */
int dataset_get(const struct dataset *set, int64_t i, struct sample *s);

/* The label of that sample, or -1 if it has none. Costs nothing. */
int64_t dataset_label(const struct dataset *set, int64_t i);

/* A name that identifies that sample among all of the data, the same wherever the data is, and in a
 * folder as in an archive of it. Valid as long as the set. NULL if its number identifies it. */
const char *dataset_image_name(const struct dataset *set, int64_t i);

enum dataset_result {
    DATASET_FAILED = -1, /* fail_message() says why */
    DATASET_END = 0,
    DATASET_SAMPLE = 1
};

/* Gets the next sample of a stream; its bytes are in the sample's own memory. */
enum dataset_result dataset_next(struct dataset *set, struct sample *s);
/* Begins a stream again. Returns -1 with a message if it cannot. */
int dataset_rewind(struct dataset *set);

#endif
