#include "cli/installation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"

/* Returns FOLDER/NAME, which the caller frees, or NULL with a message. The names here are short;
 * the kernel limits the length of a path. */
static char *below(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", strcmp(folder, "/") ? folder : "", name) < 0) {
        fail_memory(NULL);
        return NULL;
    }
    return path;
}

static bool exists(const char *folder, const char *name, mode_t type)
{
    struct stat st;
    char *path = below(folder, name);
    const bool found = path && !stat(path, &st) && (st.st_mode & S_IFMT) == type;
    free(path);
    return found;
}

/* Cuts the last part of an absolute path off. Returns false if there is none: at the root. */
static bool cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash[1])
        return false;
    slash[slash == path] = 0;
    return true;
}

/* Sets the folders of an installed tree. */
static void set_installed(struct installation *l, const char *prefix)
{
    l->standard = true;
    l->programs = below(prefix, "libexec/simclr");
    l->share = below(prefix, "share/simclr");
    l->manual = below(prefix, "share/man");
}

/* Sets the folders of a checkout, whose root is one of the folders above that of the program. Leaves
 * *l empty if there is none. */
static void set_checkout(struct installation *l, const char *folder)
{
    char *root = strdup(folder);
    int levels = 0;
    while (root && levels < 4 && cut(root) && ++levels)
        if (exists(root, "pipelines/common.sh", S_IFREG)) {
            l->standard = levels == 1;
            l->programs = strdup(folder);
            l->share = root;
            /* build/KIND/share is beside build/KIND/bin, and build/share belongs to bin. */
            char *parent = strdup(folder);
            l->manual = parent && cut(parent)
                            ? below(parent, levels == 1 ? "build/share/man" : "share/man")
                            : NULL;
            free(parent);
            return;
        }
    free(root);
}

int installation_find(struct installation *l)
{
    static const char self[] = "/proc/self/exe";
    *l = (struct installation){0};
    char *program = realpath(self, NULL), *folder = program ? strdup(program) : NULL;
    if (!folder)
        return fail("%s: %s", self, strerror(errno));
    char *prefix = cut(folder) ? strdup(folder) : NULL;
    if (prefix && cut(prefix) && exists(prefix, "libexec/simclr", S_IFDIR))
        set_installed(l, prefix);
    else
        set_checkout(l, folder);
    if (l->share)
        l->pipelines = below(l->share, "pipelines");
    int bad = 0;
    if (!l->share)
        bad =
            fail("%s: it is neither installed, since there is no ../libexec/simclr, nor in a "
                 "checkout, since there is no ../pipelines; link to it instead of moving it alone",
                 program);
    else if (!l->programs || !l->pipelines || !l->manual)
        bad = fail_memory(NULL);
    else if (strchr(l->programs, ':'))
        bad = fail("%s: a folder with a colon in its name cannot be on PATH; move the tree",
                   l->programs);
    if (bad)
        installation_free(l);
    free(prefix);
    free(folder);
    free(program);
    return bad;
}

void installation_free(struct installation *l)
{
    free(l->programs);
    free(l->share);
    free(l->pipelines);
    free(l->manual);
    *l = (struct installation){0};
}
