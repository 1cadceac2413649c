#include "base/warn.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/fail.h"

static const char *name = "simclr";

void warn_set_name(const char *program)
{
    name = program;
}

const char *warn_name(void)
{
    return name;
}

void warn_line(const char *format, ...)
{
    char text[FAIL_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail_clean(text);
    fprintf(stderr, "%s: %s\n", name, text);
}

int warn_failure(void)
{
    warn_line("%s", fail_message());
    return 1;
}
