/* drawn: access to the values that operations of lib/views have drawn, by the names that the trace
 * gives them. Tests read these values, or set them to compute a view with known ones. */
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

/* Returns the operation of that name in a view, or NULL if it is not applied to the view. */
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

/* Returns the number of the item of that name in a list, for example of "hue" in the order of
 * jitter. */
static inline int drawn_item(const struct view_op *op, const char *list, const char *name)
{
    for (const struct operation_field *f = op->operation->fields; f && f->name; f++)
        for (int i = 0; strcmp(f->name, list) == 0 && i < OPERATION_MAX_LIST; i++)
            if (strcmp(f->names[i], name) == 0)
                return i;
    fail_msg("no %s in %s", name, list);
    return -1;
}

/* Appends an operation to a view and returns it. Nothing is drawn for it yet. */
static inline struct view_op *drawn_append(struct view *view, const struct operation_set *set,
                                           const char *name)
{
    struct view_op *op = &view->ops[view->n_ops++];
    memset(op, 0, sizeof *op);
    op->operation = operation_named(set, name);
    return op;
}

#endif
