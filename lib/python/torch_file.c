#include "python/torch_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/regular_file.h"
#include "python/pickle.h"
#include "python/torch_legacy.h"
#include "python/torch_tensors.h"
#include "python/torch_zip.h"

enum {
    START = 512, /* bytes from which the form is recognized */
    MAX_SHARING = 8,
    SHARING_SLACK = 16 << 20
};

/* ---- recognition ---- */

enum form { FORM_NONE, FORM_ZIP, FORM_LEGACY, FORM_TAR };

/* The tar form begins with a member of one of these names. */
static bool begins_tar(const uint8_t *first, size_t n)
{
    static const char *const names[] = {"sys_info", "pickle", "tensors", "storages"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (n == START && memcmp(first + 257, "ustar", 5) == 0 &&
            memcmp(first, names[i], strlen(names[i]) + 1) == 0)
            return true;
    return false;
}

static int find_form(const char *path, enum form *form)
{
    uint8_t first[START];
    const int fd = regular_file_open(path, NULL);
    if (fd < 0)
        return -1;
    size_t n = 0;
    for (ssize_t got; n < START && (got = read(fd, first + n, START - n)) > 0;)
        n += (size_t)got;
    close(fd);
    *form = n >= 4 && memcmp(first, "PK\3\4", 4) == 0 ? FORM_ZIP
            : torch_legacy_recognize(first, n < TORCH_LEGACY_START ? n : TORCH_LEGACY_START)
                ? FORM_LEGACY
            : begins_tar(first, n) ? FORM_TAR
                                   : FORM_NONE;
    return 0;
}

bool torch_file_recognize(const char *path)
{
    struct fail_note note;
    enum form form = FORM_NONE;
    fail_save(&note);
    if (find_form(path, &form))
        fail_restore(&note);
    return form != FORM_NONE;
}

/* ---- values ---- */

struct load {
    const char *path;
    struct torch_storages storages;
    struct torch_tensors tensors;
    struct frame *frame;
};

static bool is_float(enum torch_type type)
{
    return type <= TORCH_BF16;
}

#define LOAD_VALUES(TYPE, EXPRESSION)                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        TYPE v;                                                                                    \
        memcpy(&v, from + i * step, sizeof v);                                                     \
        to[i] = EXPRESSION;                                                                        \
    }                                                                                              \
    break

/* Converts n values, `step` bytes apart. */
static void convert_floats(enum torch_type type, const uint8_t *from, int64_t step, int64_t n,
                           float *to)
{
    switch (type) {
    case TORCH_F32:
        LOAD_VALUES(float, v);
    case TORCH_F64:
        LOAD_VALUES(double, (float)v);
    case TORCH_BF16:
        LOAD_VALUES(uint16_t, bf16_widen(v));
    case TORCH_F16:
        for (int64_t i = 0; i < n; i++) {
            uint16_t v;
            memcpy(&v, from + i * step, sizeof v);
            half_widen_f16(&v, &to[i], 1);
        }
        break;
    default:
        break;
    }
}

static void convert_integers(enum torch_type type, const uint8_t *from, int64_t step, int64_t n,
                             int64_t *to)
{
    switch (type) {
    case TORCH_I64:
        LOAD_VALUES(int64_t, v);
    case TORCH_I32:
        LOAD_VALUES(int32_t, v);
    case TORCH_I16:
        LOAD_VALUES(int16_t, v);
    case TORCH_I8:
        LOAD_VALUES(int8_t, v);
    case TORCH_U8:
        LOAD_VALUES(uint8_t, v);
    case TORCH_BOOL:
        LOAD_VALUES(uint8_t, v != 0);
    case TORCH_U16:
        LOAD_VALUES(uint16_t, v);
    case TORCH_U32:
        LOAD_VALUES(uint32_t, v);
    default:
        break;
    }
}

/* Checks that doubles are finite as floats. */
static int check_doubles(const struct load *l, const struct torch_tensor *t, const uint8_t *from,
                         int64_t step, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, from + i * step, sizeof v);
        if (!isfinite((float)v))
            return fail("%s: tensor %s holds %g, which is no finite number of 32 bits", l->path,
                        t->name, v);
    }
    return 0;
}

/* Copies a tensor from its storage, row by row, since rows may lie anywhere. */
static int copy_tensor(const struct load *l, const struct torch_tensor *t, const uint8_t *storage,
                       void *out)
{
    const int64_t size = (int64_t)torch_type_size(t->type);
    const int last = t->ndim - 1;
    const int64_t n = t->ndim ? t->shape[last] : 1, step = t->ndim ? t->stride[last] * size : size;
    int64_t index[FRAME_MAX_DIMS] = {0};
    for (int64_t done = 0; done < t->count; done += n) {
        int64_t at = t->offset;
        for (int i = 0; i < last; i++)
            at += index[i] * t->stride[i];
        const uint8_t *from = storage + at * size;
        if (t->type == TORCH_F64 && check_doubles(l, t, from, step, n))
            return -1;
        if (is_float(t->type))
            convert_floats(t->type, from, step, n, (float *)out + done);
        else
            convert_integers(t->type, from, step, n, (int64_t *)out + done);
        for (int i = last - 1; i >= 0 && ++index[i] == t->shape[i]; i--)
            index[i] = 0;
    }
    return 0;
}

