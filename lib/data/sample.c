#include "data/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/large_pages.h"

int sample_reserve(struct sample *s, size_t size)
{
    if (size > s->capacity) {
        free(s->buffer);
        s->capacity = 0;
        s->buffer = malloc(size);
        if (!s->buffer)
            return sample_fail(s, "out of memory");
        large_pages_advise(s->buffer, size);
        s->capacity = size;
    }
    s->bytes = s->buffer;
    s->size = size;
    return 0;
}

void sample_free(struct sample *s)
{
    free(s->buffer);
    free(s->text);
    free(s->link);
    *s = (struct sample){0};
}

void sample_borrow(struct sample *s, const struct sample *other)
{
    s->bytes = other->bytes;
    s->size = other->size;
    s->width = other->width;
    s->height = other->height;
    s->kind = other->kind;
    s->label = other->label;
    s->file = other->file;
    s->member = other->member;
}

int sample_fail(const struct sample *s, const char *format, ...)
{
    char defect[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(defect, sizeof defect, format, arguments);
    va_end(arguments);
    return fail("%s%s%s: %s", s->file, s->member ? ": " : "", s->member ? s->member : "", defect);
}

static int read_bytes(struct sample *s, int fd, int64_t offset, int64_t size)
{
    if (size > SAMPLE_MAX_BYTES)
        return sample_fail(s, "%lld bytes is more than is read", (long long)size);
    if (sample_reserve(s, (size_t)size))
        return -1;
    for (int64_t done = 0; done < size;) {
        const ssize_t n = pread(fd, s->buffer + done, (size_t)(size - done), offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sample_fail(s, "%s", strerror(errno));
        if (n == 0)
            return sample_fail(s, "truncated: %lld of %lld bytes", (long long)done,
                               (long long)size);
        done += n;
    }
    s->width = s->height = 0;
    return 0;
}

/* Reads `size` bytes from the offset on, or all of the file if size is -1. */
static int read_from(struct sample *s, int64_t offset, int64_t size)
{
    const int fd = open(s->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int result;
    if (fd < 0 || fstat(fd, &st) != 0)
        result = sample_fail(s, "%s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        result = sample_fail(s, "not a regular file");
    else
        result = read_bytes(s, fd, offset, size < 0 ? st.st_size : size);
    if (fd >= 0)
        close(fd);
    return result;
}

int sample_read_file(struct sample *s)
{
    return read_from(s, 0, -1);
}

int sample_read_part(struct sample *s, int64_t offset, int64_t size)
{
    return read_from(s, offset, size);
}
