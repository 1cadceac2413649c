#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double first = -1, last;
static bool drawn;

double status_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool status_visible(void)
{
    return isatty(STDERR_FILENO);
}

void status_show(const char *format, ...)
{
    double now = status_clock();
    if (first < 0)
        first = now;
    if (now - first < 2 || now - last < 0.1 || !status_visible())
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
