/* proc_table: the processes of this machine, as /proc shows them. */
#ifndef PROC_TABLE_H
#define PROC_TABLE_H

#include <sys/types.h>

struct proc_stat {
    pid_t pid, parent, group;
    char state, name[32];    /* the name of the program, at most 15 bytes */
    unsigned long long born; /* with pid, tells a process from a later one of the same number */
    /* CPU time in seconds: its own, of all its threads, and that of its ended children which it has
     * waited for, and of theirs. A process that has ended keeps these until its parent waits. */
    double user, system, children_user, children_system;
};

/* Returns all processes in an array, which the caller frees, by ascending number; *n is how many.
 * Returns NULL, and 0 in *n, if /proc cannot be read. */
struct proc_stat *proc_table_read(int *n);

/* Returns the process of that number, or NULL. */
const struct proc_stat *proc_table_find(const struct proc_stat *all, int n, pid_t pid);

#endif
