#include "frame/class_names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

void class_names_free(struct class_names *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->list[i]);
    free(c->list);
    *c = (struct class_names){0};
}

const char *class_names_show(const char *name, char out[CLASS_NAMES_SHOWN])
{
    enum { MOST = 40 };
    size_t length = strlen(name);
    const bool cut = length > MOST;
    if (cut)
        for (length = MOST; length && ((unsigned char)name[length] & 0xc0) == 0x80;)
            length--; /* a continuation byte of a character */
    memcpy(out, name, length);
    strcpy(out + length, cut ? "..." : "");
    return out;
}

/* Adds a name to the list, and its index to `numbers`, a JSON object. */
static int append(struct class_names *c, json_t *numbers, const char *name)
{
    char *copy = strdup(name);
    if (!copy || json_object_set_new(numbers, name, json_integer(c->n))) {
        free(copy);
        return fail("out of memory for %d class names", c->n + 1);
    }
    c->list[c->n++] = copy;
    return 0;
}

static int number_in(json_t *numbers, const char *name)
{
    const json_t *number = json_object_get(numbers, name);
    return number ? (int)json_integer_value(number) : -1;
}

static int take_array(struct class_names *c, json_t *array, json_t *numbers)
{
    char shown[CLASS_NAMES_SHOWN];
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (!name)
            return fail("class_names: entry %zu is not a string", i);
        if (number_in(numbers, name) >= 0)
            return fail("class_names: '%s' stands there twice", class_names_show(name, shown));
        if (append(c, numbers, name))
            return -1;
    }
    return 0;
}

int class_names_parse(struct class_names *c, const char *json)
{
    json_error_t error;
    json_t *array = json_loads(json, JSON_DECODE_ANY, &error), *numbers = json_object();
    int bad = 0;
    *c = (struct class_names){0};
    if (!array)
        bad = fail("class_names: not JSON: %s at byte %d", error.text, error.position);
    else if (!json_is_array(array) || json_array_size(array) > INT32_MAX)
        bad = fail("class_names: not a JSON array of strings");
    else if (!numbers || !(c->list = calloc(json_array_size(array) + 1, sizeof *c->list)))
        bad = fail("out of memory for the class names");
    else if ((bad = take_array(c, array, numbers)))
        class_names_free(c);
    json_decref(array);
    json_decref(numbers);
    return bad;
}

int class_names_unite(struct class_names *all, const struct class_names *a,
                      const struct class_names *b, int *number)
{
    json_t *numbers = json_object();
    int common = 0;
    *all = (struct class_names){0};
    all->list = calloc((size_t)a->n + (size_t)b->n + 1, sizeof *all->list);
    bool good = numbers && all->list;
    for (int i = 0; i < a->n && good; i++)
        good = !append(all, numbers, a->list[i]);
    for (int i = 0; i < b->n && good; i++) {
        number[i] = number_in(numbers, b->list[i]);
        common += number[i] >= 0;
        if (number[i] < 0) {
            number[i] = all->n;
            good = !append(all, numbers, b->list[i]);
        }
    }
    json_decref(numbers);
    if (good)
        return common;
    class_names_free(all);
    return fail("out of memory for the class names");
}
