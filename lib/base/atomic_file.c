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

/* Opens a device or FIFO directly: it has no contents to protect, and renaming a file over it would
 * destroy it. */
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

/* Returns true if name is the name of a temporary file for `base`. */
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

/* Removes a temporary file unless its writer still holds the lock, which is released when the
 * writer's process ends. */
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

/* Makes a temporary file and locks it. If another process took the lock first while cleaning up,
 * and removed the file, makes another one. Returns the descriptor, or -1 with errno set. */
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
        flock(fd, LOCK_EX); /* without support for locks, nobody cleans up either */
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
    /* mkstemp makes files private; give this one the permissions of any other file of the user. */
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
    /* The file is closed only after the rename, because closing it releases the lock. */
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
    /* The new name must survive a power cut too. Some file systems refuse to sync folders; the
     * rename is then kept without it. */
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
