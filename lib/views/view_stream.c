#include "views/view_stream.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/warn.h"
#include "data/size_sample.h"
#include "views/trace.h"

enum { CIFAR_UP_TO = SIZE_SAMPLE_SMALL, LARGE = 224 }; /* pixels a side */

int view_stream_parse(struct view_stream *v)
{
    const bool series = dataset_holds_series(v->images->data, v->images->format);
    v->operations = series ? &operations_on_series : &operations_on_images;
    const char *name = *v->policy ? v->policy : series ? "simclr-series" : "simclr";
    const char *list = *v->ops ? v->ops : policy_ops(v->operations, name);
    if (!list)
        return fail("--policy %s: not for %s", name, v->operations->data);
    if (policy_parse(&v->policies[0], v->operations, list))
        return fail_prefix("--ops");
    if (*v->ops2 && policy_parse(&v->policies[1], v->operations, v->ops2))
        return fail_prefix("--ops2");
    return 0;
}

int view_stream_check(struct view_stream *v)
{
    if (*v->ops2 && v->n_views == 1)
        return fail("--ops2: there is no second view");
    v->outcome = NULL;
    if (strcmp(v->target, "class") == 0)
        return 0;
    if (v->operations == &operations_on_series)
        return fail("--target %s: of series y is the class", v->target);
    if (v->n_views != 1)
        return fail("--target %s: y is the label of one view: --views 1", v->target);
    if (!*v->ops && !*v->policy)
        return fail("--target %s: --ops or --policy has to say what is drawn", v->target);
    v->outcome = policy_target(&v->policies[0], v->target);
    return v->outcome ? 0 : fail_prefix("--target %s", v->target);
}

static int choose_size(struct view_stream *v)
{
    const bool series = v->operations == &operations_on_series;
    int agree, looked_at;
    const int native = dataset_native_size(v->images->set, &agree, &looked_at);
    if (v->size == 0) {
        v->size = series || (native > 0 && native <= CIFAR_UP_TO) ? native : LARGE;
        if (agree < looked_at)
            warn_line("%s: views of %lld pixels, which suits %d of %d images that were looked "
                      "at; --size S decides otherwise",
                      v->images->data, (long long)v->size, agree, looked_at);
    }
    if (series || *v->ops || *v->policy || v->size > CIFAR_UP_TO)
        return 0;
    return policy_parse(&v->policies[0], v->operations, "simclr-cifar");
}

/* Refuses operations that compute with colours, which images of other than 3 channels lack. */
static int check_colours(const struct view_stream *v, int channels)
{
    for (int p = 0; p < (*v->ops2 ? 2 : 1) && channels != 3; p++)
        for (int i = 0; i < v->policies[p].n_ops; i++) {
            const struct operation *operation = v->policies[p].ops[i].operation;
            if (operation->colours)
                return fail("%s: %s computes with red, green and blue, and its images have %d "
                            "channel%s: choose others, for example --ops crop,flip,blur",
                            v->images->data, operation->name, channels, channels == 1 ? "" : "s");
        }
    return 0;
}

/* Decides whether x has RGB of 8 bits, or floats of the images' own channels. */
static int choose_channels(struct view_stream *v)
{
    bool no_rgb;
    const struct image_kind kind = dataset_kind(v->images->set, &no_rgb);
    const bool raw = strcmp(v->pixels, "raw") == 0 || (strcmp(v->pixels, "auto") == 0 && no_rgb);
    v->raw = raw ? image_channels(kind) : 0;
    if (v->operations == &operations_on_series)
        return strcmp(v->pixels, "auto") == 0 ? 0 : fail("--pixels %s: for images", v->pixels);
    if (no_rgb && !raw)
        return fail("%s: the %d channels of its images are not RGB of 8 bits (--pixels raw)",
                    v->images->data, image_channels(kind));
    return raw ? check_colours(v, v->raw) : 0;
}

/* Creates the cache of decoded images if a later epoch will read the images again. */
static int prepare_cache(struct view_stream *v)
{
    const struct data_source *source = v->images;
    if (v->reduced || source->sampler.steps <= source->sampler.steps_per_epoch ||
        dataset_is_stream(source->set) || !dataset_is_costly(source->set))
        return 0;
    const int64_t left = source->cache - dataset_bytes_held(source->set);
    v->cache = image_cache_new(dataset_count(source->set), left > 0 ? left : 0);
    return v->cache ? 0 : -1;
}

