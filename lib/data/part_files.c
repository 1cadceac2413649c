#include "data/part_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/path.h"

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Returns true if `other` is the compressed twin of `path`, which comes later in byte order. */
static bool is_twin(const char *path, const char *other)
{
    const size_t n = strlen(path);
    return strncmp(path, other, n) == 0 && strcmp(other + n, ".gz") == 0;
}

/* The number of files of a part, and the name of the second one. */
struct part_count {
    int n;
    char second[256];
};

static int take_file(const char *folder, const char *name, enum part part, struct part_files *files,
                     struct part_count *counts)
{
    char *path = path_join(folder, name);
    if (!path)
        return -1;
    struct part_count *c = &counts[part];
    char *first = files->parts[part];
    if (first && is_twin(first, path)) {
        free(path);
        return 0;
    }
    if (c->n++ == 0)
        files->parts[part] = path;
    else {
        snprintf(c->second, sizeof c->second, "%s", name);
        free(path);
    }
    return 0;
}

static int list_files(const char *folder, bool (*fits)(const char *),
                      enum part (*part_of)(const char *), struct part_files *files,
                      struct part_count *counts)
{
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, NULL, by_bytes);
    int result = n < 0 ? fail("%s: %s", folder, strerror(errno)) : 0;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (result == 0 && *name != '.' && fits(name))
            result = take_file(folder, name, part_of(name), files, counts);
        free(names[i]);
    }
    free(names);
    return result;
}

static int choose_file(const struct dataset_options *options, struct part_files *files,
                       const struct part_count *counts)
{
    const bool train = strcmp(options->split, "train") == 0;
    enum part part = PART_UNLABELED;
    if (options->hold && (counts[PART_TEST].n || counts[PART_VALIDATION].n))
        return part_refuse_hold(options->path);
    if (train)
        part = counts[PART_TRAIN].n ? PART_TRAIN : PART_NONE;
    else if (strcmp(options->split, "test") == 0)
        part = counts[PART_TEST].n ? PART_TEST : PART_VALIDATION;
    if (counts[part].n == 0)
        return part_missing(options->path, options->split);
    if (counts[part].n > 1)
        return fail("%s: has %d files for its %s part, %s and %s%s: name one of them",
                    options->path, counts[part].n, options->split, basename(files->parts[part]),
                    counts[part].second, counts[part].n > 2 ? " among them" : "");
    files->wanted = strdup(files->parts[part]);
    return files->wanted ? 0 : fail_memory(options->path);
}

int part_files_find(const struct dataset_options *options, bool (*fits)(const char *),
                    enum part (*part_of)(const char *), struct part_files *files)
{
    struct part_count counts[PART_UNLABELED + 1] = {0};
    *files = (struct part_files){0};
    if (path_is_folder(options->path))
        return list_files(options->path, fits, part_of, files, counts) ||
                       choose_file(options, files, counts)
                   ? -1
                   : 0;
    if (strcmp(options->split, "train") != 0)
        return part_missing(options->path, options->split);
    files->wanted = strdup(options->path);
    return files->wanted ? 0 : fail_memory(options->path);
}

void part_files_free(struct part_files *files)
{
    for (int i = 0; i <= PART_UNLABELED; i++)
        free(files->parts[i]);
    free(files->wanted);
    *files = (struct part_files){0};
}
