#include "cli/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static double first = -1, last;
static bool drawn;

static bool visible(void)
{
    return isatty(STDERR_FILENO);
}

void status_show(const char *format, ...)
{
    double now = clock_now();
    if (first < 0)
        first = now;
    if (now - first < 2 || now - last < 0.1 || !visible())
        return;
    last = now;
    drawn = true;
    va_list arguments;
    va_start(arguments, format);
    fputc('\r', stderr);
    vfprintf(stderr, format, arguments);
    fputs("\033[K", stderr);
    fflush(stderr);
    va_end(arguments);
}

void status_clear(void)
{
    if (drawn)
        fputs("\r\033[K", stderr);
    drawn = false;
}
