#include "base/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/fail.h"
#include "base/flush.h"

static void release(struct atomic_file *a)
{
    free(a->temporary);
    free(a->path);
    *a = (struct atomic_file){0};
}

/* A device or FIFO has no contents to keep whole, and renaming a file over it would destroy it. */
static int open_special(struct atomic_file *a, const char *path)
{
    int fd = descriptors_open(path, O_WRONLY | O_CLOEXEC);
    a->file = fd < 0 ? NULL : fdopen(fd, "w");
    a->path = strdup(path);
    if (a->file && a->path)
        return 0;
    fail("%s: %s", path, strerror(errno));
    if (a->file)
        fclose(a->file);
    else if (fd >= 0)
        close(fd);
    a->file = NULL;
    release(a);
    return -1;
}

/* ---- temporary files ---- */

/* Returns true if a name is that of a temporary file for `base`. */
static bool is_temporary(const char *name, const char *base)
{
    static const char mark[] = ".tmp-";
    const size_t length = strlen(base);
    const char *rest = name + length;
    if (strncmp(name, base, length) || strncmp(rest, mark, strlen(mark)))
        return false;
    rest += strlen(mark);
    return strlen(rest) == 6 && strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789") == 6;
}

/* Removes a temporary file unless its writer holds the lock on it, which ends with its process. */
static void remove_unlocked(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
        !flock(fd, LOCK_EX | LOCK_NB))
        unlinkat(folder, name, 0);
    close(fd);
}

void atomic_file_clean(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *folder = slash == path ? strdup("/")
                   : slash       ? strndup(path, (size_t)(slash - path))
                                 : strdup(".");
    DIR *list = folder ? opendir(folder) : NULL;
    const struct dirent *entry;
    while (list && (entry = readdir(list)))
        if (*base && is_temporary(entry->d_name, base))
            remove_unlocked(dirfd(list), entry->d_name);
    if (list)
        closedir(list);
    free(folder);
}

/* Makes a temporary file and locks it. A process that cleans up may have had the lock first and
 * removed the file; then another is made. Returns its descriptor, or -1 with errno. */
static int make_temporary(const char *path, char **name)
{
    struct stat status;
    for (int tries = 0; tries < 100; tries++) {
        if (asprintf(name, "%s.tmp-XXXXXX", path) < 0) {
            *name = NULL;
            errno = ENOMEM;
            return -1;
        }
        const int fd = descriptors_temporary(*name, O_CLOEXEC);
        if (fd < 0)
            return -1;
        flock(fd, LOCK_EX); /* where there are no locks, nobody cleans up either */
        if (!fstat(fd, &status) && status.st_nlink)
            return fd;
        close(fd);
        free(*name);
        *name = NULL;
    }
    errno = EAGAIN;
    return -1;
}

int atomic_file_open(struct atomic_file *a, const char *path)
{
    struct stat status;
    *a = (struct atomic_file){0};
    if (!stat(path, &status) && !S_ISREG(status.st_mode))
        return open_special(a, path);
    if (!(a->path = strdup(path)))
        return fail_memory(path);
    atomic_file_clean(path);
    const int fd = make_temporary(path, &a->temporary);
    if (fd < 0) {
        int error = errno;
        release(a);
        return fail("%s: %s", path, strerror(error));
    }
    /* mkstemp's files are private; this one is as public as any that the user makes. */
    mode_t mask = umask(0);
    umask(mask);
    a->file = fchmod(fd, 0666 & ~mask) == 0 ? fdopen(fd, "w") : NULL;
    if (!a->file) {
        fail("%s: %s", path, strerror(errno));
        close(fd);
        atomic_file_abandon(a);
        return -1;
    }
    return 0;
}

int atomic_file_commit(struct atomic_file *a)
{
    int bad = flush_file(a->file, a->path);
    if (!bad && a->temporary && fsync(fileno(a->file)))
        bad = fail("%s: %s", a->path, strerror(errno));
    /* Closed after it has its name, for the lock goes with the descriptor. */
    if (!bad && a->temporary && rename(a->temporary, a->path))
        bad = fail("%s: %s", a->path, strerror(errno));
    if (bad) {
        atomic_file_abandon(a);
        return -1;
    }
    const int closed = fclose(a->file);
    a->file = NULL;
    if (closed && !a->temporary)
        bad = fail("%s: %s", a->path, strerror(errno));
    /* the new name itself must survive a power cut; some file systems refuse to sync folders, and
     * then the rename stands all the same */
    int folder =
        !a->temporary ? -1 : descriptors_open(dirname(a->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
    release(a);
    return bad;
}

void atomic_file_abandon(struct atomic_file *a)
{
    if (a->file)
        fclose(a->file);
    if (a->temporary)
        unlink(a->temporary);
    release(a);
}
