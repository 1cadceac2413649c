#include "python/torch_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/warn.h"
#include "frame/frame.h"

enum {
    MAX_DEPTH = 64,      /* of containers in each other */
    MAX_WRAPPINGS = 8,   /* a parameter of a parameter ... */
    MAX_VISITS = 1 << 24 /* values; shared containers can hold each other exponentially often */
};

/* A container that is being walked through. */
struct level {
    const struct pickle_value *container; /* the list, tuple or dict with the items */
    enum { ITEMS, KEYS_AND_VALUES, PAIRS } kind;
    uint32_t next;
    size_t name_n; /* bytes of the name of the container */
};

enum { MAX_CLASSES = 8 };

struct walk {
    const char *path;
    struct torch_storages *storages;
    bool (*wanted)(const char *name, void *context);
    bool any; /* there are tensors, wanted or not */
    void *context;
    struct torch_tensors *found;
    struct level levels[MAX_DEPTH];
    int depth;
    /* The name of the value that is looked at. A name that is too long is not stored, and has
     * TORCH_MAX_NAME bytes. */
    char name[TORCH_MAX_NAME];
    size_t name_n;
    int64_t visits;
    char classes[MAX_CLASSES][PICKLE_GLOBAL_TEXT]; /* of the objects that were passed over */
    int n_classes;
    bool more_classes;
};

/* ---- names ---- */

/* Returns the length of the UTF-8 sequence at the beginning of n bytes, or 0 if it is invalid or a
 * control character. */
static size_t character(const uint8_t *s, size_t n)
{
    static const struct {
        uint8_t mask, first;
        size_t length;
        uint32_t least;
    } kinds[] = {{0x80, 0, 1, 0x20},
                 {0xe0, 0xc0, 2, 0x80},
                 {0xf0, 0xe0, 3, 0x800},
                 {0xf8, 0xf0, 4, 0x10000}};
    for (int k = 0; k < 4; k++) {
        if ((s[0] & kinds[k].mask) != kinds[k].first)
            continue;
        if (kinds[k].length > n)
            return 0;
        uint32_t c = s[0] & (uint8_t)~kinds[k].mask;
        for (size_t i = 1; i < kinds[k].length; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (s[i] & 0x3f);
        }
        const bool valid = c >= kinds[k].least && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) &&
                           (c < 0x7f || c > 0x9f);
        return valid ? kinds[k].length : 0;
    }
    return 0;
}

/* Checks that a frame can hold a tensor of this name. */
static int check_name(const struct walk *w)
{
    if (w->name_n >= TORCH_MAX_NAME)
        return fail("%s: the name of a tensor has more than %d bytes", w->path, TORCH_MAX_NAME - 1);
    if (w->name_n == 0)
        return fail("%s: it holds a tensor without a name; save a dict of tensors", w->path);
    const uint8_t *name = (const uint8_t *)w->name;
    for (size_t at = 0; at < w->name_n;) {
        const size_t n = character(name + at, w->name_n - at);
        if (n == 0)
            return fail("%s: the name of a tensor is no printable UTF-8: %s", w->path, w->name);
        at += n;
    }
    return strcmp(w->name, "__metadata__") == 0
               ? fail("%s: a frame can hold no tensor with the name %s", w->path, w->name)
               : 0;
}

/* Puts the key after the name of its container. */
static void append_key(struct walk *w, size_t name_n, const void *key, size_t key_n)
{
    const size_t dot = name_n > 0;
    if (key_n >= TORCH_MAX_NAME || name_n + dot + key_n >= TORCH_MAX_NAME) {
        w->name_n = TORCH_MAX_NAME;
        return;
    }
    if (dot)
        w->name[name_n] = '.';
    memcpy(w->name + name_n + dot, key, key_n);
    w->name_n = name_n + dot + key_n;
    w->name[w->name_n] = '\0';
}

/* Names the value after its key. Returns false if the key is neither text nor an integer. */
static bool name_value(struct walk *w, size_t name_n, const struct pickle_value *key)
{
    char digits[32];
    switch (key->kind) {
    case PICKLE_TEXT:
    case PICKLE_BYTES:
        append_key(w, name_n, key->bytes.start, key->bytes.n);
        return true;
    case PICKLE_INTEGER:
        snprintf(digits, sizeof digits, "%lld", (long long)key->integer);
        append_key(w, name_n, digits, strlen(digits));
        return true;
    default:
        return false;
    }
}

