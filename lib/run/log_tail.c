#include "run/log_tail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"

int64_t log_tail_size(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : st.st_size;
}

static int is_noise(const char *line)
{
    return strstr(line, ": edge ") || strstr(line, ": refused a peer: not ZeroMQ");
}

void log_tail_show(const char *path, int64_t from, int lines)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    if (file && !fseeko(file, from, SEEK_SET))
        while (lines > 0 && (n = getline(&line, &room, file)) > 0) {
            line[n - (line[n - 1] == '\n')] = 0;
            if (is_noise(line))
                continue;
            fail_clean(line);
            fprintf(stderr, "  %s\n", line);
            lines--;
        }
    free(line);
    if (file)
        fclose(file);
}
