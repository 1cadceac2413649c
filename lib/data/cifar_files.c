#include "data/cifar_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/count.h"
#include "base/regular_file.h"
#include "data/path.h"
#include "data/tar.h"

enum {
    LOOK_AT = 16, /* entries of an archive */
    /* Bytes of entries after which cifar_files_find() gives up, so that a large archive of other
     * files is not decompressed. */
    LOOK_AT_BYTES = 64 << 20
};

/* Returns true for the beginning of a dict: of protocols 2 and more, 0, or 1. */
static bool begins_pickle(const uint8_t first[2])
{
    return (first[0] == 0x80 && first[1] <= 5) || memcmp(first, "(d", 2) == 0 ||
           memcmp(first, "}q", 2) == 0 || memcmp(first, "}(", 2) == 0;
}

static int find_name(const char *path, const char *const *names)
{
    int i = 0;
    while (names[i] && strcmp(names[i], basename(path)) != 0)
        i++;
    return names[i] ? i : -1;
}

static bool file_fits(const char *path, bool check)
{
    uint8_t first[2] = {0};
    if (!check || !path_is_file(path))
        return !check && access(path, F_OK) == 0;
    const int fd = regular_file_open(path, NULL);
    const bool fits = fd >= 0 && read(fd, first, 2) == 2 && begins_pickle(first);
    if (fd >= 0)
        close(fd);
    return fits;
}

static bool folder_has(const char *folder, const struct cifar_list *list)
{
    bool found = false;
    for (const char *const *name = list->names; *name && !found; name++) {
        char *path = path_join(folder, *name);
        found = path && file_fits(path, list->check);
        free(path);
    }
    return found;
}

static bool entry_fits(struct tar *t, const struct tar_entry *e, const struct cifar_list *list)
{
    uint8_t first[2];
    if (find_name(e->path, list->names) < 0)
        return false;
    return !list->check || (e->kind == TAR_FILE && e->size >= 2 && tar_read(t, first, 2) == 0 &&
                            begins_pickle(first));
}

static int find_in_archive(const char *path, const struct cifar_list *lists, int n, int64_t most)
{
    struct tar *t = tar_open(path);
    struct tar_entry e;
    int found = n;
    int64_t bytes = 0;
    for (int i = 0; t && i < LOOK_AT && bytes <= most && found == n; i++) {
        if (tar_next(t, &e) != TAR_ENTRY)
            break;
        found = 0;
        while (found < n && !entry_fits(t, &e, &lists[found]))
            found++;
        bytes += e.kind == TAR_FILE ? count_min(e.size, LOOK_AT_BYTES + 1) : 0;
    }
    tar_close(t);
    return found < n ? found : -1;
}

int cifar_files_find(const char *path, const struct cifar_list *lists, int n)
{
    if (!path_is_folder(path))
        return find_in_archive(path, lists, n, LOOK_AT_BYTES);
    int found = 0;
    while (found < n && !folder_has(path, &lists[found]))
        found++;
    return found < n ? found : -1;
}

bool cifar_files_has_any(const char *path, const struct cifar_list *list)
{
    return path_is_folder(path) ? folder_has(path, list)
                                : find_in_archive(path, list, 1, INT64_MAX) == 0;
}

static int read_folder(const char *folder, const char *const *names,
                       int (*take)(void *context, const struct sample *file, bool found),
                       void *context)
{
    struct sample s = {0};
    int result = 0;
    for (; *names && result == 0; names++) {
        char *path = path_join(folder, *names);
        if (!path) {
            result = -1;
        } else if (access(path, F_OK) != 0) {
            const struct sample missing = {.file = folder, .member = *names};
            result = take(context, &missing, false);
        } else {
            s.file = path;
            result = sample_read_file(&s) || take(context, &s, true) ? -1 : 0;
        }
        free(path);
    }
    sample_free(&s);
    return result;
}

/* Reads an entry of the archive into the sample of the file that has the entry's name. */
static int read_entry(struct tar *t, const struct tar_entry *e, const char *const *names,
                      struct sample *samples, bool *have)
{
    const int i = find_name(e->path, names);
    if (i < 0 || e->kind != TAR_FILE)
        return 0;
    struct sample *s = &samples[i];
    have[i] = true;
    if (e->size > SAMPLE_MAX_BYTES)
        return sample_fail(s, "%lld bytes is more than is read", (long long)e->size);
    return sample_reserve(s, (size_t)e->size) || tar_read(t, s->buffer, e->size) ? -1 : 0;
}

/* The files of an archive are not in the order of their names, which is the order in which the
 * images are numbered. */
static int read_archive(const char *path, const char *const *names,
                        int (*take)(void *context, const struct sample *file, bool found),
                        void *context)
{
    struct sample samples[CIFAR_MAX_FILES] = {0};
    bool have[CIFAR_MAX_FILES] = {0};
    struct tar *t = tar_open(path);
    struct tar_entry e;
    enum tar_result found;
    int result = t ? 0 : -1, n = 0;
    for (; names[n]; n++) {
        samples[n].file = path;
        samples[n].member = names[n];
    }
    while (result == 0 && (found = tar_next(t, &e)) != TAR_END)
        result = found == TAR_FAILED ? -1 : read_entry(t, &e, names, samples, have);
    tar_close(t);
    for (int i = 0; i < n; i++) {
        if (result == 0)
            result = take(context, &samples[i], have[i]);
        sample_free(&samples[i]);
    }
    return result;
}

int cifar_files_read(const char *path, const char *const *names,
                     int (*take)(void *context, const struct sample *file, bool found),
                     void *context)
{
    return path_is_folder(path) ? read_folder(path, names, take, context)
                                : read_archive(path, names, take, context);
}