/* ---- tensors ---- */

static bool begins(const uint8_t *text, size_t n, const char *start)
{
    return n >= strlen(start) && memcmp(text, start, strlen(start)) == 0;
}

/* Returns true for a call that makes a tensor: one of PyTorch's functions of that purpose, or any
 * that gets a storage. */
static bool makes_tensor(const struct pickle_value *v)
{
    const struct pickle_value *f = v->call.function, *arguments = v->call.arguments;
    if (f->kind == PICKLE_GLOBAL && begins(f->global.module, f->global.module_n, "torch") &&
        begins(f->global.name, f->global.name_n, "_rebuild"))
        return true;
    for (uint32_t i = 0; i < arguments->list.n; i++)
        if (arguments->list.items[i]->kind == PICKLE_PERSISTENT)
            return true;
    return false;
}

static int fail_tensor(const struct walk *w, const char *what)
{
    return fail("%s: tensor %s %s", w->path, w->name, what);
}

/* Reads a tuple of sizes or strides, perhaps as a torch.Size, which are at least 0. Returns their
 * number, or -1 without a message. */
static int read_lengths(const struct pickle_value *v, int64_t lengths[FRAME_MAX_DIMS])
{
    if (pickle_is_call(v, "torch", "Size"))
        v = pickle_argument(v, 0);
    if (!v || (v->kind != PICKLE_TUPLE && v->kind != PICKLE_LIST) || v->list.n > FRAME_MAX_DIMS)
        return -1;
    for (uint32_t i = 0; i < v->list.n; i++) {
        if (v->list.items[i]->kind != PICKLE_INTEGER || v->list.items[i]->integer < 0)
            return -1;
        lengths[i] = v->list.items[i]->integer;
    }
    return (int)v->list.n;
}

/* Checks that the tensor is inside its storage. */
static int check_bounds(const struct walk *w, struct torch_tensor *t)
{
    int64_t last = t->offset;
    bool overflow = false;
    t->count = 1;
    for (int i = 0; i < t->ndim; i++)
        overflow |= __builtin_mul_overflow(t->count, t->shape[i], &t->count);
    for (int i = 0; i < t->ndim && t->count > 0; i++) {
        int64_t step;
        if (t->shape[i] == 1)
            t->stride[i] = 0; /* it means nothing, and may be any number */
        overflow |= __builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &step) ||
                    __builtin_add_overflow(last, step, &last);
    }
    const int64_t there = t->storage->bytes / (int64_t)torch_type_size(t->type);
    return overflow || (t->count > 0 && last >= there)
               ? fail_tensor(w, "does not fit into its storage")
               : 0;
}

/* Takes the wrappings off a tensor. Returns the call of the function that makes it, for which
 * `inner` may be used. */
static const struct pickle_value *unwrap(const struct pickle_value *v, struct pickle_value *inner)
{
    for (int i = 0; i < MAX_WRAPPINGS; i++) {
        if (pickle_is_call(v, "torch._utils", "_rebuild_parameter") ||
            pickle_is_call(v, "torch._utils", "_rebuild_parameter_with_state")) {
            v = pickle_argument(v, 0);
        } else if (pickle_is_call(v, "torch._tensor", "_rebuild_from_type_v2")) {
            const struct pickle_value *function = pickle_argument(v, 0),
                                      *type = pickle_argument(v, 1),
                                      *arguments = pickle_argument(v, 2);
            if (!arguments || function->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_TUPLE ||
                !(pickle_is_global(type, "torch", "Tensor") ||
                  pickle_is_global(type, "torch.nn.parameter", "Parameter")))
                return v;
            *inner = (struct pickle_value){.kind = PICKLE_CALL, .at = v->at};
            inner->call.function = function;
            inner->call.arguments = arguments;
            v = inner;
        } else
            return v;
    }
    return v;
}

/* Leaves the message that this is no tensor that can be read. */
static int fail_unknown(const struct walk *w, const struct pickle_value *v)
{
    char function[PICKLE_GLOBAL_TEXT] = "no function";
    if (v && v->kind == PICKLE_CALL)
        pickle_global_text(v->call.function, function);
    return fail("%s: tensor %s is made by %s; only dense tensors of numbers are read", w->path,
                w->name, function);
}

/* Reads _rebuild_tensor(storage, offset, sizes, strides), or _v2 with further arguments, of which
 * _v3 has the type at position 6 (torch/_utils.py). */
