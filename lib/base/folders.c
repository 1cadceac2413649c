#include "base/folders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"

int folders_make(const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return fail_memory(NULL);
    int bad = 0;
    for (char *at = copy + 1; !bad && *copy; at++) {
        const char c = *at;
        if (c && c != '/')
            continue;
        *at = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            bad = fail("%s: %s", copy, strerror(errno));
        *at = c;
        if (!c)
            break;
    }
    struct stat st;
    if (!bad && (stat(path, &st) || !S_ISDIR(st.st_mode)))
        bad = fail("%s: %s", path, *path ? "not a folder" : "an empty name");
    free(copy);
    return bad;
}
