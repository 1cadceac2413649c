#include "views/trace.h"

#include <jansson.h>

#include "base/fail.h"
#include "base/flush.h"

/* Returns a drawn value as JSON, or NULL if memory is out. */
static json_t *encode_field(const struct operation_field *field, const unsigned char *drawn)
{
    const void *at = drawn + field->offset;
    if (field->type == FIELD_INT)
        return json_integer(*(const int *)at);
    if (field->type == FIELD_FLOAT)
        return json_real((double)*(const float *)at);
    const uint32_t *words = at;
    const struct operation_list *list = at;
    json_t *array = json_array();
    int lost = 0;
    for (int i = 0; array && i < (field->type == FIELD_LIST ? list->n : field->count); i++)
        lost |=
            json_array_append_new(array, field->type == FIELD_WORDS ? json_integer(words[i])
                                         : field->names ? json_string(field->names[list->items[i]])
                                                        : json_integer(list->items[i]));
    if (!lost)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *encode_op(const struct view_op *op)
{
    json_t *object = json_pack("{s:s}", "op", op->operation->name);
    int lost = !object;
    for (const struct operation_field *f = op->operation->fields; f && f->name && !lost; f++)
        lost = json_object_set_new(object, f->name, encode_field(f, op->drawn));
    if (!lost)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *encode_ops(const struct view *view)
{
    json_t *ops = json_array();
    int lost = !ops;
    for (int i = 0; i < view->n_ops && !lost; i++)
        lost = json_array_append_new(ops, encode_op(&view->ops[i]));
    if (!lost)
        return ops;
    json_decref(ops);
    return NULL;
}

static int write_view(FILE *file, int64_t epoch, int64_t index, int number, const struct view *view)
{
    json_t *line = json_pack("{s:I,s:I,s:i,s:o}", "epoch", (json_int_t)epoch, "index",
                             (json_int_t)index, "view", number, "ops", encode_ops(view));
    if (line && view->reduction != 1)
        json_object_set_new(line, "reduction", json_integer(view->reduction));
    const int result = line ? json_dumpf(line, file, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -1;
    json_decref(line);
    return result == 0 && putc('\n', file) != EOF ? 0 : -1;
}

int trace_views(FILE *file, const char *path, int64_t epoch, const int64_t *index, int64_t n,
                int n_views, const struct view *views)
{
    for (int64_t i = 0; i < n; i++)
        for (int v = 0; v < n_views; v++)
            if (write_view(file, epoch, index[i], v, &views[i * n_views + v]) != 0)
                return flush_file(file, path) ? -1 : fail_memory(path);
    return 0;
}
