#include "run/proc_table.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"

/* Reads /proc/PID/stat, which proc(5) describes: "PID (NAME) STATE PARENT GROUP ...", where NAME
 * may contain any characters. Returns false if `number` is not a process number, or if the process
 * no longer exists. */
static bool read_stat(const char *number, struct proc_stat *p)
{
    char path[sizeof "/proc//stat" + NAME_MAX], text[1024];
    unsigned long user, system;
    long children_user, children_system;
    if (strspn(number, "0123456789") != strlen(number) || strlen(number) > 10)
        return false;
    snprintf(path, sizeof path, "/proc/%s/stat", number);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    char *open = strchr(text, '('), *shut = strrchr(text, ')');
    if (!open || !shut ||
        sscanf(shut + 1,
               " %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %llu",
               &p->state, &p->parent, &p->group, &user, &system, &children_user, &children_system,
               &p->born) != 8)
        return false;
    *shut = 0;
    const double tick = 1 / (double)sysconf(_SC_CLK_TCK);
    p->user = (double)user * tick;
    p->system = (double)system * tick;
    p->children_user = (double)children_user * tick;
    p->children_system = (double)children_system * tick;
    snprintf(p->name, sizeof p->name, "%s", open + 1);
    p->pid = (pid_t)strtol(number, NULL, 10);
    return true;
}

static int by_number(const void *a, const void *b)
{
    const pid_t m = ((const struct proc_stat *)a)->pid, n = ((const struct proc_stat *)b)->pid;
    return (m > n) - (m < n);
}

struct proc_stat *proc_table_read(int *n)
{
    struct proc_stat *all = NULL, *grown;
    int64_t capacity = 0;
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    *n = 0;
    while (dir && (entry = readdir(dir))) {
        if (!(grown = grow(all, *n, &capacity, sizeof *all)))
            break;
        all = grown;
        *n += read_stat(entry->d_name, &all[*n]);
    }
    if (dir)
        closedir(dir);
    if (*n)
        qsort(all, (size_t)*n, sizeof *all, by_number);
    return all;
}

const struct proc_stat *proc_table_find(const struct proc_stat *all, int n, pid_t pid)
{
    const struct proc_stat wanted = {.pid = pid};
    return n ? bsearch(&wanted, all, (size_t)n, sizeof *all, by_number) : NULL;
}
