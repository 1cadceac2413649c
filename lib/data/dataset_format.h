/* dataset_format: what a dataset_NAME.c provides. dataset.c holds the list of formats. */
#ifndef DATASET_FORMAT_H
#define DATASET_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset.h"
#include "data/ignored.h"
#include "data/layout.h"
#include "data/part.h"
#include "data/size_sample.h"
#include "data/tar_links.h"

struct dataset {
    const struct dataset_format *format;
    void *state; /* the format's own */
    /* Set by the format's open(). */
    bool in_sequence; /* next() reads it, and dataset.c does the rest; else get() does */
    bool rewinds;     /* rewind() works */
    bool costly;
    int64_t count;
    int classes, native_size;       /* native_size 0: dataset.c finds out */
    int channels;                   /* of series; their samples are F32 (native_size,channels) */
    const char *const *class_names; /* by number; NULL: classes are numbers */
    /* Of a set whose parts and classes are told by paths, else NULL; made by open(), freed by
     * dataset.c. In sequence, dataset.c adds the images to it. */
    struct layout *layout;
    bool labelled;          /* labels do not follow from the layout, but stand in the samples */
    struct ignored ignored; /* ignored from when it is `told` */
    bool told;
    int64_t bad_labels; /* in this pass */
    bool failed;        /* next() failed for another reason than an archive that breaks off */
    /* dataset.c's own. */
    char *name; /* for messages */
    struct size_sample sizes;
    bool look; /* at sizes */
    struct held *held;
    struct read_errors *errors;
};

struct dataset_format {
    const char *name;
    /* Is this what lies at path? Formats are asked in the order of dataset.c's list. */
    bool (*recognize)(const char *path);
    /* Fills set. On failure close() is called as well, so state may be half-made. A format whose
     * data has no part for the split fails with part_missing(); with `hold`, data that has a test
     * part is refused with part_refuse_hold(). */
    int (*open)(struct dataset *set, const struct dataset_options *options);
    int (*get)(const struct dataset *set, int64_t i, struct sample *s);
    int64_t (*label)(const struct dataset *set, int64_t i);
    /* What identifies image i among all of them, wherever the set lies; valid as long as it is.
     * NULL: its number does. */
    const char *(*name_of)(const struct dataset *set, int64_t i);
    /* For sets in sequence, which need none of these: as dataset_next() and dataset_rewind(), but
     * of all parts, and of a set with a layout with the path, and links, in the sample. */
    int (*next)(struct dataset *set, struct sample *s);
    int (*rewind)(struct dataset *set);
    void (*close)(struct dataset *set); /* frees state */
};

/* An image of a set with a layout, by the item it is one of: see dataset_arrange(). */
struct arranged {
    int64_t source; /* the item that has its bytes */
    char *path;     /* this one's own */
    int64_t label;
};

/* Makes images of n items of archives: follows links, settles the layout, keeps the images of the
 * split and their labels: those of the layout, or `labels` of the items if set->labelled. Counts
 * what is passed over. -1 with a message. The list is the caller's, to be freed with
 * dataset_arranged_free(); NULL on failure. */
int dataset_arrange(struct dataset *set, const struct dataset_options *options,
                    const struct tar_item *items, const int64_t *labels, int64_t n,
                    struct arranged **list, int64_t *n_list);
void dataset_arranged_free(struct arranged *list, int64_t n);

/* Leaves the message that there is no image, and what there is instead: -1. */
int dataset_fail_empty(struct dataset *set);

/* Counts an image that layout_find() says lies elsewhere; true: it belongs to the part. */
bool dataset_accept_image(struct dataset *set, enum layout_place found);

/* For a format that met an archive which breaks off, with the message set: 0: go on behind it, -1:
 * fail. */
int dataset_archive_broken(const struct dataset *set);
/* For a format that met a label which cannot be read, with the message set: 0: leave the image out,
 * -1: fail. */
int dataset_bad_label(struct dataset *set);

/* Is there a folder, or a regular file, of that name? */
bool path_is_folder(const char *path);
bool path_is_file(const char *path);

/* The path of a folder's first file, in the order of bytes, whose name fits; the caller's. Names
 * that begin with a dot are left out. NULL, without a message, if there is none. */
char *path_find_file(const char *folder, bool (*fits)(const char *name));

/* The files of a data set that has a file for each part, or is one file. */
struct part_files {
    char *wanted;                    /* of the split */
    char *parts[PART_UNLABELED + 1]; /* all, or NULL: the first of each part, by enum part */
};

/* Finds them among the files of options->path whose names fit, or takes the file that options->path is.
 * A file that names no part is the training part if it is alone. Of a file and its .gz twin the
 * first is taken. -1 with a message: the part is missing, or has two files. part_files_free() in
 * any case. */
int part_files_find(const struct dataset_options *options, bool (*fits)(const char *name),
                    enum part (*part_of)(const char *name), struct part_files *files);
void part_files_free(struct part_files *files);

/* A file, FIFO, or stdin: copies its first n bytes without taking them away, waiting for them. How
 * many there are; fewer at the end. 0 where that is not possible. */
size_t path_peek(const char *path, void *bytes, size_t n);

extern const struct dataset_format dataset_shapes, dataset_cifar10, dataset_cifar100, dataset_idx,
    dataset_frames, dataset_tar, dataset_folder, dataset_series;

#endif
