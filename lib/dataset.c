#include "dataset.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset_format.h"
#include "fail.h"

const char dataset_formats[] = "auto|cifar10|folder|shapes";
static const struct dataset_format *const formats[] = {&dataset_shapes, &dataset_cifar10,
                                                       &dataset_folder};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static const struct dataset_format *choose(const char *path, const char *format)
{
    const bool look = strcmp(format, "auto") == 0;
    for (int i = 0; i < N_FORMATS; i++)
        if (look ? formats[i]->recognize(path) : strcmp(formats[i]->name, format) == 0)
            return formats[i];
    struct stat st;
    if (!look)
        fail("unknown format '%s' (there are %s)", format, dataset_formats);
    else if (stat(path, &st) != 0)
        fail("%s: %s", path, strerror(errno));
    else
        fail("%s: not a folder", path);
    return NULL;
}

struct dataset *dataset_open(const char *path, const char *format, const char *split, int size)
{
    const struct dataset_format *f = choose(path, format);
    if (!f)
        return NULL;
    struct dataset *set = calloc(1, sizeof *set);
    if (!set) {
        fail("%s: out of memory", path);
        return NULL;
    }
    set->format = f;
    if (f->open(set, path, split, size)) {
        dataset_close(set);
        return NULL;
    }
    return set;
}

void dataset_close(struct dataset *set)
{
    if (!set)
        return;
    set->format->close(set);
    free(set);
}

int64_t dataset_count(const struct dataset *set)
{
    return set->count;
}

int dataset_classes(const struct dataset *set)
{
    return set->classes;
}

int dataset_native_size(const struct dataset *set)
{
    return set->native_size;
}

int dataset_get(const struct dataset *set, int64_t i, struct image *image)
{
    assert(i >= 0 && i < set->count);
    return set->format->get(set, i, image);
}
