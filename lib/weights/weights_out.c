#include "weights/weights_out.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "frame/frame_io.h"

static struct tensor tensor_of(const struct parameter *p)
{
    struct tensor t = {.name = p->name,
                       .dtype = p->type == PARAMETER_FLOAT ? DTYPE_F32 : DTYPE_I64,
                       .ndim = p->ndim,
                       .bytes = parameters_bytes(p),
                       .data = p->value};
    memcpy(t.shape, p->shape, sizeof p->shape);
    return t;
}

int weights_out_join(struct plan *const *plans, int n, struct parameters *all)
{
    *all = (struct parameters){0};
    for (int i = 0; i < n; i++)
        for (int k = 0; plans[i] && k < plans[i]->parameters.n; k++) {
            struct parameter *list = grow(all->list, all->n, &all->room, sizeof *list);
            if (!list)
                return fail_memory(NULL);
            all->list = list;
            all->list[all->n++] = plans[i]->parameters.list[k];
        }
    return 0;
}

struct tensor *weights_out_list(const struct parameters *p)
{
    struct tensor *list = calloc((size_t)p->n, sizeof *list);
    if (!list)
        fail_memory(NULL);
    for (int i = 0; list && i < p->n; i++)
        list[i] = tensor_of(&p->list[i]);
    return list;
}

int weights_out_save(const struct tensor *list, int count, const struct frame *metas,
                     const char *path)
{
    struct tensor_spec *specs = calloc((size_t)count, sizeof *specs);
    if (!specs)
        return fail_memory(path);
    for (int i = 0; i < count; i++)
        specs[i] = tensor_spec_of(&list[i]);
    struct frame *f = frame_new_unset(specs, count);
    free(specs);
    if (!f)
        return fail_prefix("%s", path);
    for (int i = 0; i < count; i++)
        memcpy(frame_find(f, list[i].name)->data, list[i].data, list[i].bytes);
    frame_inherit_metas(f, metas);
    const int bad = frame_save(f, path);
    frame_free(f);
    return bad;
}
