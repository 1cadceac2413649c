#include "program/parameter_frames.h"

#include <string.h>

#include "base/fail.h"
#include "base/half.h"

enum dtype parameter_frames_dtype(const struct parameter *p)
{
    return p->type == PARAMETER_FLOAT ? DTYPE_F32 : DTYPE_I64;
}

const struct tensor *parameter_frames_need(const struct parameter *p, const struct frame *f)
{
    const struct tensor *t = frame_find(f, p->name);
    const enum dtype own = parameter_frames_dtype(p);
    const bool half = own == DTYPE_F32 && t && t->dtype == DTYPE_BF16;
    return frame_need(f, p->name, half ? DTYPE_BF16 : own, p->ndim, p->shape);
}

int parameter_frames_check(const struct parameters *p, const struct frame *f, const char *where)
{
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        if (frame_find(f, a->name) && !parameter_frames_need(a, f))
            return fail_prefix("%s", where);
    }
    return 0;
}

void parameter_frames_copy(struct parameters *p, const struct frame *f)
{
    for (int i = 0; i < p->n; i++) {
        const struct tensor *t = frame_find(f, p->list[i].name);
        if (t && t->dtype == DTYPE_BF16)
            half_widen_bf16(t->data, p->list[i].value, p->list[i].count);
        else if (t && p->list[i].value != t->data)
            memcpy(p->list[i].value, t->data, t->bytes);
    }
}

int parameter_frames_load(struct parameters *p, const struct frame *f, const char *where)
{
    if (parameter_frames_check(p, f, where))
        return -1;
    parameter_frames_copy(p, f);
    return 0;
}
