/* The account of a run's CPU time, from tables of processes that are made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "run/proc_table.h"
#include "run/run_cost.h"

#include <cmocka.h>

static char folder[] = "/tmp/simclr-cost.XXXXXX", path[64];

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Checks that the file has this row, in which * stands for `begun` and `seconds`. */
static int rows_like(int attempt, int from, const char *process, const char *program,
                     const char *user, const char *system)
{
    char line[256], *fields[8];
    int found = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        char *rest = line;
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 8; i++)
            fields[i] = rest ? strsep(&rest, "\t") : "";
        found += atoi(fields[0]) == attempt && atoi(fields[2]) == from &&
                 !strcmp(fields[4], process) && !strcmp(fields[5], program) &&
                 !strcmp(fields[6], user) && !strcmp(fields[7], system);
    }
    fclose(file);
    return found;
}

static int count_rows(void)
{
    int rows = -1, c;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((c = getc(file)) != EOF)
        rows += c == '\n';
    fclose(file);
    return rows;
}

static struct proc_stat process(pid_t pid, const char *name, double user, double system,
                                double children)
{
    struct proc_stat p = {
        .pid = pid, .born = 7, .user = user, .system = system, .children_user = children};
    snprintf(p.name, sizeof p.name, "%s", name);
    return p;
}

static void test_programs(void **state)
{
    (void)state;
    unlink(path);
    struct run_cost *c = run_cost_new(folder, 0);
    assert_non_null(c);
    run_cost_add(c, "encoder\t1", 10);
    run_cost_add(c, "optimizer", 20);
    const struct proc_stat first[] = {process(10, "encode", 1, 0.5, 0),
                                      process(11, "sh", 0.1, 0, 0), process(12, "ntxent", 1, 0, 0),
                                      process(20, "lars", 2, 0, 0),
                                      process(99, "other", 50, 50, 0)};
    run_cost_sample(c, first, 5, (const pid_t[]){10, 10, 10, 20, 0});
    /* The shell has become project, which has waited for ntxent; then both are gone, and the
     * encoder, which has ended, knows that they took 6 s. */
    const struct proc_stat second[] = {process(10, "encode", 8, 1, 0),
                                       process(11, "project", 1, 0, 1.5),
                                       process(20, "lars", 3, 0, 0)};
    run_cost_sample(c, second, 3, (const pid_t[]){10, 10, 20});
    const struct proc_stat third[] = {process(10, "encode", 9, 1, 6),
                                      process(20, "lars", 4, 0.25, 0)};
    run_cost_sample(c, third, 2, (const pid_t[]){10, 20});
    run_cost_end(c);
    assert_int_equal(rows_like(1, 0, "encoder 1", "encode", "9.00", "1.00"), 1);
    assert_int_equal(rows_like(1, 0, "encoder 1", "project", "3.00", "0.00"), 1);
    assert_int_equal(rows_like(1, 0, "encoder 1", "ntxent", "3.00", "0.00"), 1);
    assert_int_equal(rows_like(1, 0, "optimizer", "lars", "4.00", "0.25"), 1);
    assert_int_equal(count_rows(), 4);
}

static void test_reused_number(void **state)
{
    (void)state;
    unlink(path);
    struct run_cost *c = run_cost_new(folder, 0);
    run_cost_add(c, "encoder", 10);
    struct proc_stat table[] = {process(10, "encode", 1, 0, 0), process(11, "project", 2, 0, 0)};
    run_cost_sample(c, table, 2, (const pid_t[]){10, 10});
    table[1].born = 8; /* another process has the number now */
    table[1].user = 1;
    run_cost_sample(c, table, 2, (const pid_t[]){10, 10});
    run_cost_end(c);
    assert_int_equal(rows_like(1, 0, "encoder", "project", "3.00", "0.00"), 1);
}

static void test_children_without_sample(void **state)
{
    (void)state;
    unlink(path);
    struct run_cost *c = run_cost_new(folder, 0);
    run_cost_add(c, "encoder", 10);
    const struct proc_stat table[] = {process(10, "encode", 1, 0, 0.5)};
    run_cost_sample(c, table, 1, (const pid_t[]){10});
    run_cost_end(c);
    assert_int_equal(rows_like(1, 0, "encoder", "its children", "0.50", "0.00"), 1);
}

static void test_earlier_attempts(void **state)
{
    (void)state;
    write_text("attempt\tbegun\tfrom_step\tseconds\tprocess\tprogram\tuser\tsystem\n"
               "1\t1700000000\t0\t5.5\tencoder\tencode\t1.00\t0.10\n"
               "3\t1700000000\t40\t5.5\tencoder\tencode\t1.00\t0.10\n"
               "99\t1700000000\tdamaged\n"
               "0\t1700000000\t0\t5.5\tencoder\tencode\t1.00\t0.10\n"
               "7\t1700000000\t0\t5.5\tencoder\tencode\t1.00\t0.10\textra\n"
               "8\t1700000000\t0\t5.5\tencoder\tencode\t1.00\t0.10");
    struct run_cost *c = run_cost_new(folder, 60);
    run_cost_add(c, "encoder", 10);
    const struct proc_stat table[] = {process(10, "encode", 2, 0, 0)};
    run_cost_sample(c, table, 1, (const pid_t[]){10});
    run_cost_end(c);
    assert_int_equal(rows_like(1, 0, "encoder", "encode", "1.00", "0.10"), 1);
    assert_int_equal(rows_like(3, 40, "encoder", "encode", "1.00", "0.10"), 1);
    assert_int_equal(rows_like(4, 60, "encoder", "encode", "2.00", "0.00"), 1);
    assert_int_equal(count_rows(), 3);
}

static void test_unwritable_file(void **state)
{
    (void)state;
    (fail)("the failure before");
    struct run_cost *c = run_cost_new("/proc/none", 0);
    assert_non_null(c);
    run_cost_end(c);
    run_cost_end(NULL);
    assert_string_equal(fail_message(), "the failure before");
}

/* /proc as it is: this process has a parent and has used the processor. */
static void test_proc_table(void **state)
{
    (void)state;
    int n;
    volatile double x = 0;
    for (long i = 0; i < 30 * 1000 * 1000; i++)
        x = x + 1;
    struct proc_stat *all = proc_table_read(&n);
    const struct proc_stat *me = proc_table_find(all, n, getpid());
    assert_non_null(me);
    assert_int_equal(me->parent, getppid());
    assert_int_equal(me->group, getpgrp());
    assert_string_equal(me->name, "test_run_cost");
    assert_true(me->user + me->system > 0 && me->state == 'R');
    assert_null(proc_table_find(all, n, -5));
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_reused_number),
        cmocka_unit_test(test_children_without_sample),
        cmocka_unit_test(test_earlier_attempts),
        cmocka_unit_test(test_unwritable_file),
        cmocka_unit_test(test_proc_table),
    };
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/cost.tsv", folder);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
