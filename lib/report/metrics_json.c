#include "report/metrics_json.h"

#include <math.h>
#include <string.h>

#include <jansson.h>

#include "base/fail.h"
#include "report/metrics.h"

/* ---- writing ---- */

/* Returns true if the text is a number in the form that JSON demands: no sign but -, no leading
 * zeros, and digits on both sides of the point. */
static bool is_json_number(const char *text)
{
    static const char digits[] = "0123456789";
    text += *text == '-';
    const size_t whole = strspn(text, digits);
    if (whole == 0 || (whole > 1 && *text == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        const size_t part = strspn(text + 1, digits);
        if (part == 0)
            return false;
        text += 1 + part;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        const size_t exponent = strspn(text, digits);
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == 0;
}

static int write_string(FILE *file, const char *text)
{
    json_t *string = json_string(text);
    if (!string)
        return fail("a metric's name or value is not UTF-8");
    json_dumpf(string, file, JSON_ENCODE_ANY);
    json_decref(string);
    return 0;
}

static int write_value(FILE *file, const char *text)
{
    double number;
    if (!metrics_number(text, &number))
        return write_string(file, text);
    if (!isfinite(number))
        fputs("null", file);
    else if (is_json_number(text))
        fputs(text, file);
    else
        fprintf(file, "%.17g", number);
    return 0;
}

int metrics_json_write(FILE *file, const struct frame *f)
{
    const struct meta *m;
    char before = '{';
    for (int at = 0; (m = metrics_next(f, &at)); before = ',') {
        putc(before, file);
        if (write_string(file, m->key))
            return -1;
        putc(':', file);
        if (write_value(file, m->value))
            return -1;
    }
    fputs(before == '{' ? "{}\n" : "}\n", file);
    return 0;
}

/* ---- reading ---- */

bool metrics_json_step(const char *line, int64_t *step)
{
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const json_t *value = json_object_get(object, "step");
    const bool found = json_is_integer(value);
    if (found)
        *step = json_integer_value(value);
    json_decref(object);
    return found;
}

bool metrics_json_is_begun(const char *text)
{
    static const char start[] = "{\"step\":";
    const size_t most = sizeof start - 1, length = strlen(text);
    return strncmp(text, start, length < most ? length : most) == 0;
}
