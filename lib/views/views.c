#include "views/views.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/warn.h"
#include "data/sizes.h"
#include "views/series.h"
#include "views/trace.h"

enum { CIFAR_UP_TO = SIZES_SMALL, LARGE = 224 }; /* pixels a side */

int views_parse(struct views *v)
{
    v->series = dataset_holds_series(v->images->data, v->images->format);
    const char *name = *v->policy ? v->policy : v->series ? "simclr-series" : "simclr";
    const struct op_table *table = v->series ? &series_ops : &image_ops;
    const char *list = *v->ops ? v->ops : policy_ops_from(table, name);
    if (!list)
        return fail("--policy %s: not for %s", name, v->series ? "series" : "images");
    if (policy_parse_from(table, &v->policies[0], list))
        return fail("--ops: %s", fail_message());
    if (*v->ops2 && policy_parse_from(table, &v->policies[1], v->ops2))
        return fail("--ops2: %s", fail_message());
    return 0;
}

int views_check(struct views *v)
{
    if (*v->ops2 && v->n_views == 1)
        return fail("--ops2: there is no second view");
    v->outcome = -1;
    if (strcmp(v->target, "class") == 0)
        return 0;
    if (v->series)
        return fail("--target %s: of series y is the class", v->target);
    if (v->n_views != 1)
        return fail("--target %s: y tells of one view: --views 1", v->target);
    if (!*v->ops && !*v->policy)
        return fail("--target %s: --ops or --policy has to say what is drawn", v->target);
    v->outcome = policy_target(&v->policies[0], v->target);
    return v->outcome >= 0 ? 0 : fail_prefix("--target %s", v->target);
}

static int choose_size(struct views *v)
{
    int agree, looked_at;
    const int native = dataset_native_size(v->images->set, &agree, &looked_at);
    if (v->size == 0) {
        v->size = v->series || (native > 0 && native <= CIFAR_UP_TO) ? native : LARGE;
        if (agree < looked_at)
            warn_line("%s: views of %lld pixels, which suits %d of %d images that were looked "
                      "at; --size S decides otherwise",
                      v->images->data, (long long)v->size, agree, looked_at);
    }
    if (v->series || *v->ops || *v->policy || v->size > CIFAR_UP_TO)
        return 0;
    return policy_parse(&v->policies[0], policy_ops("simclr-cifar"));
}

/* Decoded images stay if an epoch will come back to them. */
static int prepare_cache(struct views *v)
{
    const struct data_source *s = v->images;
    if (v->reduced || s->batches.steps <= s->batches.steps_per_epoch || dataset_is_stream(s->set) ||
        !dataset_is_costly(s->set))
        return 0;
    const int64_t left = s->cache - dataset_held(s->set);
    v->keep = image_cache_new(dataset_count(s->set), left > 0 ? left : 0);
    return v->keep ? 0 : -1;
}

static int prepare_augment(struct views *v)
{
    struct data_source *s = v->images;
    v->augment = (struct augment){.rows = &s->rows,
                                  .policies = {&v->policies[0], &v->policies[*v->ops2 ? 1 : 0]},
                                  .keep = v->keep,
                                  .skips = s->skips,
                                  .size = (int)v->size,
                                  .channels = dataset_channels(s->set),
                                  .n_views = (int)v->n_views,
                                  .n_threads = (int)v->n_threads,
                                  .seed = s->batches.seed,
                                  .orient = v->orient,
                                  .reduced = v->reduced};
    return augment_init(&v->augment);
}

/* Room for what was drawn, if somebody asks. */
static int prepare_drawn(struct views *v)
{
    const int64_t batch = v->images->batches.batch;
    if (*v->trace) {
        v->trace_file = fopen(v->trace, "we");
        if (!v->trace_file)
            return fail("%s: %s", v->trace, strerror(errno));
    }
    if (!*v->trace && v->outcome < 0)
        return 0;
    v->drawn = calloc((size_t)batch, (size_t)v->n_views * sizeof *v->drawn);
    return v->drawn ? 0 : fail("out of memory for %lld views", (long long)(batch * v->n_views));
}

int views_open(struct views *v)
{
    const int64_t steps = v->images->batches.steps;
    if (v->start > steps)
        return fail("--start %lld: there are %lld steps", (long long)v->start, (long long)steps);
    v->step = v->start + v->turn;
    return choose_size(v) || prepare_cache(v) || prepare_augment(v) || prepare_drawn(v) ? -1 : 0;
}

