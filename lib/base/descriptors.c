#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    KEPT = 32,        /* size of the reserve, which peers cannot take */
    ENOUGH = 1 << 20, /* upper bound: a child that closes its descriptors would be slow with more */
    LEAST = 128,      /* a limit below this is not changed */
    MOST_TRIES = 5000 /* a millisecond each */
};

static struct rlimit started, set;
static bool limited; /* true if started and set are valid */

static void raise_limit(void)
{
    if (getrlimit(RLIMIT_NOFILE, &started))
        return;
    set = started;
    const rlim_t most =
        started.rlim_max == RLIM_INFINITY || started.rlim_max > ENOUGH ? ENOUGH : started.rlim_max;
    if (most < LEAST)
        return;
    set.rlim_cur = most - KEPT;
    limited = !setrlimit(RLIMIT_NOFILE, &set);
}

void descriptors_setup(void)
{
    for (int fd = 0; fd < 3; fd++) /* opened in the opposite mode, so that using them fails */
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    raise_limit();
}

void descriptors_reset(void)
{
    if (limited)
        setrlimit(RLIMIT_NOFILE, &started);
}

/* Closes the connections that took descriptors of the reserve while it was open. The thread that
 * accepted them then closes the descriptors. This program keeps no sockets of its own there. */
static void evict_peers(void)
{
    struct stat status;
    for (rlim_t fd = set.rlim_cur; fd < set.rlim_cur + KEPT; fd++)
        if (!fstat((int)fd, &status) && S_ISSOCK(status.st_mode))
            shutdown((int)fd, SHUT_RDWR);
}

/* Opens a file, with a descriptor of the reserve if there are no others. Peers that wait for a
 * descriptor may be faster each time that the limit is raised, so this goes on until none waits. */
static int open_file(int (*attempt)(void *file), void *file)
{
    struct rlimit all = set;
    all.rlim_cur += KEPT;
    int fd = attempt(file);
    for (int tries = 0; fd < 0 && errno == EMFILE && limited && tries < MOST_TRIES; tries++) {
        if (tries > 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        if (setrlimit(RLIMIT_NOFILE, &all))
            return -1;
        fd = attempt(file);
        const int error = errno;
        setrlimit(RLIMIT_NOFILE, &set);
        evict_peers();
        errno = error;
    }
    return fd;
}

struct existing {
    const char *path;
    int flags;
};

static int open_existing(void *file)
{
    const struct existing *f = file;
    return open(f->path, f->flags);
}

int descriptors_open(const char *path, int flags)
{
    return open_file(open_existing, &(struct existing){path, flags});
}

struct temporary {
    char *pattern;
    int flags;
};

static int open_temporary(void *file)
{
    const struct temporary *f = file;
    /* An attempt that failed may have changed these six. */
    memset(f->pattern + strlen(f->pattern) - 6, 'X', 6);
    return mkostemp(f->pattern, f->flags);
}

int descriptors_temporary(char *pattern, int flags)
{
    return open_file(open_temporary, &(struct temporary){pattern, flags});
}
