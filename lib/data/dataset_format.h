/* dataset_format: the functions that a format of data sets provides, and those that dataset.c
 * offers to it.
 *
 * To add a format NAME:
 *
 *   1. Write lib/data/dataset_NAME.c. It defines `const struct dataset_format dataset_NAME` and
 *      begins with a comment that describes the layout of the files.
 *   2. Add the row X(NAME, TURN) to DATASET_FORMATS below. `--format NAME` and the help follow.
 *
 * There are two kinds of format:
 *
 *   indexed       open() finds out how many samples there are, and get() reads any of them. Set
 *                 `count`, `classes` and, if all samples have one size, `native_size`.
 *                 Examples: dataset_idx.c (the shortest that reads files), dataset_folder.c.
 *   in sequence   next() reads one sample after the other; sequence.c holds them in memory, or
 *                 makes a stream of them. Set `in_sequence`, and `rewinds` if rewind() works.
 *                 Example: dataset_frames.c.
 *
 * The format decides which samples belong to the wanted split, with the help of part.h (which names
 * mean a part), part_files.h (one file for each part) or layout.h (folders as parts). It refuses a
 * missing split with part_missing(). With `hold`, it refuses data that has a test part with
 * part_refuse_hold(). */
#ifndef DATASET_FORMAT_H
#define DATASET_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset.h"
#include "data/ignored.h"
#include "data/layout.h"
#include "data/shards.h"
#include "data/size_sample.h"

/* All formats, in the order of `--help`. TURN is the order in which `--format auto` asks them
 * whether they recognize the data. Lower numbers come first; formats with the same number come in
 * the order of the rows.
 *
 *   1   recognized by its name alone        3   any other file
 *   2   recognized by its contents          4   any other folder */
#define DATASET_FORMATS(X)                                                                         \
    X(cifar10, 2)                                                                                  \
    X(cifar100, 2)                                                                                 \
    X(stl10, 2)                                                                                    \
    X(idx, 2)                                                                                      \
    X(folder, 4)                                                                                   \
    X(tar, 3)                                                                                      \
    X(frames, 2)                                                                                   \
    X(shapes, 1)                                                                                   \
    X(series, 1)
enum { DATASET_LAST_TURN = 4 };

struct dataset {
    const struct dataset_format *format;
    void *state; /* the format's own */
    char *name;  /* for messages: the path, "stdin", or the name of the format */

    /* The format's open() sets these. */
    bool in_sequence; /* the format has next(), and not get() and label() */
    bool rewinds;     /* rewind() works */
    bool costly;      /* get() decodes or draws an image, or returns one that must be decoded */
    int64_t count;    /* number of samples; -1: unknown, for a stream that can be read only once */
    int classes;      /* 0: no labels; in sequence: the largest + 1 if open() lacks it */
    int native_size;  /* pixels a side of square images, or steps of series; 0: see size_sample.h */
    int channels;     /* of series, which are F32 (native_size,channels); 0: images */
    const char *const *class_names; /* by label; the format's or the layout's; NULL: no names */
    /* The layout, for formats in which a path decides the part and class of a sample; else NULL.
     * open() makes it, and dataset_close() frees it. In sequence, sequence.c adds the images to
     * it. */
    struct layout *layout;
    bool labels_in_samples; /* labels come from sample.label although there is a layout */

    /* The format updates these while it reads. */
    struct ignored ignored; /* contents that it found and does not read */
    bool ignored_reported;  /* later additions to `ignored` are not reported */
    int64_t bad_labels;     /* number of labels that could not be read in this pass over the set */
    bool fatal;             /* next() failed for another reason than a truncated archive */

    /* The commands that deliver the data, for the formats tar and frames; NULL: it is at the path.
     * dataset.c opens and closes them. */
    struct shards *shards;

    /* These are for dataset.c and sequence.c only. */
    struct sequence *sequence; /* NULL: the set is indexed by its format */
    bool damage_reported;      /* an earlier pass has reported the truncated archives */
    bool samples_sizes;        /* `sizes` is in use */
    bool kind_known;           /* an image was looked at, and has this kind */
    bool no_rgb;               /* as in struct decode_header */
    struct image_kind kind;
    struct size_sample sizes;
    struct read_errors *errors; /* the caller's */
};

struct dataset_format {
    /* Returns true if the data at `path` (any text from the user) is in this format. It leaves no
     * message. If it reads from stdin, it must leave the bytes there: see path_peek(). */
    bool (*recognize)(const char *path);
    /* Opens the data and fills `set`. If it fails, close() is called as well, so close() must
     * accept a state that is incomplete or NULL. */
    int (*open)(struct dataset *set, const struct dataset_options *options);
    /* These do the work of dataset_get() and dataset_label(). Several threads call them at once. */
    int (*get)(const struct dataset *set, int64_t i, struct sample *s);
    int64_t (*label)(const struct dataset *set, int64_t i);
    /* Does the work of dataset_image_name(). NULL: samples have no names, and their numbers
     * identify them. */
    const char *(*image_name)(const struct dataset *set, int64_t i);
    /* Does the work of dataset_origin(). NULL: the set is one file of many samples. */
    void (*origin)(const struct dataset *set, int64_t i, struct dataset_origin *out);
    /* For sets in sequence: these do the work of dataset_next() and dataset_rewind(), but return
     * the samples of all parts. If the set has a layout, sample.text is the sample's path, and
     * links are returned as samples with sample.link. */
    enum dataset_result (*next)(struct dataset *set, struct sample *s);
    int (*rewind)(struct dataset *set);
    void (*close)(struct dataset *set); /* frees the state */
};

#define DATASET_DECLARE(NAME, TURN) extern const struct dataset_format dataset_##NAME;
DATASET_FORMATS(DATASET_DECLARE)
#undef DATASET_DECLARE

/* Returns true if an image that layout_find() found at `place` belongs to the split. Counts an
 * image that belongs to no part as ignored. */
bool dataset_accept_image(struct dataset *set, enum layout_place place);

/* Leaves the message that there is no image in the set, and what there is instead. Returns -1. */
int dataset_fail_empty(struct dataset *set);

/* A format calls these after it has met a truncated archive, or a label that it cannot read, and
 * has set the message. They return 0 if the format should go on, after the archive or without the
 * image, and -1 if it should fail. */
int dataset_archive_broken(const struct dataset *set);
int dataset_bad_label(struct dataset *set);

/* Offers the next image of a stream to the sample of sizes (size_sample.h). */
void dataset_offer_size(struct dataset *set, const struct sample *s);

#endif
