#include "data/path.h"

#include <dirent.h>
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

bool path_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool path_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *path_join(const char *folder, const char *name)
{
    char *path;
    const bool slash = *folder && folder[strlen(folder) - 1] != '/';
    if (asprintf(&path, "%s%s%s", folder, slash ? "/" : "", name) >= 0)
        return path;
    fail_memory(folder);
    return NULL;
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
        if (!path && *name != '.' && fits(name))
            path = path_join(folder, name);
        free(names[i]);
    }
    free(names);
    return path;
}

/* Peeks at a pipe: tee(2) copies its bytes into another pipe without consuming them. */
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
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* the writer has not finished */
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
    /* A named FIFO would lose its writer when this function closes it. */
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

bool path_normalize(char *path)
{
    bool inside = true;
    char *to = path;
    for (const char *from = path; *from;) {
        const size_t n = strcspn(from, "/");
        if (n == 2 && from[0] == '.' && from[1] == '.') {
            inside &= to > path;
            while (to > path && *--to != '/')
                continue;
        } else if (n && !(n == 1 && *from == '.')) {
            if (to > path)
                *to++ = '/';
            memmove(to, from, n);
            to += n;
        }
        from += n + (from[n] == '/');
    }
    *to = '\0';
    return inside;
}
