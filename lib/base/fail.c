#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 1024 };
static _Thread_local char message[MESSAGE_MAX];

void fail_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
}

int fail(const char *format, ...)
{
    char text[MESSAGE_MAX]; /* the arguments may be the old message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail_clean(text);
    memcpy(message, text, sizeof message);
    return -1;
}

const char *fail_message(void)
{
    return message;
}
