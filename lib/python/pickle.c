/* pickle: the stack machine. Each opcode is a row of a table with its name, so that messages can
 * name those that are refused. */
#include "python/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "python/pickle_parts.h"

enum {
    LATEST_PROTOCOL = 5,
    MAX_NAME = 1024, /* bytes of a module's or a global's name */
    /* Picklers number the memo's entries one after the other; there is some room for others. */
    MEMO_SLACK = 1 << 16,
    TEXT = 16 /* a flag in an argument of counted() */
};

struct opcode {
    const char *name;
    int (*run)(struct pickle *p, size_t argument); /* NULL: it is refused */
    size_t argument;
};
static const struct opcode opcodes[256];

int(pickle_fail)(struct pickle *p, const char *format, ...)
{
    char text[FAIL_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *name =
        p->opcode_at < p->size ? opcodes[p->bytes[p->opcode_at]].name : "the end of the file";
    return fail("%s: pickle, %s at byte %zu: %s", p->where, name ? name : "an unknown opcode",
                p->opcode_at, text);
}

/* ---- bytes, the stack and the memo ---- */

static int take_bytes(struct pickle *p, size_t n, const uint8_t **bytes)
{
    if (n > p->size - p->at) {
        p->cut = true;
        return pickle_fail(p, "the pickle ends too soon");
    }
    *bytes = p->bytes + p->at;
    p->at += n;
    return 0;
}

/* Reads a little-endian number of 1 to 8 bytes. */
static int take_number(struct pickle *p, size_t n, uint64_t *number)
{
    const uint8_t *bytes;
    if (take_bytes(p, n, &bytes))
        return -1;
    *number = 0;
    for (size_t i = 0; i < n; i++)
        *number |= (uint64_t)bytes[i] << (8 * i);
    return 0;
}

static struct pickle_value *new_value(struct pickle *p, enum pickle_kind kind)
{
    struct pickle_value *v = pickle_take(p, sizeof *v);
    if (v)
        *v = (struct pickle_value){.kind = kind, .at = (uint32_t)p->at};
    return v;
}

static int push(struct pickle *p, struct pickle_value *v)
{
    if (!v || pickle_reserve(p, &p->stack.items, &p->stack.capacity, p->stack.n + 1, sizeof v))
        return -1;
    p->stack.items[p->stack.n++] = v;
    return 0;
}

/* Returns how many values are on the stack above the last mark. */
static size_t height(const struct pickle *p)
{
    return p->stack.n - (p->n_marks ? p->marks[p->n_marks - 1] : 0);
}

static int need(struct pickle *p, size_t n)
{
    return height(p) >= n ? 0 : pickle_fail(p, "too few values on the stack");
}

static struct pickle_value *pop(struct pickle *p)
{
    return p->stack.items[--p->stack.n];
}

static struct pickle_value *top(const struct pickle *p)
{
    return p->stack.items[p->stack.n - 1];
}

static int mark(struct pickle *p, size_t unused)
{
    (void)unused;
    if (pickle_reserve(p, &p->marks, &p->marks_capacity, p->n_marks + 1, sizeof *p->marks))
        return -1;
    p->marks[p->n_marks++] = p->stack.n;
    return 0;
}

/* Removes the last mark with the values above it, which stay valid until the next push. */
static int pop_marked(struct pickle *p, struct pickle_value ***items, size_t *n)
{
    if (p->n_marks == 0)
        return pickle_fail(p, "no mark on the stack");
    *n = height(p);
    p->stack.n -= *n;
    p->n_marks--;
    *items = p->stack.items ? p->stack.items + p->stack.n : NULL;
    return 0;
}

static int pop_one(struct pickle *p, size_t to_mark)
{
    struct pickle_value **items;
    size_t n;
    if (to_mark)
        return pop_marked(p, &items, &n);
    if (height(p) == 0 && p->n_marks)
        p->n_marks--;
    else if (need(p, 1) == 0)
        p->stack.n--;
    else
        return -1;
    return 0;
}

static int duplicate(struct pickle *p, size_t unused)
{
    (void)unused;
    return need(p, 1) ? -1 : push(p, top(p));
}

/* Reads the number of an entry of the memo, in `bytes` bytes, or as a line if bytes is 0. */
static int memo_number(struct pickle *p, size_t bytes, uint64_t *number)
{
    struct pickle_value v;
    if (bytes)
        return take_number(p, bytes, number);
    if (pickle_text_integer(p, &v))
        return -1;
    if (v.kind == PICKLE_BIG || v.integer < 0)
        return pickle_fail(p, "not the number of a memo");
    *number = (uint64_t)v.integer;
    return 0;
}

static int put_in_memo(struct pickle *p, uint64_t number)
{
    if (number > p->puts + MEMO_SLACK)
        return pickle_fail(p, "memo number %llu after %zu others", (unsigned long long)number,
                           p->puts);
    if (need(p, 1) || pickle_reserve(p, &p->memo.items, &p->memo.capacity, (size_t)number + 1,
                                     sizeof *p->memo.items))
        return -1;
    p->memo.n += p->memo.items[number] == NULL;
    p->memo.items[number] = top(p);
    p->puts++;
    return 0;
}

static int put(struct pickle *p, size_t bytes)
{
    uint64_t number;
    return memo_number(p, bytes, &number) ? -1 : put_in_memo(p, number);
}

static int memoize(struct pickle *p, size_t unused)
{
    (void)unused;
    return put_in_memo(p, p->memo.n);
}

static int get(struct pickle *p, size_t bytes)
{
    uint64_t number;
    if (memo_number(p, bytes, &number))
        return -1;
    if (number >= p->memo.capacity || !p->memo.items[number])
        return pickle_fail(p, "nothing in the memo at %llu", (unsigned long long)number);
    return push(p, p->memo.items[number]);
}

/* ---- numbers and strings ---- */

static int constant(struct pickle *p, size_t which)
{
    struct pickle_value *values[] = {&p->none, &p->yes, &p->no, &p->nothing};
    return push(p, values[which]);
}

/* A little-endian integer of `bytes` bytes; one of 4 has a sign. */
static int integer(struct pickle *p, size_t bytes)
{
    uint64_t number;
    if (take_number(p, bytes, &number))
        return -1;
    struct pickle_value *v = new_value(p, PICKLE_INTEGER);
    if (v)
        v->integer = bytes == 4 ? (int32_t)(uint32_t)number : (int64_t)number;
    return push(p, v);
}

/* A long, whose number of bytes has itself `bytes` bytes. */
static int long_integer(struct pickle *p, size_t bytes)
{
    uint64_t n, number = 0;
    const uint8_t *digits;
    if (take_number(p, bytes, &n) || take_bytes(p, n, &digits))
        return -1;
    struct pickle_value *v = new_value(p, n > 8 ? PICKLE_BIG : PICKLE_INTEGER);
    if (!v)
        return -1;
    if (n > 8) {
        v->bytes.start = digits;
        v->bytes.n = n;
        return push(p, v);
    }
    for (size_t i = 0; i < n; i++)
        number |= (uint64_t)digits[i] << (8 * i);
    if (n && n < 8 && digits[n - 1] & 0x80)
        number |= UINT64_MAX << (8 * n);
    v->integer = (int64_t)number;
    return push(p, v);
}

static int real(struct pickle *p, size_t unused)
{
    (void)unused;
    const uint8_t *bytes;
    if (take_bytes(p, 8, &bytes))
        return -1;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    struct pickle_value *v = new_value(p, PICKLE_REAL);
    if (v)
        memcpy(&v->real, &bits, sizeof bits);
    return push(p, v);
}

static int number_text(struct pickle *p, size_t is_real)
{
    struct pickle_value *v = new_value(p, PICKLE_INTEGER);
    if (!v || (is_real ? pickle_text_real(p, v) : pickle_text_integer(p, v)))
        return -1;
    return push(p, v);
}

static int string_text(struct pickle *p, size_t is_unicode)
{
    struct pickle_value *v = new_value(p, PICKLE_BYTES);
    if (!v || (is_unicode ? pickle_text_unicode(p, v) : pickle_text_string(p, v)))
        return -1;
    return push(p, v);
}

/* A string after its length, which has `length_bytes` bytes, perhaps with the flag TEXT. */
static int counted(struct pickle *p, size_t length_bytes)
{
    uint64_t n;
    const uint8_t *bytes;
    if (take_number(p, length_bytes & ~(size_t)TEXT, &n) || take_bytes(p, n, &bytes))
        return -1;
    struct pickle_value *v = new_value(p, length_bytes & TEXT ? PICKLE_TEXT : PICKLE_BYTES);
    if (v) {
        v->bytes.start = bytes;
        v->bytes.n = n;
    }
    return push(p, v);
}

/* ---- containers ---- */

static int push_list(struct pickle *p, enum pickle_kind kind, struct pickle_value *const *items,
                     size_t n)
{
    struct pickle_value *v = new_value(p, kind);
    if (!v || pickle_extend(p, v, items, n))
        return -1;
    if (kind == PICKLE_DICT && n % 2)
        return pickle_fail(p, "a key without a value");
    return push(p, v);
}

static int empty(struct pickle *p, size_t kind)
{
    return push_list(p, (enum pickle_kind)kind, NULL, 0);
}

/* Makes a container from the values above the mark. */
static int marked(struct pickle *p, size_t kind)
{
    struct pickle_value **items;
    size_t n;
    return pop_marked(p, &items, &n) ? -1 : push_list(p, (enum pickle_kind)kind, items, n);
}

static int tuple(struct pickle *p, size_t n)
{
    if (need(p, n))
        return -1;
    p->stack.n -= n;
    return push_list(p, PICKLE_TUPLE, p->stack.items + p->stack.n, n);
}

/* Adds n values to the container below them, which may be an object of a class. */
static int add_items(struct pickle *p, enum pickle_kind kind, struct pickle_value *const *items,
                     size_t n)
{
    if (need(p, 1))
        return -1;
    struct pickle_value *v = top(p);
    if (v->kind == PICKLE_CALL) {
        if (!v->call.contents && !(v->call.contents = new_value(p, kind)))
            return -1;
        v = v->call.contents;
    }
    if (v->kind != kind)
        return pickle_fail(p, "the value on the stack takes no such items");
    return kind == PICKLE_DICT && n % 2 ? pickle_fail(p, "a key without a value")
                                        : pickle_extend(p, v, items, n);
}

static int add_one(struct pickle *p, size_t kind)
{
    const size_t n = kind == PICKLE_DICT ? 2 : 1;
    if (need(p, n + 1))
        return -1;
    p->stack.n -= n;
    return add_items(p, (enum pickle_kind)kind, p->stack.items + p->stack.n, n);
}

static int add_marked(struct pickle *p, size_t kind)
{
    struct pickle_value **items;
    size_t n;
    return pop_marked(p, &items, &n) ? -1 : add_items(p, (enum pickle_kind)kind, items, n);
}

/* ---- globals and calls, which are only written down ---- */

static int push_global(struct pickle *p, const uint8_t *module, size_t module_n,
                       const uint8_t *name, size_t name_n)
{
    if (module_n > MAX_NAME || name_n > MAX_NAME)
        return pickle_fail(p, "a name of more than %d bytes", MAX_NAME);
    struct pickle_value *v = new_value(p, PICKLE_GLOBAL);
    if (!v)
        return -1;
    v->global.module = module;
    v->global.name = name;
    v->global.module_n = (uint16_t)module_n;
    v->global.name_n = (uint16_t)name_n;
    return pickle_check_global(p, v) ? -1 : push(p, v);
}

static int global(struct pickle *p, size_t from_stack)
{
    const uint8_t *module, *name;
    size_t module_n, name_n;
    if (!from_stack)
        return pickle_line(p, &module, &module_n) || pickle_line(p, &name, &name_n)
                   ? -1
                   : push_global(p, module, module_n, name, name_n);
    if (need(p, 2))
        return -1;
    const struct pickle_value *n = pop(p), *m = pop(p);
    if (m->kind != PICKLE_TEXT || n->kind != PICKLE_TEXT)
        return pickle_fail(p, "a name that is no text");
    return push_global(p, m->bytes.start, m->bytes.n, n->bytes.start, n->bytes.n);
}

static int call(struct pickle *p, size_t unused)
{
    (void)unused;
    if (need(p, 2))
        return -1;
    const struct pickle_value *arguments = pop(p), *function = pop(p);
    if (arguments->kind != PICKLE_TUPLE)
        return pickle_fail(p, "arguments that are no tuple");
    if (function->kind != PICKLE_GLOBAL && function->kind != PICKLE_CALL &&
        function->kind != PICKLE_PERSISTENT)
        return pickle_fail(p, "a call of a value that is no function");
    struct pickle_value *v = new_value(p, PICKLE_CALL);
    if (v) {
        v->call.function = function;
        v->call.arguments = arguments;
    }
    return push(p, v);
}

/* NEWOBJ_EX has arguments with names as well. It becomes a call that no caller knows, as in older
 * protocols. */
static int call_named(struct pickle *p, size_t unused)
{
    if (need(p, 3) || tuple(p, 3))
        return -1;
    struct pickle_value *arguments = pop(p);
    return push(p, &p->newobj_ex) || push(p, arguments) ? -1 : call(p, unused);
}

static int build(struct pickle *p, size_t unused)
{
    (void)unused;
    if (need(p, 2))
        return -1;
    const struct pickle_value *state = pop(p);
    struct pickle_value *v = top(p);
    if (v->kind != PICKLE_CALL || v->call.state)
        return pickle_fail(p, "a state of a value that takes none");
    v->call.state = state;
    return 0;
}

static int persistent(struct pickle *p, size_t unused)
{
    (void)unused;
    if (need(p, 1) || pickle_reserve(p, &p->persistents.items, &p->persistents.capacity,
                                     p->persistents.n + 1, sizeof *p->persistents.items))
        return -1;
    struct pickle_value *v = new_value(p, PICKLE_PERSISTENT);
    if (!v)
        return -1;
    v->persistent = pop(p);
    p->persistents.items[p->persistents.n++] = v;
    return push(p, v);
}

/* ---- the machine ---- */

static int protocol(struct pickle *p, size_t unused)
{
    (void)unused;
    uint64_t number;
    if (take_number(p, 1, &number))
        return -1;
    return number > LATEST_PROTOCOL ? pickle_fail(p, "protocol %d", (int)number) : 0;
}

/* A frame says how many bytes follow that belong together, which a reader of files needs to know.
 */
static int frame(struct pickle *p, size_t unused)
{
    (void)unused;
    uint64_t n;
    if (take_number(p, 8, &n))
        return -1;
    p->cut = n > p->size - p->at;
    return p->cut ? pickle_fail(p, "the pickle ends too soon") : 0;
}

static int stop(struct pickle *p, size_t unused)
{
    (void)unused;
    if (p->n_marks || p->stack.n != 1)
        return pickle_fail(p, "%zu values on the stack", p->stack.n);
    p->root = pop(p);
    return 0;
}

enum { NONE, YES, NO, NOTHING };
static const struct opcode opcodes[256] = {
    ['('] = {"MARK", mark, 0},
    ['.'] = {"STOP", stop, 0},
    ['0'] = {"POP", pop_one, 0},
    ['1'] = {"POP_MARK", pop_one, 1},
    ['2'] = {"DUP", duplicate, 0},
    ['F'] = {"FLOAT", number_text, 1},
    ['I'] = {"INT", number_text, 0},
    ['J'] = {"BININT", integer, 4},
    ['K'] = {"BININT1", integer, 1},
    ['L'] = {"LONG", number_text, 0},
    ['M'] = {"BININT2", integer, 2},
    ['N'] = {"NONE", constant, NONE},
    ['P'] = {"PERSID", NULL, 0},
    ['Q'] = {"BINPERSID", persistent, 0},
    ['R'] = {"REDUCE", call, 0},
    ['S'] = {"STRING", string_text, 0},
    ['T'] = {"BINSTRING", counted, 4},
    ['U'] = {"SHORT_BINSTRING", counted, 1},
    ['V'] = {"UNICODE", string_text, 1},
    ['X'] = {"BINUNICODE", counted, TEXT | 4},
    ['a'] = {"APPEND", add_one, PICKLE_LIST},
    ['b'] = {"BUILD", build, 0},
    ['c'] = {"GLOBAL", global, 0},
    ['d'] = {"DICT", marked, PICKLE_DICT},
    ['}'] = {"EMPTY_DICT", empty, PICKLE_DICT},
    ['e'] = {"APPENDS", add_marked, PICKLE_LIST},
    ['g'] = {"GET", get, 0},
    ['h'] = {"BINGET", get, 1},
    ['i'] = {"INST", NULL, 0},
    ['j'] = {"LONG_BINGET", get, 4},
    ['l'] = {"LIST", marked, PICKLE_LIST},
    [']'] = {"EMPTY_LIST", empty, PICKLE_LIST},
    ['o'] = {"OBJ", NULL, 0},
    ['p'] = {"PUT", put, 0},
    ['q'] = {"BINPUT", put, 1},
    ['r'] = {"LONG_BINPUT", put, 4},
    ['s'] = {"SETITEM", add_one, PICKLE_DICT},
    ['t'] = {"TUPLE", marked, PICKLE_TUPLE},
    [')'] = {"EMPTY_TUPLE", constant, NOTHING},
    ['u'] = {"SETITEMS", add_marked, PICKLE_DICT},
    ['G'] = {"BINFLOAT", real, 0},
    ['B'] = {"BINBYTES", counted, 4},
    ['C'] = {"SHORT_BINBYTES", counted, 1},
    [0x80] = {"PROTO", protocol, 0},
    [0x81] = {"NEWOBJ", call, 0},
    [0x82] = {"EXT1", NULL, 0},
    [0x83] = {"EXT2", NULL, 0},
    [0x84] = {"EXT4", NULL, 0},
    [0x85] = {"TUPLE1", tuple, 1},
    [0x86] = {"TUPLE2", tuple, 2},
    [0x87] = {"TUPLE3", tuple, 3},
    [0x88] = {"NEWTRUE", constant, YES},
    [0x89] = {"NEWFALSE", constant, NO},
    [0x8a] = {"LONG1", long_integer, 1},
    [0x8b] = {"LONG4", long_integer, 4},
    [0x8c] = {"SHORT_BINUNICODE", counted, TEXT | 1},
    [0x8d] = {"BINUNICODE8", counted, TEXT | 8},
    [0x8e] = {"BINBYTES8", counted, 8},
    [0x8f] = {"EMPTY_SET", empty, PICKLE_SET},
    [0x90] = {"ADDITEMS", add_marked, PICKLE_SET},
    [0x91] = {"FROZENSET", marked, PICKLE_SET},
    [0x92] = {"NEWOBJ_EX", call_named, 0},
    [0x93] = {"STACK_GLOBAL", global, 1},
    [0x94] = {"MEMOIZE", memoize, 0},
    [0x95] = {"FRAME", frame, 0},
    [0x96] = {"BYTEARRAY8", counted, 8},
    [0x97] = {"NEXT_BUFFER", NULL, 0},
    [0x98] = {"READONLY_BUFFER", NULL, 0},
};

static int run(struct pickle *p)
{
    while (!p->root) {
        const uint8_t *byte;
        p->opcode_at = p->at;
        if (take_bytes(p, 1, &byte))
            return -1;
        const struct opcode *opcode = &opcodes[*byte];
        if (!opcode->run)
            return pickle_fail(p, "not an opcode of plain data, so the file is refused");
        if (opcode->run(p, opcode->argument))
            return -1;
    }
    return 0;
}

struct pickle *pickle_read(const uint8_t *bytes, size_t size, size_t begin, const char *where,
                           const char *const *globals, bool *cut)
{
    if (cut)
        *cut = false;
    if (size > UINT32_MAX)
        return fail_null("%s: a pickle of more than 4 GiB", where);
    struct pickle *p = calloc(1, sizeof *p);
    if (!p) {
        fail_memory(where);
        return NULL;
    }
    p->bytes = bytes;
    p->size = size;
    p->at = begin;
    p->where = where;
    p->globals = globals;
    p->none.kind = PICKLE_NONE;
    p->yes.kind = p->no.kind = PICKLE_BOOL;
    p->yes.integer = 1;
    p->nothing.kind = PICKLE_TUPLE;
    pickle_set_global(&p->newobj_ex, "copyreg", "__newobj_ex__");
    if (run(p) == 0) {
        p->where = NULL;
        p->globals = NULL;
        return p;
    }
    if (cut)
        *cut = p->cut;
    pickle_free(p);
    return NULL;
}
