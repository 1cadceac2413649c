#include "coprocess.h"

#include <assert.h>
#include <fcntl.h>

#include "base/fail.h"
#include "link/child.h"

static struct input output;
static int exit_status;

void coprocess_says(struct input stream, int status)
{
    output = stream;
    exit_status = status;
}

int child_start(const char *command, pid_t *pid, int *to, int *from)
{
    (void)command;
    *pid = 1;
    if (to)
        *to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (from)
        *from = input_stream(output);
    return 0;
}

int child_wait(pid_t *pid, double seconds)
{
    (void)seconds;
    assert(*pid);
    *pid = 0;
    return exit_status ? fail("exited with status %d", exit_status) : 0;
}

void child_widen_pipe(int fd)
{
    (void)fd;
}

void child_stop(pid_t *pid)
{
    *pid = 0;
}