static int read_tensor(const struct walk *w, const struct pickle_value *v, struct torch_tensor *t)
{
    struct pickle_value inner;
    v = unwrap(v, &inner);
    const bool v3 = pickle_is_call(v, "torch._utils", "_rebuild_tensor_v3");
    if (!v3 && !pickle_is_call(v, "torch._utils", "_rebuild_tensor_v2") &&
        !pickle_is_call(v, "torch._utils", "_rebuild_tensor"))
        return fail_unknown(w, v);
    const struct pickle_value *storage = pickle_argument(v, 0), *offset = pickle_argument(v, 1);
    t->storage = storage && storage->kind == PICKLE_PERSISTENT
                     ? torch_storages_of(w->storages, storage)
                     : NULL;
    if (!t->storage || !offset || offset->kind != PICKLE_INTEGER || offset->integer < 0)
        return fail_tensor(w, "is damaged: it has no storage");
    t->type = v3 ? torch_type_of_dtype(pickle_argument(v, 6)) : t->storage->type;
    if (v3 ? t->storage->type != TORCH_UNTYPED : t->type == TORCH_UNTYPED)
        return fail_tensor(w, "and its storage differ in their types");
    if (t->type == TORCH_UNKNOWN)
        return fail_tensor(w,
                           "has values of a type that is not read (floats of 16, 32 and 64 bits, "
                           "integers and bool are)");
    t->offset = offset->integer;
    t->ndim = read_lengths(pickle_argument(v, 2), t->shape);
    if (t->ndim < 0 || read_lengths(pickle_argument(v, 3), t->stride) != t->ndim)
        return fail_tensor(w, "has no shape, or one of more than 8 dimensions");
    return check_bounds(w, t);
}

static int add_tensor(struct walk *w, const struct pickle_value *v)
{
    if (check_name(w))
        return -1;
    w->any = true;
    if (w->wanted && !w->wanted(w->name, w->context))
        return 0;
    struct torch_tensor *grown =
        grow(w->found->list, w->found->n, &w->found->capacity, sizeof *grown);
    if (!grown)
        return fail_memory(w->path);
    w->found->list = grown;
    struct torch_tensor *t = &grown[w->found->n];
    *t = (struct torch_tensor){0};
    if (w->found->n == FRAME_MAX_ENTRIES)
        return fail("%s: more than %d tensors", w->path, FRAME_MAX_ENTRIES);
    if (read_tensor(w, v, t))
        return -1;
    if (!(t->name = strdup(w->name)))
        return fail_memory(w->path);
    t->storage->wanted = true;
    w->found->n++;
    return 0;
}

/* ---- other objects ---- */

/* Classes and functions of data that checkpoints often hold beside tensors. They are passed over in
 * silence. */
