#include "base/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"

int regular_file_open(const char *path, int64_t *size)
{
    /* The open is non-blocking, so that a FIFO is detected and not waited for. */
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

int regular_file_text(const char *path, int64_t largest, char **text)
{
    int64_t size = 0, done = 0;
    *text = NULL;
    const int fd = regular_file_open(path, &size);
    if (fd < 0)
        return -1;
    int result = size <= largest ? 0 : fail("%s: more than %lld bytes", path, (long long)largest);
    if (result == 0 && !(*text = calloc(1, (size_t)size + 1)))
        result = fail_memory(path);
    while (result == 0 && done < size) {
        const ssize_t n = read(fd, *text + done, (size_t)(size - done));
        if (n <= 0)
            result = fail("%s: %s", path, n < 0 ? strerror(errno) : "truncated");
        else
            done += n;
    }
    close(fd);
    if (result) {
        free(*text);
        *text = NULL;
    }
    return result;
}
