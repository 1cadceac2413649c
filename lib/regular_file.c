#include "regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

int regular_file_open(const char *path, int64_t *size)
{
    /* Non-blocking: a FIFO is found out instead of waited for. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        fail("%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        fail("%s: not a regular file", path);
    else {
        if (size)
            *size = st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}
