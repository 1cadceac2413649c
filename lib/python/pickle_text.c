#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/pickle_parts.h"

enum { MAX_NUMBER = 64 }; /* characters of a number that is not a big one */

int pickle_line(struct pickle *p, const uint8_t **start, size_t *n)
{
    const uint8_t *from = p->bytes + p->at,
                  *newline = p->at < p->size ? memchr(from, '\n', p->size - p->at) : NULL;
    if (!newline) {
        p->cut = true;
        return pickle_fail(p, "the pickle ends too soon");
    }
    *start = from;
    *n = (size_t)(newline - from);
    p->at += *n + 1;
    return 0;
}

/* Copies a line that is a number. Returns -1 with a message if it is too long to be one. */
static int number_line(struct pickle *p, char text[MAX_NUMBER + 1], const uint8_t **start,
                       size_t *n)
{
    if (pickle_line(p, start, n))
        return -1;
    const size_t copied = *n < MAX_NUMBER ? *n : MAX_NUMBER;
    memcpy(text, *start, copied);
    text[copied] = '\0';
    return 0;
}

/* "00" and "01" are what INT writes for False and True; a long ends with L. */
int pickle_text_integer(struct pickle *p, struct pickle_value *v)
{
    char text[MAX_NUMBER + 1], *end;
    const uint8_t *start;
    size_t n;
    if (number_line(p, text, &start, &n))
        return -1;
    if (strcmp(text, "00") == 0 || strcmp(text, "01") == 0) {
        v->kind = PICKLE_BOOL;
        v->integer = text[1] == '1';
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const bool sign = i == 0 && start[i] == '-' && n > 1, mark = i + 1 == n && start[i] == 'L';
        if (!isdigit(start[i]) && !sign && !mark)
            return pickle_fail(p, "not an integer");
    }
    errno = 0;
    v->integer = strtoll(text, &end, 10);
    v->kind = PICKLE_INTEGER;
    if (end == text)
        return pickle_fail(p, "not an integer");
    if (errno || n >= MAX_NUMBER) {
        v->kind = PICKLE_BIG;
        v->bytes.start = start;
        v->bytes.n = n;
    }
    return 0;
}

int pickle_text_real(struct pickle *p, struct pickle_value *v)
{
    char text[MAX_NUMBER + 1], *end;
    const uint8_t *start;
    size_t n;
    if (number_line(p, text, &start, &n))
        return -1;
    v->kind = PICKLE_REAL;
    v->real = strtod(text, &end);
    return n == 0 || n > MAX_NUMBER || end != text + n ? pickle_fail(p, "not a number") : 0;
}

/* Reads `digits` hexadecimal digits. Returns -1 without a message if there are fewer. */
static int hexadecimal(const uint8_t *from, const uint8_t *end, int digits, uint32_t *value)
{
    *value = 0;
    if (end - from < digits)
        return -1;
    for (int i = 0; i < digits; i++) {
        const int c = tolower(from[i]);
        if (!isxdigit(c))
            return -1;
        *value = *value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return 0;
}

/* Reads the escape after a backslash of a Python 2 string. Returns the number of characters that it
 * has, or 0 if it is none. */
static int string_escape(const uint8_t *from, const uint8_t *end, uint8_t *byte)
{
    static const char names[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
    uint32_t value;
    if (from == end)
        return 0;
    const char *found = memchr(names, *from, sizeof names - 1);
    if (found) {
        *byte = (uint8_t)values[found - names];
        return 1;
    }
    if (*from == 'x' && hexadecimal(from + 1, end, 2, &value) == 0) {
        *byte = (uint8_t)value;
        return 3;
    }
    return 0;
}

int pickle_text_string(struct pickle *p, struct pickle_value *v)
{
    const uint8_t *start;
    size_t n;
    if (pickle_line(p, &start, &n))
        return -1;
    if (n < 2 || (*start != '\'' && *start != '"') || start[n - 1] != *start)
        return pickle_fail(p, "a string without quotes");
    const uint8_t *from = start + 1, *end = start + n - 1;
    uint8_t *to = pickle_take(p, n);
    if (!to)
        return -1;
    v->kind = PICKLE_BYTES;
    v->bytes.start = to;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        const int length = string_escape(from + 1, end, to++);
        if (length == 0)
            return pickle_fail(p, "an unknown escape in a string");
        from += 1 + length;
    }
    v->bytes.n = (size_t)(to - v->bytes.start);
    return 0;
}

/* Writes a code point in UTF-8, in at most 4 bytes. Returns the end of what it wrote. */
static uint8_t *put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
        return to;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (uint8_t)(first[more] | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--)
        *to++ = (uint8_t)(0x80 | (c >> (6 * i) & 0x3f));
    return to;
}

/* The encoding is Python's raw-unicode-escape: bytes are Latin-1, and only \uXXXX and \UXXXXXXXX
 * are escapes. A byte becomes two at most, and an escape fewer than it has. */
int pickle_text_unicode(struct pickle *p, struct pickle_value *v)
{
    const uint8_t *from;
    size_t n;
    if (pickle_line(p, &from, &n))
        return -1;
    const uint8_t *end = from + n;
    uint8_t *to = pickle_take(p, 2 * n);
    if (!to)
        return -1;
    v->kind = PICKLE_TEXT;
    v->bytes.start = to;
    while (from < end) {
        uint32_t c = *from++;
        if (c == '\\' && from < end && (*from == 'u' || *from == 'U')) {
            const int digits = *from == 'u' ? 4 : 8;
            if (hexadecimal(from + 1, end, digits, &c) || c > 0x10ffff)
                return pickle_fail(p, "an unknown escape in a string");
            from += 1 + digits;
        }
        to = put_utf8(to, c);
    }
    v->bytes.n = (size_t)(to - v->bytes.start);
    return 0;
}
