/* pickle: reads Python's pickles, and calls nothing that they name.
 *
 * A pickle is a program for a small stack machine, which may call any function of any Python
 * module. Here a global is only a name, and a call only a value that holds this name and the
 * arguments. The caller looks at both and knows what to make of the few calls that it expects.
 *
 * Protocols 0 to 5, with the opcodes that pickles of plain data, numpy arrays and PyTorch's
 * checkpoints use (https://github.com/python/cpython/blob/main/Lib/pickletools.py lists all). Any
 * other opcode, such as INST, OBJ, EXT1 or PERSID, is refused with its name.
 *
 * Memory: the values, the stack and the memo take at most about 100 bytes for each byte of the
 * pickle, and at most PICKLE_MAX_MEMORY. Strings are not copied, unless their opcode escapes them.
 * Nothing recurses. Values may share parts and may even contain themselves, so callers must bound
 * how deep and how long they follow them. */
#ifndef PICKLE_H
#define PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PICKLE_MAX_MEMORY = 256 << 20 };

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,       /* integer is 0 or 1 */
    PICKLE_INTEGER,    /* integer */
    PICKLE_BIG,        /* bytes: an integer beyond 64 bits, little-endian two's complement */
    PICKLE_REAL,       /* real */
    PICKLE_BYTES,      /* bytes: a bytes, a bytearray, or a str of Python 2 */
    PICKLE_TEXT,       /* bytes: a str in UTF-8, which is not checked */
    PICKLE_TUPLE,      /* list */
    PICKLE_LIST,       /* list */
    PICKLE_SET,        /* list: a set or a frozenset */
    PICKLE_DICT,       /* list: key, value, key, value ... in the order in which they were set */
    PICKLE_GLOBAL,     /* global: a class or function, by its name */
    PICKLE_CALL,       /* call: what a global would return, or an object of a class */
    PICKLE_PERSISTENT, /* persistent: a reference to something outside of the pickle */
};

/* A value, which belongs to its pickle. */
struct pickle_value {
    enum pickle_kind kind;
    uint32_t at; /* offset of the byte after the opcode that made it; for messages */
    union {
        int64_t integer;
        double real;
        struct {
            const uint8_t *start; /* in the pickle's bytes, or in its own memory; no final 0 */
            size_t n;
        } bytes;
        struct {
            struct pickle_value **items;
            uint32_t n, capacity; /* n counts keys and values of a dict */
        } list;
        struct {
            const uint8_t *module, *name;
            uint16_t module_n, name_n; /* bytes */
        } global;
        struct {
            const struct pickle_value *function;  /* a PICKLE_GLOBAL */
            const struct pickle_value *arguments; /* a PICKLE_TUPLE */
            const struct pickle_value *state;     /* of BUILD; NULL: none */
            struct pickle_value *contents; /* items set later: a PICKLE_LIST or _DICT, or NULL */
        } call;
        const struct pickle_value *persistent; /* the reference */
    };
};

struct pickle;

/* Reads the pickle that begins at offset `begin` of the `size` bytes, which must stay valid and
 * unchanged until pickle_free(). Returns NULL with a message that begins with `where` and names the
 * defect and its offset, among others if it has a global that is not among `globals`, a list of
 * "module.name" that ends with NULL; any may occur if it is NULL. If it fails because the bytes end
 * too soon, sets *cut (which may be NULL) to true. */
struct pickle *pickle_read(const uint8_t *bytes, size_t size, size_t begin, const char *where,
                           const char *const *globals, bool *cut);
void pickle_free(struct pickle *p); /* NULL is fine */

const struct pickle_value *pickle_root(const struct pickle *p);
size_t pickle_end(const struct pickle *p); /* offset of the byte after the pickle */

/* Sets *list to all PICKLE_PERSISTENT values in the order of the pickle. Returns their number. */
size_t pickle_persistents(const struct pickle *p, struct pickle_value *const **list);

/* Return true if the value is this global, a call of this global, or this text (PICKLE_TEXT or
 * PICKLE_BYTES). v may be NULL. */
bool pickle_is_global(const struct pickle_value *v, const char *module, const char *name);
bool pickle_is_call(const struct pickle_value *v, const char *module, const char *name);
bool pickle_is_text(const struct pickle_value *v, const char *text);

/* Returns argument i of a call, or NULL if there are fewer. */
const struct pickle_value *pickle_argument(const struct pickle_value *call, uint32_t i);
/* Returns the value of a text key in a dict, or NULL if there is none. The last one counts, as in
 * Python. */
const struct pickle_value *pickle_find(const struct pickle_value *dict, const char *key);

/* Writes "module.name" of a global, cut to the size, for messages. */
enum { PICKLE_GLOBAL_TEXT = 160 };
void pickle_global_text(const struct pickle_value *global, char text[PICKLE_GLOBAL_TEXT]);

#endif
