#include "report/rows.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"

enum { MOST = 64, NAME = 512 };

/* Writes row i of n, with a tab before each value but the line's first. */
static void write_row(FILE *file, const struct tensor *t, size_t i, size_t n, const char **tab)
{
    const size_t values = tensor_count(t) / n;
    for (size_t at = i * values; at < (i + 1) * values; at++) {
        float widened;
        fputs(*tab, file);
        *tab = "\t";
        switch (t->dtype) {
        case DTYPE_U8:
            fprintf(file, "%u", (unsigned)((const uint8_t *)t->data)[at]);
            break;
        case DTYPE_I32:
            fprintf(file, "%" PRId32, ((const int32_t *)t->data)[at]);
            break;
        case DTYPE_I64:
            fprintf(file, "%" PRId64, ((const int64_t *)t->data)[at]);
            break;
        case DTYPE_F32:
            fprintf(file, "%.9g", (double)((const float *)t->data)[at]);
            break;
        case DTYPE_BF16:
            half_widen_bf16((const uint16_t *)t->data + at, &widened, 1);
            fprintf(file, "%.9g", (double)widened);
            break;
        case DTYPE_F16:
            half_widen_f16((const uint16_t *)t->data + at, &widened, 1);
            fprintf(file, "%.9g", (double)widened);
            break;
        case DTYPE_COUNT:
            break;
        }
    }
}

int rows_write(FILE *file, const struct frame *f, const char *names)
{
    const struct tensor *tensors[MOST];
    int n = 0;
    for (const char *at = names; *at; at += strcspn(at, ","), at += *at == ',') {
        char name[NAME];
        const size_t length = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < NAME ? length : NAME - 1), at);
        if (n == MOST)
            return fail("more than %d tensors", MOST);
        const struct tensor *t = tensors[n++] = frame_find(f, name);
        if (!t)
            return fail("the frame has no tensor '%s'", name);
        if (t->ndim == 0 || t->shape[0] != tensors[0]->shape[0])
            return fail("%s and %s do not have the same number of rows", tensors[0]->name, t->name);
    }
    for (int64_t i = 0; n && i < tensors[0]->shape[0]; i++) {
        const char *tab = "";
        for (int k = 0; k < n; k++)
            write_row(file, tensors[k], (size_t)i, (size_t)tensors[0]->shape[0], &tab);
        fputc('\n', file);
    }
    return 0;
}
