#include "python/torch_storages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

static const struct {
    const char *storage, *dtype; /* of the module torch; NULL: there is none */
    size_t size;
} types[] = {
    [TORCH_F32] = {"FloatStorage", "float32", 4},
    [TORCH_F64] = {"DoubleStorage", "float64", 8},
    [TORCH_F16] = {"HalfStorage", "float16", 2},
    [TORCH_BF16] = {"BFloat16Storage", "bfloat16", 2},
    [TORCH_I64] = {"LongStorage", "int64", 8},
    [TORCH_I32] = {"IntStorage", "int32", 4},
    [TORCH_I16] = {"ShortStorage", "int16", 2},
    [TORCH_I8] = {"CharStorage", "int8", 1},
    [TORCH_U8] = {"ByteStorage", "uint8", 1},
    [TORCH_BOOL] = {"BoolStorage", "bool", 1},
    [TORCH_U16] = {NULL, "uint16", 2},
    [TORCH_U32] = {NULL, "uint32", 4},
    [TORCH_UNTYPED] = {"UntypedStorage", NULL, 1},
    [TORCH_UNKNOWN] = {NULL, NULL, 0},
};

size_t torch_type_size(enum torch_type type)
{
    return types[type].size;
}

enum torch_type torch_type_of_dtype(const struct pickle_value *global)
{
    int type = 0;
    while (type < TORCH_UNKNOWN &&
           !(types[type].dtype && pickle_is_global(global, "torch", types[type].dtype)))
        type++;
    return (enum torch_type)type;
}

static enum torch_type type_of_storage(const struct pickle_value *global)
{
    for (int type = 0; type < TORCH_UNKNOWN; type++) {
        const char *name = types[type].storage;
        if (name && (pickle_is_global(global, "torch", name) ||
                     pickle_is_global(global, "torch.cuda", name) ||
                     (type == TORCH_UNTYPED && pickle_is_global(global, "torch.storage", name))))
            return (enum torch_type)type;
    }
    return TORCH_UNKNOWN;
}

/* Returns the size of a value of types whose tensors are not read, or 0. The old form needs it to
 * find the storages after them. */
static size_t unread_size(const struct pickle_value *global)
{
    static const struct {
        const char *storage;
        size_t size;
    } unread[] = {{"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16}, {"QInt8Storage", 1},
                  {"QUInt8Storage", 1},       {"QInt32Storage", 4},         {"QUInt4x2Storage", 1},
                  {"QUInt2x4Storage", 1}};
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        if (pickle_is_global(global, "torch", unread[i].storage))
            return unread[i].size;
    return 0;
}

/* Returns the items of a reference to a storage, or NULL if it is one to something else. */
static struct pickle_value *const *reference(const struct pickle_value *persistent)
{
    const struct pickle_value *tuple = persistent->persistent;
    return tuple->kind == PICKLE_TUPLE && tuple->list.n >= 5 &&
                   pickle_is_text(tuple->list.items[0], "storage")
               ? tuple->list.items
               : NULL;
}

static int read_reference(const struct pickle_value *persistent, const char *where,
                          struct torch_storage *s)
{
    struct pickle_value *const *items = reference(persistent);
    const struct pickle_value *key = items[2], *count = items[4], *tuple = persistent->persistent;
    if ((key->kind != PICKLE_TEXT && key->kind != PICKLE_BYTES) || key->bytes.n == 0 ||
        key->bytes.n > TORCH_MAX_KEY || count->kind != PICKLE_INTEGER || count->integer < 0)
        return fail("%s: the reference to a storage at byte %u is damaged", where, persistent->at);
    if (tuple->list.n > 6 || (tuple->list.n == 6 && items[5]->kind != PICKLE_NONE))
        return fail("%s: the storage at byte %u is a view of another one, as PyTorch 0.1 writes: "
                    "save it again with a newer version",
                    where, persistent->at);
    *s = (struct torch_storage){.key = key->bytes.start,
                                .key_n = key->bytes.n,
                                .type = type_of_storage(items[1]),
                                .count = count->integer};
    s->size = s->type == TORCH_UNKNOWN ? unread_size(items[1]) : torch_type_size(s->type);
    if (__builtin_mul_overflow(s->count, (int64_t)s->size, &s->bytes))
        return fail("%s: the storage at byte %u has %lld values", where, persistent->at,
                    (long long)s->count);
    return 0;
}

static int compare_keys(const void *pa, const void *pb)
{
    const struct torch_storage *a = pa, *b = pb;
    const int order = memcmp(a->key, b->key, a->key_n < b->key_n ? a->key_n : b->key_n);
    return order ? order : (a->key_n > b->key_n) - (a->key_n < b->key_n);
}

/* Keeps one of each storage; several references to it must agree. */
static int make_unique(struct torch_storages *all, const char *where)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct torch_storage *s = &all->list[i], *last = n ? &all->list[n - 1] : NULL;
        if (!last || compare_keys(last, s) != 0)
            all->list[n++] = *s;
        else if (last->type != s->type || last->count != s->count)
            return fail("%s: storage %.*s has two types or sizes", where, (int)s->key_n,
                        (const char *)s->key);
    }
    all->n = n;
    return 0;
}

int torch_storages_collect(const struct pickle *p, const char *where, struct torch_storages *all)
{
    struct pickle_value *const *references;
    const size_t n = pickle_persistents(p, &references);
    *all = (struct torch_storages){calloc(n + 1, sizeof *all->list), 0};
    if (!all->list)
        return fail_memory(where);
    for (size_t i = 0; i < n; i++)
        if (reference(references[i]) && read_reference(references[i], where, &all->list[all->n++]))
            return -1;
    qsort(all->list, all->n, sizeof *all->list, compare_keys);
    return make_unique(all, where);
}

void torch_storages_free(struct torch_storages *all)
{
    free(all->list);
    *all = (struct torch_storages){0};
}

struct torch_storage *torch_storages_find(const struct torch_storages *all, const void *key,
                                          size_t key_n)
{
    const struct torch_storage wanted = {.key = key, .key_n = key_n};
    return bsearch(&wanted, all->list, all->n, sizeof wanted, compare_keys);
}

struct torch_storage *torch_storages_of(const struct torch_storages *all,
                                        const struct pickle_value *persistent)
{
    struct pickle_value *const *items = reference(persistent);
    return items ? torch_storages_find(all, items[2]->bytes.start, items[2]->bytes.n) : NULL;
}