static int prepare_augment(struct view_stream *v)
{
    struct data_source *source = v->images;
    v->augment = (struct augment){.reader = &source->reader,
                                  .policies = {&v->policies[0], &v->policies[*v->ops2 ? 1 : 0]},
                                  .cache = v->cache,
                                  .errors = source->errors,
                                  .size = (int)v->size,
                                  .channels = dataset_channels(source->set),
                                  .raw = v->operations == &operations_on_series ? 0 : v->raw,
                                  .n_views = (int)v->n_views,
                                  .n_threads = (int)v->n_threads,
                                  .seed = source->sampler.seed,
                                  .orient = v->orient,
                                  .reduced = v->reduced};
    return augment_init(&v->augment);
}

/* Opens the trace, and reserves memory for what is drawn if the trace or a target needs it. */
static int prepare_drawn(struct view_stream *v)
{
    const int64_t batch = v->images->sampler.batch;
    if (*v->trace) {
        v->trace_file = fopen(v->trace, "we");
        if (!v->trace_file)
            return fail("%s: %s", v->trace, strerror(errno));
    }
    if (!*v->trace && !v->outcome)
        return 0;
    v->drawn = calloc((size_t)batch, (size_t)v->n_views * sizeof *v->drawn);
    return v->drawn ? 0 : fail("out of memory for %lld views", (long long)(batch * v->n_views));
}

int view_stream_open(struct view_stream *v)
{
    const int64_t steps = v->images->sampler.steps;
    if (v->start > steps)
        return fail("--start %lld: there are %lld steps", (long long)v->start, (long long)steps);
    v->step = v->start + v->turn;
    return choose_size(v) || choose_channels(v) || prepare_cache(v) || prepare_augment(v) ||
                   prepare_drawn(v)
               ? -1
               : 0;
}

/* Returns a name as JSON. If the name is not UTF-8, its bytes from 128 on become \\xNN, so that
 * different names stay different. Returns NULL if memory is out. */
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

/* Writes the names of the classes into a frame, which is the first one of the stream. */
static int set_class_names(struct frame *f, const struct view_stream *v)
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

static void set_metas(struct frame *f, const struct view_stream *v, const struct batch *row)
{
    const struct sampler *b = &v->images->sampler;
    const int classes = !v->outcome                  ? dataset_classes(v->images->set)
                        : v->outcome->n_outcomes > 1 ? 1 + v->outcome->n_outcomes
                                                     : 2;
    frame_set_meta_int(f, "step", row->step);
    frame_set_meta_int(f, "steps", b->steps);
    frame_set_meta_int(f, "steps_per_epoch", b->steps_per_epoch);
    frame_set_meta_int(f, "batch", row->rows);
    if (dataset_count(v->images->set) >= 0 || v->images->subset_options.limit)
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

static void set_outcomes(const struct view_stream *v, struct frame *f)
{
    const struct tensor *y = frame_find(f, "y");
    for (int64_t i = 0; i < y->shape[0]; i++)
        ((int64_t *)y->data)[i] = view_outcome(&v->drawn[i], v->outcome);
}

/* Completes the frame of a batch with labels and metadata, and writes its lines of the trace. */
static int finish_frame(struct view_stream *v, struct frame *f, const struct batch *b)
{
    if (v->trace_file &&
        trace_views(v->trace_file, v->trace, b->epoch, frame_find(f, "index")->data, b->count,
                    (int)v->n_views, v->drawn))
        return -1;
    if (v->outcome)
        set_outcomes(v, f);
    set_metas(f, v, b);
    const bool names = !v->outcome && !v->named && dataset_class_names(v->images->set);
    v->named = true;
    return names ? set_class_names(f, v) : 0;
}

enum prefetch_result view_stream_next(void *user, const atomic_bool *stop, struct frame **out)
{
    struct view_stream *v = user;
    struct batch b;
    if (v->step >= v->images->sampler.steps)
        return PREFETCH_END;
    v->augment.stop = stop;
    *out = augment_frame(&v->augment, v->step, &b, v->drawn);
    if (!*out)
        return PREFETCH_FAILED;
    if (finish_frame(v, *out, &b)) {
        frame_free(*out);
        return PREFETCH_FAILED;
    }
    v->step += v->turns;
    return PREFETCH_FRAME;
}

int view_stream_end(struct view_stream *v)
{
    FILE *file = v->trace_file;
    v->trace_file = NULL;
    const int lost = file ? flush_file(file, v->trace) : 0;
    return file && fclose(file) != 0 && !lost ? fail("%s: %s", v->trace, strerror(errno)) : lost;
}

void view_stream_close(struct view_stream *v)
{
    if (v->trace_file)
        fclose(v->trace_file);
    free(v->drawn);
    augment_free(&v->augment);
    image_cache_free(v->cache);
}