/* Copies the tensors of a storage. */
static int use_storage(void *context, const struct torch_storage *storage, const uint8_t *bytes)
{
    struct load *l = context;
    for (int64_t i = 0; i < l->tensors.n; i++) {
        const struct torch_tensor *t = &l->tensors.list[i];
        if (t->storage == storage && copy_tensor(l, t, bytes, frame_find(l->frame, t->name)->data))
            return -1;
    }
    return 0;
}

/* ---- the frame ---- */

/* Checks that tensors do not repeat the values of small storages without end. */
static int check_total(const struct load *l)
{
    int64_t storages = 0, tensors = 0, room;
    for (size_t i = 0; i < l->storages.n; i++)
        if (l->storages.list[i].wanted &&
            __builtin_add_overflow(storages, l->storages.list[i].bytes, &storages))
            return fail("%s: its storages overflow", l->path);
    if (__builtin_mul_overflow(storages, MAX_SHARING, &room) || room > INT64_MAX - SHARING_SLACK)
        room = INT64_MAX - SHARING_SLACK;
    room += SHARING_SLACK;
    for (int64_t i = 0; i < l->tensors.n; i++) {
        const struct torch_tensor *t = &l->tensors.list[i];
        int64_t bytes;
        if (__builtin_mul_overflow(t->count, is_float(t->type) ? 4 : 8, &bytes) ||
            __builtin_add_overflow(tensors, bytes, &tensors) || tensors > room)
            return fail("%s: its tensors repeat the %lld bytes of their storages too often",
                        l->path, (long long)storages);
    }
    return (uint64_t)tensors > FRAME_DEFAULT_LIMIT
               ? fail("%s: its tensors have %lld bytes, and at most %zu are read", l->path,
                      (long long)tensors, FRAME_DEFAULT_LIMIT)
               : 0;
}

static int make_frame(struct load *l)
{
    struct tensor_spec *specs = calloc((size_t)l->tensors.n + 1, sizeof *specs);
    if (!specs)
        return fail_memory(l->path);
    for (int64_t i = 0; i < l->tensors.n; i++) {
        const struct torch_tensor *t = &l->tensors.list[i];
        specs[i] =
            (struct tensor_spec){t->name, is_float(t->type) ? DTYPE_F32 : DTYPE_I64, t->ndim, {0}};
        memcpy(specs[i].shape, t->shape, sizeof t->shape);
    }
    l->frame = frame_new_unset(specs, (int)l->tensors.n);
    free(specs);
    return l->frame ? 0 : fail_prefix("%s", l->path);
}

static int find_tensors(struct load *l, const struct pickle *p,
                        bool (*wanted)(const char *name, void *context), void *context)
{
    return torch_storages_collect(p, l->path, &l->storages) ||
                   torch_tensors_collect(pickle_root(p), &l->storages, wanted, context, l->path,
                                         &l->tensors) ||
                   check_total(l)
               ? -1
               : 0;
}

static int load_zip(struct load *l, bool (*wanted)(const char *name, void *context), void *context)
{
    struct torch_zip zip;
    struct pickle *p = NULL;
    int result = torch_zip_open(&zip, l->path);
    if (result == 0 && !(p = pickle_read(zip.pickle, zip.pickle_n, 0, l->path, NULL, NULL)))
        result = -1;
    if (result == 0 && pickle_end(p) != zip.pickle_n)
        result = fail("%s: data.pkl has bytes after its end", l->path);
    if (result == 0)
        result = find_tensors(l, p, wanted, context) || torch_zip_check(&zip, &l->storages) ||
                         make_frame(l) || torch_zip_read(&zip, &l->storages, use_storage, l)
                     ? -1
                     : 0;
    torch_storages_free(&l->storages);
    pickle_free(p);
    torch_zip_close(&zip);
    return result;
}

static int load_legacy(struct load *l, bool (*wanted)(const char *name, void *context),
                       void *context)
{
    struct torch_legacy file;
    const int result = torch_legacy_open(&file, l->path) ||
                               find_tensors(l, file.object, wanted, context) ||
                               torch_legacy_check(&file, &l->storages) || make_frame(l) ||
                               torch_legacy_read(&file, &l->storages, use_storage, l)
                           ? -1
                           : 0;
    torch_storages_free(&l->storages);
    torch_legacy_close(&file);
    return result;
}

struct frame *torch_file_load(const char *path, bool (*wanted)(const char *name, void *context),
                              void *context)
{
    struct load l = {.path = path};
    enum form form;
    int result = find_form(path, &form);
    if (result == 0)
        result =
            form == FORM_ZIP      ? load_zip(&l, wanted, context)
            : form == FORM_LEGACY ? load_legacy(&l, wanted, context)
            : form == FORM_TAR
                ? fail("%s: the tar form of PyTorch 0.1; save it again with a newer version", path)
                : fail("%s: not a file of torch.save()", path);
    torch_tensors_free(&l.tensors);
    if (result) {
        frame_free(l.frame);
        return NULL;
    }
    return l.frame;
}
