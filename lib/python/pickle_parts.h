/* pickle_parts: the internals of pickle.h, shared by the files that implement it: pickle.c (the
 * stack machine), pickle_memory.c (memory of values), pickle_text.c (numbers and strings as text) and pickle_value.c (looking at values). */
#ifndef PICKLE_PARTS_H
#define PICKLE_PARTS_H

#include "python/pickle.h"

struct pickle_block;

struct pickle_array {
    struct pickle_value **items;
    size_t n, capacity;
};

struct pickle {
    const uint8_t *bytes;
    size_t size, at;   /* `at` is the offset of the next byte to read */
    size_t opcode_at;  /* offset of the opcode that is executed */
    const char *where; /* these are valid while pickle_read() runs */
    const char *const *globals;
    bool cut; /* the bytes end too soon */
    struct pickle_array stack, memo, persistents;
    size_t *marks; /* heights of the stack */
    size_t n_marks, marks_capacity;
    size_t puts; /* into the memo */
    /* The values that no opcode changes exist once. */
    struct pickle_value none, yes, no, nothing, newobj_ex;
    const struct pickle_value *root;
    struct pickle_block *blocks;
    size_t free_bytes; /* at the end of the newest block */
    size_t memory;     /* bytes of blocks and arrays */
};

/* Leaves a message with the offset of the current opcode and its name. Returns -1. */
int pickle_fail(struct pickle *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Tells compilers, which look at one source file at a time, what it returns. */
#define pickle_fail(...) ((pickle_fail)(__VA_ARGS__), -1)

/* Returns memory that lives as long as the pickle, aligned for a value and not initialized, or NULL
 * with a message. */
void *pickle_take(struct pickle *p, size_t bytes);
/* Makes room for an array of `need` items, which doubles. Returns -1 with a message. */
int pickle_reserve(struct pickle *p, void *array, size_t *capacity, size_t need, size_t item);
/* Adds n items to the end of a list, set or dict. Returns -1 with a message. */
int pickle_extend(struct pickle *p, struct pickle_value *v, struct pickle_value *const *items,
                  size_t n);
void pickle_free_memory(struct pickle *p);

/* Makes v the global of that name. The texts must stay valid as long as the pickle. */
void pickle_set_global(struct pickle_value *v, const char *module, const char *name);

/* Checks that a global is among those that may occur. Returns -1 with a message. */
int pickle_check_global(struct pickle *p, const struct pickle_value *global);

/* Reads the bytes before the next newline, and moves past it. Returns -1 with a message. */
int pickle_line(struct pickle *p, const uint8_t **start, size_t *n);

/* Set the value from a line: INT and LONG, FLOAT, STRING (quoted, with escapes) and UNICODE (with
 * \u escapes). Return -1 with a message. */
int pickle_text_integer(struct pickle *p, struct pickle_value *v);
int pickle_text_real(struct pickle *p, struct pickle_value *v);
int pickle_text_string(struct pickle *p, struct pickle_value *v);
int pickle_text_unicode(struct pickle *p, struct pickle_value *v);

#endif
