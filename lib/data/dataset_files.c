/* The formats share these: they look at a data set's path, and find the files of its parts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/stop.h"
#include "data/dataset_format.h"
#include "data/part.h"

/* ---- what lies there ---- */

bool path_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

char *path_find_file(const char *folder, bool (*fits)(const char *name))
{
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, NULL, by_bytes);
    char *path = NULL;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (!path && *name != '.' && fits(name) && asprintf(&path, "%s/%s", folder, name) < 0)
            path = NULL;
        free(names[i]);
    }
    free(names);
    return path;
}

bool path_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Peeks at a pipe through another one, which tee(2) copies its bytes into. */
static size_t peek_pipe(int fd, void *bytes, size_t n)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return 0;
    size_t got = 0;
    for (;;) {
        const ssize_t more = tee(fd, ends[1], n, 0);
        if (more > 0 && read(ends[0], bytes, (size_t)more) != more)
            break;
        struct pollfd end = {fd, POLLIN, 0};
        const bool over = more <= 0 || (poll(&end, 1, 0) > 0 && (end.revents & POLLHUP));
        got = more > 0 ? (size_t)more : 0;
        if (over || got >= n || stop_check())
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* the writer is in the middle */
    }
    close(ends[0]);
    close(ends[1]);
    return got;
}

size_t path_peek(const char *path, void *bytes, size_t n)
{
    struct stat st;
    const bool is_stdin = strcmp(path, "-") == 0;
    if (is_stdin ? fstat(STDIN_FILENO, &st) : stat(path, &st))
        return 0;
    /* A FIFO of a name would lose its writer when it is closed again. */
    if (is_stdin && S_ISFIFO(st.st_mode))
        return peek_pipe(STDIN_FILENO, bytes, n);
    if (!S_ISREG(st.st_mode))
        return 0;
    const int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    const off_t at = is_stdin ? lseek(fd, 0, SEEK_CUR) : 0;
    const ssize_t got = fd < 0 || at < 0 ? -1 : pread(fd, bytes, n, at);
    if (!is_stdin && fd >= 0)
        close(fd);
    return got < 0 ? 0 : (size_t)got;
}

/* ---- a file for each part ---- */

/* Is that the compressed twin of the other file? Names come in the order of bytes. */
static bool is_twin(const char *path, const char *other)
{
    const size_t n = strlen(path);
    return strncmp(path, other, n) == 0 && strcmp(other + n, ".gz") == 0;
}

/* Files of a part: the first one, and how many there are. */
struct part_count {
    int n;
    char second[256];
};

static int take_file(const char *folder, const char *name, enum part part, struct part_files *files,
                     struct part_count *counts)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fail_memory(folder);
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
