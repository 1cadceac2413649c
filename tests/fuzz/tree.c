#include "tree.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frame/frame_io.h"

static char root[64];

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    return at->level ? remove(path) : 0;
}

static void clear(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void remove_tree(void)
{
    clear();
    rmdir(root);
}

const char *tree_new(void)
{
    if (*root) {
        clear();
        return root;
    }
    snprintf(root, sizeof root, "%s/simclr-fuzz.XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert(mkdtemp(root));
    atexit(remove_tree);
    return root;
}

void tree_add(const char *name, struct input bytes)
{
    char path[PATH_MAX];
    if (!*name || strlen(name) > NAME_MAX)
        return;
    const int n = snprintf(path, sizeof path, "%s/%s", root, name);
    assert(n > 0 && n < (int)sizeof path);
    if (strstr(path, "/./") || strstr(path, "/../") || strstr(path, "/..") == path + n - 3)
        return;
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    assert(!write_all(fd, bytes.bytes, bytes.size, path));
    close(fd);
}
