#include <string.h>

#include "base/fail.h"
#include "program/metas.h"
#include "program/stage_parts.h"

int stage_sync_add(const char *name, int64_t *values, size_t count, void *user)
{
    struct stage_run *run = user;
    const int64_t shape[] = {(int64_t)count};
    struct frame *f = frame_new(&(struct tensor_spec){name, DTYPE_I64, 1, {shape[0]}}, 1), *sum;
    if (!f)
        return -1;
    memcpy(frame_find(f, name)->data, values, count * sizeof *values);
    frame_set_meta(f, "kind", "statistics");
    metas_copy(f, run->step, (const char *const[]){"step", "rank", "world", NULL});
    if (link_request(run->sync, f, &sum))
        return -1;
    const struct tensor *t = frame_need(sum, name, DTYPE_I64, 1, shape);
    int bad = t ? 0 : fail_prefix("%s", link_name(run->sync));
    if (t && sum->n_tensors != 1) /* workers ran different networks, or in another order */
        bad = fail("%s: other workers sent another tensor than %s", link_name(run->sync), name);
    if (!bad)
        memcpy(values, t->data, t->bytes);
    frame_free(sum);
    return bad;
}
