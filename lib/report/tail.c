#include "report/tail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"

int64_t tail_size(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : st.st_size;
}

static int is_left_out(const char *line)
{
    return strstr(line, ": edge ") || strstr(line, ": refused a peer: not ZeroMQ");
}

void tail_show(const char *path, int64_t from, int lines)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    if (file && !fseeko(file, from, SEEK_SET))
        while (lines > 0 && (n = getline(&line, &room, file)) > 0) {
            line[n - (line[n - 1] == '\n')] = 0;
            if (is_left_out(line))
                continue;
            fail_clean(line);
            fprintf(stderr, "  %s\n", line);
            lines--;
        }
    free(line);
    if (file)
        fclose(file);
}
