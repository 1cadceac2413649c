/* drawn: the values that operations of lib/views have drawn, by the names that the trace gives them,
 * for tests that read them, or set them to compute a view with known ones. */
#ifndef DRAWN_H
#define DRAWN_H

#include <string.h>

#include "views/view.h"

static inline const struct operation *operation_named(const struct operation_set *set,
                                                      const char *name)
{
    const struct operation *operation = operation_find(set, name, strlen(name));
    if (!operation)
        fail_msg("no operation %s", name);
    return operation;
}

/* The operation of that name, as it is applied to a view; NULL if it is not. */
static inline struct view_op *drawn_find(struct view *view, const char *name)
{
    for (int i = 0; i < view->n_ops; i++)
        if (strcmp(view->ops[i].operation->name, name) == 0)
            return &view->ops[i];
    return NULL;
}

static inline void *drawn_at(struct view_op *op, const char *name, enum field_type type)
{
    for (const struct operation_field *f = op->operation->fields; f && f->name; f++)
        if (strcmp(f->name, name) == 0) {
            assert_int_equal(f->type, type);
            return op->drawn + f->offset;
        }
    fail_msg("%s draws no %s", op->operation->name, name);
    return NULL;
}

static inline int *drawn_int(struct view_op *op, const char *name)
{
    return drawn_at(op, name, FIELD_INT);
}

static inline float *drawn_float(struct view_op *op, const char *name)
{
    return drawn_at(op, name, FIELD_FLOAT);
}

static inline uint32_t *drawn_words(struct view_op *op, const char *name)
{
    return drawn_at(op, name, FIELD_WORDS);
}

static inline struct operation_list *drawn_list(struct view_op *op, const char *name)
{
    return drawn_at(op, name, FIELD_LIST);
}

/* The number of a list's item of that name: "hue" of the order of jitter. */
static inline int drawn_item(const struct view_op *op, const char *list, const char *name)
{
    for (const struct operation_field *f = op->operation->fields; f && f->name; f++)
        for (int i = 0; strcmp(f->name, list) == 0 && i < OPERATION_MAX_LIST; i++)
            if (strcmp(f->names[i], name) == 0)
                return i;
    fail_msg("no %s in %s", name, list);
    return -1;
}

/* An operation with nothing drawn yet, to be appended to a view. */
static inline struct view_op *drawn_append(struct view *view, const struct operation_set *set,
                                           const char *name)
{
    struct view_op *op = &view->ops[view->n_ops++];
    memset(op, 0, sizeof *op);
    op->operation = operation_named(set, name);
    return op;
}

#endif
