#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    KEPT = 32,        /* size of the reserve, which peers cannot take */
    ENOUGH = 1 << 20, /* upper bound: a child that closes its descriptors would be slow with more */
    LEAST = 128       /* a limit below this is not changed */
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

/* Opens the reserve. A peer that connects at this very moment may take part of it. */
static bool borrow(int fd)
{
    struct rlimit all = set;
    all.rlim_cur += KEPT;
    return fd < 0 && errno == EMFILE && limited && !setrlimit(RLIMIT_NOFILE, &all);
}

static int give_back(int fd)
{
    const int error = errno;
    setrlimit(RLIMIT_NOFILE, &set);
    errno = error;
    return fd;
}

int descriptors_open(const char *path, int flags)
{
    const int fd = open(path, flags);
    return borrow(fd) ? give_back(open(path, flags)) : fd;
}

int descriptors_temporary(char *pattern, int flags)
{
    const int fd = mkostemp(pattern, flags);
    if (!borrow(fd))
        return fd;
    memset(pattern + strlen(pattern) - 6, 'X', 6); /* the first try may have changed these six */
    return give_back(mkostemp(pattern, flags));
}
