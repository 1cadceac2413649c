/* run_cost: the CPU time that each program of a training run has taken, in the file DIR/cost.tsv.
 *
 * The file has a row for each program of each attempt, with the columns
 *
 *   attempt    1, 2, ... over all attempts in this folder, also those of resumed runs
 *   begun      when the attempt began, in seconds since 1970
 *   from_step  the step that it began from
 *   seconds    how long it has lasted, when the row was written
 *   process    the name of a process of the run, such as encoder
 *   program    the program that took the time: encode, or project, which encode started
 *   user       CPU time in seconds, of all threads
 *   system     CPU time in the kernel
 *
 * What the links exec: start belongs to the process that started it. Its time is sampled about once
 * a second; the last part of a program's time, between the last sample and its end, is known only
 * as a sum over all programs that a process started, and is given to these in proportion, or to a
 * program "its children" if they ended before a sample. If the
 * supervisor is killed, the rows are those of its last writing, up to ten seconds before. Processes
 * on other machines are not seen. */
#ifndef RUN_COST_H
#define RUN_COST_H

#include <stdint.h>
#include <sys/types.h>

#include "run/proc_table.h"

/* The account of an attempt. */
struct run_cost;

/* Begins the account of an attempt that starts from that step. It keeps the rows of earlier
 * attempts; lines of the file that are not such rows are dropped. Returns NULL with a message if
 * memory is out. A file that cannot be read or written later costs the account, not the run. */
struct run_cost *run_cost_new(const char *folder, int64_t from_step);

/* Adds a process of the run, by its number. The name is copied, with control characters replaced by
 * blanks. */
void run_cost_add(struct run_cost *c, const char *name, pid_t pid);

/* Takes a sample from the table of processes, in which owner[i] is the number, as passed to
 * run_cost_add(), of the process that process i is or descends from, or 0. Rewrites the file if ten
 * seconds have passed since it was written. */
void run_cost_sample(struct run_cost *c, const struct proc_stat *all, int n, const pid_t *owner);

/* Rewrites the file and frees c, which may be NULL. Leaves fail_message() as it was. */
void run_cost_end(struct run_cost *c);

#endif
