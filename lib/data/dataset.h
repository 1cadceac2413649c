/* dataset: labelled images or series, wherever they come from.
 *
 *   cifar10    the binary version: a folder with data_batch_1.bin to data_batch_5.bin
 *              and test_batch.bin, or the .tar.gz that is distributed
 *   cifar100   a folder with train.bin and test.bin, or its .tar.gz; the fine labels
 *   idx        MNIST's layout: a folder with *images*idx3* and *labels*idx1* files, perhaps .gz, or
 *              one of them; grey becomes three channels
 *   folder     a folder per class with PNG and JPEG files, nested as one likes; without sub-folders
 *              the images have no labels
 *   tar        .tar, .tar.gz, .tar.zst ..., one or a brace list of them ("train-{000..146}.tar"),
 *              or "-", stdin. Labels are in KEY.cls beside KEY.jpg (WebDataset), else folders are
 *              classes as above
 *   frames     frames of images: x U8 [N,H,W,3], [N,1,H,W,3] or [H,W,3], y I64 [N] or none; from a
 *              file, "-", or another of endpoint.h's sources
 *   shapes     built in: ten classes of drawn shapes, no file at all
 *   series     time series, whose samples are floats: "waves", which are built in (waves.h), a file
 * of dataset_series.c's layouts, or a folder with a file for each split
 *
 * Parts of folders and archives are folders in them (layout.h), those of other formats files; what
 * has no parts is the training part. Classes that have names are numbered in the order of the
 * names' bytes, over all parts.
 *
 * A set is indexed, any image at any time, or it is a stream, one after the other. Archives that
 * are not compressed are indexed where they lie. What can only be read in sequence (compressed
 * archives, stdin, frames) is held in memory, and so indexed as well, if its bytes fit into the
 * budget; otherwise it is a stream: one that lies in files is counted by reading it once, and can
 * begin again, stdin cannot.
 *
 * A format is one dataset_NAME.c (see dataset_format.h). */
#ifndef DATASET_H
#define DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "data/read_errors.h"
#include "data/sample.h"
#include "link/endpoint.h"

struct dataset;

/* The formats' names as options_parse() wants choices: "auto|cifar10|...". */
extern const char dataset_formats[];

/* Which images a set is to hold. The texts must stay valid until dataset_open() returns, `links` as
 * long as the set. */
struct dataset_options {
    const char *path;
    const char *format; /* one of dataset_formats; "auto" finds out */
    const char *split;  /* "train", "test" or "unlabeled"; a set without such a part is refused */
    bool hold;          /* the caller keeps some images of the training part back for a test: a set
                           that has a test part is refused */
    int size;       /* pixels of the views, for sets that can be drawn at any size; 0: unknown */
    int64_t budget; /* bytes that may be held in memory */
    const struct link_config *links; /* for sets that come over a link */
};

/* Opens a set. errors, which must outlive it, decides whether an archive that breaks off, or a label
 * that cannot be read, is an error. NULL with a message that names the file and its defect. */
struct dataset *dataset_open(const struct dataset_options *options, struct read_errors *errors);
void dataset_close(struct dataset *set); /* NULL is fine */

/* Tells on stderr, once, what lies there and is not read: after dataset_open(), or, of a stream
 * that comes once, at its end. */
void dataset_report_ignored(struct dataset *set);

/* Will dataset_open() look for series there, and not for images? Known without opening it. */
bool dataset_holds_series(const char *path, const char *format);

bool dataset_is_stream(const struct dataset *set);
int64_t dataset_count(const struct dataset *set); /* -1: a stream that cannot be counted */
int dataset_classes(const struct dataset *set);   /* 0: no labels */
/* The names of the classes, by number; the set's. NULL: they have none. */
const char *const *dataset_class_names(const struct dataset *set);
/* Of series: how many values there are at each step; 0 for images. */
int dataset_channels(const struct dataset *set);
/* Steps of the series. Side of most images, if these are square and of up to SIZE_SAMPLE_SMALL pixels;
 * else 0. Where images may differ, a sample of them is looked at (size_sample.h), of a stream that comes
 * once those that were held first; *agree of *looked_at have this size (both 0: all are known to).
 * Of a set that was opened for views of a given size nothing is looked at. */
int dataset_native_size(const struct dataset *set, int *agree, int *looked_at);
/* Bytes of images that are held, of the budget. */
int64_t dataset_bytes_held(const struct dataset *set);
/* Does getting an image cost more than pointing at it: is it decoded or drawn? */
bool dataset_is_costly(const struct dataset *set);

/* Image i of an indexed set, 0 <= i < count, with its label. The bytes stay valid until the sample
 * is used again or the set is closed. Several threads may call this at once, each with its own
 * sample. -1 with a message that names the image. */
int dataset_get(const struct dataset *set, int64_t i, struct sample *s);

/* The label of that image, -1 without one, at no cost. */
int64_t dataset_label(const struct dataset *set, int64_t i);

/* What identifies that image among all of the set's data, the same wherever it lies and in a folder
 * as in an archive; valid as long as the set. NULL: its number does. */
const char *dataset_image_name(const struct dataset *set, int64_t i);

/* The next image of a stream, in memory of the sample's own: 1, 0 at the end, -1 on failure. */
int dataset_next(struct dataset *set, struct sample *s);
/* Begins a stream again. -1 with a message where it cannot. */
int dataset_rewind(struct dataset *set);

#endif
