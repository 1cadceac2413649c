#include "atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

static void release(struct atomic_file *a)
{
    free(a->temporary);
    free(a->path);
    *a = (struct atomic_file){0};
}

/* A device or FIFO has no contents to keep whole, and renaming a file over it would destroy it. */
static int open_special(struct atomic_file *a, const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
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

int atomic_open(struct atomic_file *a, const char *path)
{
    struct stat status;
    *a = (struct atomic_file){0};
    if (!stat(path, &status) && !S_ISREG(status.st_mode))
        return open_special(a, path);
    a->path = strdup(path);
    if (!a->path || asprintf(&a->temporary, "%s.XXXXXX", path) < 0) {
        a->temporary = NULL;
        release(a);
        return fail("%s: out of memory", path);
    }
    int fd = mkostemp(a->temporary, O_CLOEXEC);
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
        atomic_abandon(a);
        return -1;
    }
    return 0;
}

int atomic_commit(struct atomic_file *a)
{
    if (ferror(a->file) || fflush(a->file) || (a->temporary && fsync(fileno(a->file)))) {
        fail("%s: %s", a->path, strerror(errno));
        atomic_abandon(a);
        return -1;
    }
    int closed = fclose(a->file);
    a->file = NULL;
    if (closed || (a->temporary && rename(a->temporary, a->path))) {
        fail("%s: %s", a->path, strerror(errno));
        atomic_abandon(a);
        return -1;
    }
    /* the new name itself must survive a power cut; some file systems refuse to sync folders, and
     * then the rename stands all the same */
    int folder = !a->temporary ? -1 : open(dirname(a->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
    release(a);
    return 0;
}

void atomic_abandon(struct atomic_file *a)
{
    if (a->file)
        fclose(a->file);
    if (a->temporary)
        unlink(a->temporary);
    release(a);
}