static bool is_common(const struct pickle_value *function)
{
    static const struct {
        const char *module, *name;
    } common[] = {
        {"numpy.core.multiarray", "scalar"},
        {"numpy._core.multiarray", "scalar"},
        {"numpy.core.multiarray", "_reconstruct"},
        {"numpy._core.multiarray", "_reconstruct"},
        {"numpy", "dtype"},
        {"torch", "Size"},
        {"torch", "device"},
        {"_codecs", "encode"},
        {"__builtin__", "set"},
        {"builtins", "set"},
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (pickle_is_global(function, common[i].module, common[i].name))
            return true;
    return false;
}

static void note_class(struct walk *w, const struct pickle_value *v)
{
    const struct pickle_value *f = v->call.function;
    /* Before PyTorch 1.6, the class of a module is a reference ("module", CLASS, FILE, SOURCE). */
    if (f->kind == PICKLE_PERSISTENT && f->persistent->kind == PICKLE_TUPLE &&
        f->persistent->list.n > 1)
        f = f->persistent->list.items[1];
    if (is_common(f))
        return;
    char name[PICKLE_GLOBAL_TEXT];
    pickle_global_text(f, name);
    for (int i = 0; i < w->n_classes; i++)
        if (strcmp(w->classes[i], name) == 0)
            return;
    if (w->n_classes < MAX_CLASSES)
        memcpy(w->classes[w->n_classes++], name, sizeof name);
    else
        w->more_classes = true;
}

static void report_classes(const struct walk *w)
{
    char text[FAIL_MAX] = "";
    for (int i = 0; i < w->n_classes; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "",
                 w->classes[i]);
    if (w->n_classes)
        warn_line("%s: objects beside the tensors are not read: %s%s", w->path, text,
                  w->more_classes ? " and others" : "");
}

/* ---- the walk ---- */

/* Begins to walk through a container, unless it is walked through already and so contains itself.
 */
static int enter(struct walk *w, const struct pickle_value *container, int kind)
{
    for (int i = 0; i < w->depth; i++)
        if (w->levels[i].container == container)
            return 0;
    if (w->depth == MAX_DEPTH)
        return fail("%s: containers more than %d deep in each other", w->path, MAX_DEPTH);
    w->levels[w->depth++] = (struct level){container, kind, 0, w->name_n};
    return 0;
}

static int visit_call(struct walk *w, const struct pickle_value *v)
{
    const bool dict = pickle_is_call(v, "collections", "OrderedDict"),
               with_default = pickle_is_call(v, "collections", "defaultdict");
    if (dict || with_default) {
        /* Python 2 writes the items of an OrderedDict as a list of pairs in its arguments. */
        const struct pickle_value *contents = v->call.contents,
                                  *pairs = dict ? pickle_argument(v, 0) : NULL;
        if (contents && contents->kind == PICKLE_DICT)
            return enter(w, contents, KEYS_AND_VALUES);
        return pairs && pairs->kind == PICKLE_LIST ? enter(w, pairs, PAIRS) : 0;
    }
    if (makes_tensor(v))
        return add_tensor(w, v);
    note_class(w, v);
    return 0;
}

static int visit(struct walk *w, const struct pickle_value *v)
{
    switch (v->kind) {
    case PICKLE_LIST:
    case PICKLE_TUPLE:
        return enter(w, v, ITEMS);
    case PICKLE_DICT:
        return enter(w, v, KEYS_AND_VALUES);
    case PICKLE_CALL:
        return visit_call(w, v);
    default:
        return 0;
    }
}

/* Gets the next item of a container with its key, which is NULL in a list. Returns false at the
 * end. */
static bool next_item(struct level *level, const struct pickle_value **key,
                      const struct pickle_value **value)
{
    const struct pickle_value *c = level->container;
    *key = NULL;
    if (level->next >= c->list.n)
        return false;
    *value = c->list.items[level->next++];
    if (level->kind == KEYS_AND_VALUES) {
        *key = *value;
        *value = c->list.items[level->next++];
    } else if (level->kind == PAIRS) {
        const struct pickle_value *pair = *value;
        if ((pair->kind == PICKLE_LIST || pair->kind == PICKLE_TUPLE) && pair->list.n == 2) {
            *key = pair->list.items[0];
            *value = pair->list.items[1];
        }
    }
    return true;
}

static bool is_branch(const struct pickle_value *v)
{
    return v->kind == PICKLE_LIST || v->kind == PICKLE_TUPLE || v->kind == PICKLE_DICT ||
           v->kind == PICKLE_CALL;
}

static int walk(struct walk *w)
{
    while (w->depth) {
        struct level *level = &w->levels[w->depth - 1];
        const struct pickle_value *key, *value;
        if (!next_item(level, &key, &value)) {
            w->depth--;
            continue;
        }
        if (++w->visits > MAX_VISITS)
            return fail("%s: more than %d values in each other", w->path, MAX_VISITS);
        struct pickle_value number = {.kind = PICKLE_INTEGER};
        number.integer = level->next - 1;
        if (is_branch(value) && name_value(w, level->name_n, key ? key : &number) &&
            visit(w, value))
            return -1;
    }
    return 0;
}

int torch_tensors_collect(const struct pickle_value *root, struct torch_storages *storages,
                          bool (*wanted)(const char *name, void *context), void *context,
                          const char *path, struct torch_tensors *found)
{
    *found = (struct torch_tensors){0};
    struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return fail_memory(path);
    w->path = path;
    w->storages = storages;
    w->wanted = wanted;
    w->context = context;
    w->found = found;
    const int result = visit(w, root) || walk(w) ? -1 : 0;
    /* A caller that asked for names alone asks again. In a file without any tensor, such as a
     * module as a whole, the objects are why. */
    if (result == 0 && (found->n || !w->any))
        report_classes(w);
    free(w);
    return result;
}

void torch_tensors_free(struct torch_tensors *found)
{
    for (int64_t i = 0; i < found->n; i++)
        free(found->list[i].name);
    free(found->list);
    *found = (struct torch_tensors){0};
}
