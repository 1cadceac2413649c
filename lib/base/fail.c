/* Function names in parentheses keep the analyzer's macros of fail.h from expanding. */
#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[FAIL_MAX];

void fail_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
}

/* Formats the new message in a second buffer, since the arguments may point into the old one. */
static void set(const char *format, va_list args)
{
    char text[FAIL_MAX];
    vsnprintf(text, sizeof text, format, args);
    fail_clean(text);
    memcpy(message, text, sizeof message);
}

int(fail)(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(format, args);
    va_end(args);
    return -1;
}

void *(fail_null)(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(format, args);
    va_end(args);
    return NULL;
}

int(fail_prefix)(const char *format, ...)
{
    char prefix[FAIL_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    return fail("%s: %s", prefix, message);
}

int(fail_memory)(const char *what)
{
    return what ? fail("%s: out of memory", what) : fail("out of memory");
}

const char *fail_message(void)
{
    return message;
}

void fail_save(struct fail_note *note)
{
    memcpy(note->text, message, sizeof note->text);
}

int(fail_restore)(const struct fail_note *note)
{
    memcpy(message, note->text, sizeof message);
    return -1;
}