/* A name as JSON has it: bytes that are no UTF-8 are shown as \\xNN, so that names stay different.
 */
static json_t *to_json(const char *name)
{
    json_t *text = json_string(name);
    if (text)
        return text;
    char *escaped = malloc(4 * strlen(name) + 1);
    size_t n = 0;
    for (; escaped && *name; name++)
        n += (size_t)sprintf(escaped + n, (unsigned char)*name < 128 ? "%c" : "\\x%02x",
                             (unsigned char)*name);
    text = escaped ? json_string(escaped) : NULL;
    free(escaped);
    return text;
}

/* Names of classes travel once, with the stream's first frame. */
static int set_class_names(struct frame *f, const struct views *v)
{
    const char *const *names = dataset_class_names(v->images->set);
    json_t *list = json_array();
    for (int i = 0; list && i < dataset_classes(v->images->set); i++)
        if (json_array_append_new(list, to_json(names[i]))) {
            json_decref(list);
            list = NULL;
        }
    char *text = list ? json_dumps(list, JSON_COMPACT) : NULL;
    if (text)
        frame_set_meta(f, "class_names", text);
    json_decref(list);
    free(text);
    return text ? 0 : fail("out of memory for the names of classes");
}

static void set_metas(struct frame *f, const struct views *v, const struct batch *row)
{
    const struct sampler *b = &v->images->batches;
    const int classes = v->outcome < 0            ? dataset_classes(v->images->set)
                        : v->outcome == OP_ROTATE ? 4
                                                  : 2;
    frame_set_meta_int(f, "step", row->step);
    frame_set_meta_int(f, "steps", b->steps);
    frame_set_meta_int(f, "steps_per_epoch", b->steps_per_epoch);
    frame_set_meta_int(f, "batch", row->rows);
    if (dataset_count(v->images->set) >= 0 || v->images->wish.limit)
        frame_set_meta_int(f, "images", b->images);
    frame_set_meta_int(f, "grains", row->grains);
    frame_set_meta_int(f, "epoch", row->epoch);
    if (classes)
        frame_set_meta_int(f, "classes", classes);
    if (v->sharded) {
        frame_set_meta_int(f, "rank", b->rank);
        frame_set_meta_int(f, "world", b->world);
    }
}

static int trace_drawn(struct views *v, const struct batch *b, const struct frame *f)
{
    return v->trace_file
               ? trace_views(v->trace_file, v->trace, b->epoch, frame_find(f, "index")->data,
                             b->count, (int)v->n_views, v->drawn)
               : 0;
}

static void set_outcomes(const struct views *v, struct frame *f)
{
    const struct tensor *y = frame_find(f, "y");
    for (int64_t i = 0; i < y->shape[0]; i++)
        ((int64_t *)y->data)[i] = view_outcome(&v->drawn[i], (enum op_kind)v->outcome);
}

int views_next(void *user, const atomic_bool *stop, struct frame **out)
{
    struct views *v = user;
    struct batch b;
    if (v->step >= v->images->batches.steps)
        return 0;
    v->augment.stop = stop;
    struct frame *f = augment_frame(&v->augment, v->step, &b, v->drawn);
    if (!f)
        return -1;
    if (trace_drawn(v, &b, f)) {
        frame_free(f);
        return -1;
    }
    if (v->outcome >= 0)
        set_outcomes(v, f);
    set_metas(f, v, &b);
    if (v->outcome < 0 && !v->named && dataset_class_names(v->images->set) &&
        set_class_names(f, v)) {
        frame_free(f);
        return -1;
    }
    v->named = true;
    v->step += v->turns;
    *out = f;
    return 1;
}

int views_end(struct views *v)
{
    FILE *file = v->trace_file;
    v->trace_file = NULL;
    const int lost = file ? flush_file(file, v->trace) : 0;
    return file && fclose(file) != 0 && !lost ? fail("%s: %s", v->trace, strerror(errno)) : lost;
}

void views_close(struct views *v)
{
    if (v->trace_file)
        fclose(v->trace_file);
    free(v->drawn);
    augment_free(&v->augment);
    image_cache_free(v->keep);
}
