#include "views/trace.h"

#include <jansson.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "views/series.h"

static const char *const jitter_names[JITTER_COUNT] = {"brightness", "contrast", "saturation",
                                                       "hue"};

static json_t *encode_box(const char *op, struct box box)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:i}", "op", op, "x", box.x, "y", box.y, "w", box.w, "h",
                     box.h);
}

static json_t *encode_noise(const char *op, const struct applied *a)
{
    return json_pack("{s:s,s:f,s:[I,I],s:[I,I,I,I]}", "op", op, "sigma", (double)a->sigma, "key",
                     (json_int_t)a->key[0], (json_int_t)a->key[1], "counter",
                     (json_int_t)a->counter[0], (json_int_t)a->counter[1],
                     (json_int_t)a->counter[2], (json_int_t)a->counter[3]);
}

static json_t *encode_op(const struct applied *a)
{
    switch ((enum op_kind)a->kind) {
    case OP_CROP:
        return encode_box("crop", a->box);
    case OP_CENTER:
        return encode_box("center", a->box);
    case OP_CUTOUT:
        return encode_box("cutout", a->box);
    case OP_SOLARIZE:
        return json_pack("{s:s,s:f}", "op", "solarize", "threshold", (double)a->threshold);
    case OP_ROTATE:
        return json_pack("{s:s,s:i}", "op", "rotate", "degrees", 90 * a->quarters);
    case OP_NOISE:
        return encode_noise("noise", a);
    case OP_SOBEL:
        return json_pack("{s:s}", "op", "sobel");
    case OP_FLIP:
        return json_pack("{s:s}", "op", "flip");
    case OP_GRAY:
        return json_pack("{s:s}", "op", "gray");
    case OP_BLUR:
        return json_pack("{s:s,s:f,s:i}", "op", "blur", "sigma", (double)a->sigma, "kernel",
                         a->kernel);
    case OP_JITTER:
        return json_pack(
            "{s:s,s:[s,s,s,s],s:f,s:f,s:f,s:f}", "op", "jitter", "order", jitter_names[a->order[0]],
            jitter_names[a->order[1]], jitter_names[a->order[2]], jitter_names[a->order[3]],
            jitter_names[0], (double)a->factors[0], jitter_names[1], (double)a->factors[1],
            jitter_names[2], (double)a->factors[2], jitter_names[3], (double)a->factors[3]);
    case OP_COUNT:
        break;
    }
    return NULL;
}

static json_t *encode_run(const char *op, struct box box)
{
    return json_pack("{s:s,s:i,s:i}", "op", op, "start", box.x, "length", box.w);
}

static json_t *encode_permutation(const struct applied *a)
{
    json_t *cuts = json_array(), *order = json_array();
    for (int i = 0; i < a->n_segments; i++) {
        if (i)
            json_array_append_new(cuts, json_integer(a->cuts[i]));
        json_array_append_new(order, json_integer(a->order_of_segments[i]));
    }
    return json_pack("{s:s,s:o,s:o}", "op", "permutation", "cuts", cuts, "order", order);
}

static json_t *encode_series_op(const struct applied *a)
{
    switch ((enum series_op)a->kind) {
    case SERIES_CROP:
        return encode_run("crop", a->box);
    case SERIES_CENTER:
        return encode_run("center", a->box);
    case SERIES_JITTER:
        return encode_noise("jitter", a);
    case SERIES_SCALING:
        return json_pack("{s:s,s:f}", "op", "scaling", "factor", (double)a->factor);
    case SERIES_TREND:
        return json_pack("{s:s,s:f,s:f}", "op", "trend", "offset", (double)a->offset, "slope",
                         (double)a->slope);
    case SERIES_MASK:
        return encode_run("mask", a->box);
    case SERIES_PERMUTATION:
        return encode_permutation(a);
    case SERIES_OP_COUNT:
        break;
    }
    return NULL;
}

static int write_view(FILE *file, int64_t epoch, int64_t index, int number, const struct view *view)
{
    json_t *ops = json_array();
    for (int i = 0; i < view->n_ops; i++)
        if (json_array_append_new(ops, view->series ? encode_series_op(&view->ops[i])
                                                    : encode_op(&view->ops[i])) != 0) {
            json_decref(ops);
            return -1;
        }
    json_t *line = json_pack("{s:I,s:I,s:i,s:o}", "epoch", (json_int_t)epoch, "index",
                             (json_int_t)index, "view", number, "ops", ops);
    if (line && view->reduction != 1)
        json_object_set_new(line, "reduction", json_integer(view->reduction));
    const int result = line ? json_dumpf(line, file, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -1;
    json_decref(line);
    return result == 0 && putc('\n', file) != EOF ? 0 : -1;
}

int trace_views(FILE *file, const char *path, int64_t epoch, const int64_t *index, int64_t n,
                int n_views, const struct view *views)
{
    for (int64_t i = 0; i < n; i++)
        for (int v = 0; v < n_views; v++)
            if (write_view(file, epoch, index[i], v, &views[i * n_views + v]) != 0)
                return flush_file(file, path) ? -1 : fail_memory(path);
    return 0;
}
