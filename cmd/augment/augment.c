/* augment: images from disk (or drawn) into frames of random views. The source of every pipeline.
 */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment.h"
#include "batches.h"
#include "fail.h"
#include "link.h"
#include "options.h"
#include "signals.h"
#include "trace.h"

static const char *data = "", *format = "auto", *split = "train";
static const char *policy_name = "", *ops = "", *trace_path = "", *out = "-";
static const char *shard = "", *turn = "";
static int64_t batch = 512, n_views = 2, size, epochs = 100, steps, start, limit, grains, seed;
static int64_t n_threads, turn_of, turns = 1;
static bool views_given, epochs_given;

static const struct option_spec options[] = {
    {.kind = OPTION_HEADING, .help = "Data"},
    {"data", OPTION_STRING, &data, "PATH",
     .help = "folder with the images, or 'shapes': drawn ones"},
    {"format", OPTION_CHOICE, &format, "NAME", .help = "what lies there",
     .choices = dataset_formats},
    {"split", OPTION_CHOICE, &split, "NAME", .help = "which part of it", .choices = "train|test"},
    {"limit", OPTION_INT, &limit, "IMAGES", .help = "take the first so many (0: all)", .min = 0,
     .max = 4294967295.0},
    {.kind = OPTION_HEADING, .help = "Batches"},
    {"batch", OPTION_INT, &batch, "B", .help = "images in a global batch", .min = 1,
     .max = 1 << 24},
    {"epochs", OPTION_INT, &epochs, "E", .help = "passes over the data; 1 for evaluation", .min = 1,
     .max = 1e9, .given = &epochs_given},
    {"steps", OPTION_INT, &steps, "N", .help = "total batches, instead of epochs (0: epochs)",
     .min = 0, .max = 1e15},
    {"start", OPTION_INT, &start, "STEP", .help = "begin there, as if the steps before had run",
     .min = 0, .max = 1e15},
    {"shard", OPTION_STRING, &shard, "R/N", .help = "only rank R's rows of each batch, of N ranks"},
    {"turn", OPTION_STRING, &turn, "I/K", .help = "only every K-th step, from the I-th on"},
    {"grains", OPTION_INT, &grains, "G",
     .help = "runs of images that sums are made of; a power of two (0: up to 8)", .min = 0,
     .max = 1 << 24},
    {.kind = OPTION_HEADING, .help = "Views"},
    {"views", OPTION_INT, &n_views, "V", .help = "of each image; 1 for evaluation", .min = 1,
     .max = 1024, .given = &views_given},
    {"size", OPTION_INT, &size, "S", .help = "their pixels (0: 32 for 32-pixel images, else 224)",
     0, POLICY_MAX_SIZE},
    {"policy", OPTION_CHOICE, &policy_name, "NAME",
     .help = "operations (simclr-cifar up to 64 pixels)", .choices = "simclr|simclr-cifar|eval"},
    {"ops", OPTION_STRING, &ops, "LIST", .help = "operations one by one, instead of --policy"},
    {"seed", OPTION_INT, &seed, "N", .help = "of all that is drawn", .min = 0, .max = 9e15},
    {.kind = OPTION_HEADING, .help = "Running"},
    {"threads", OPTION_INT, &n_threads, "N", .help = "change the speed, never the result", .min = 1,
     .max = 1024},
    {"trace", OPTION_STRING, &trace_path, "FILE",
     .help = "write what was drawn, a JSON line per view"},
    {"out", OPTION_STRING, &out, "ENDPOINT", .help = "where frames go"},
    {0},
};

static const struct program program = {
    .name = "augment",
    .summary = "makes random views of images, in batches",
    .details = "Frames out: x U8 [B,V,S,S,3], y I64 [B] (-1: no label), index I64 [B];\n"
               "metadata step, steps, steps_per_epoch, batch, grains, epoch (rank, world).\n"
               "\n"
               "Operations of --ops, applied in order (with their defaults):\n"
               "  crop:0.08-1      share of the area; aspect 3/4 to 4/3; bicubic\n"
               "  center           for evaluation: keeps the order, drops nothing\n"
               "  flip:0.5         probability\n"
               "  jitter:0.8:1     probability, strength\n"
               "  gray:0.2         probability\n"
               "  blur:0.5:0.1-2   probability, sigma\n"
               "Policies: simclr is crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2;\n"
               "simclr-cifar is crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2; eval is center.\n"
               "\n"
               "Example: augment --data cifar-10-batches-bin --batch 128 --steps 1 | inspect",
    .options = {options, link_option_specs},
};

struct run {
    struct dataset *set;
    struct policy policy;
    struct batches batches;
    struct augment augment;
    struct sink *sink;
    FILE *trace;
    struct view *views; /* of a whole batch; only for the trace */
};

/* Reads "2/3", the value of --shard and --turn. */
static void parse_part(const char *flag, const char *value, const char *letters, int64_t *part,
                       int64_t *parts)
{
    long long i, n;
    int end = 0;
    if (sscanf(value, "%lld/%lld%n", &i, &n, &end) != 2 || value[end] != '\0' || i < 0 ||
        n > 65536 || i >= n)
        usage_fail("--%s %s: should be %c/%c, with %c from 0 to %c - 1", flag, value, letters[0],
                   letters[1], letters[0], letters[1]);
    *part = i;
    *parts = n;
}

/* What can be said of the flags before any data is seen; ends the program if they are wrong. The
 * default policy depends on the size, but is never one for evaluation. */
static void check_flags(struct run *run)
{
    if (*policy_name && *ops)
        usage_fail("--policy and --ops exclude each other");
    if (!*data && strcmp(format, "shapes") != 0)
        usage_fail("--data is missing (--data shapes needs no files)");
    const char *list = *ops ? ops : policy_ops(*policy_name ? policy_name : "simclr");
    if (policy_parse(&run->policy, list))
        usage_fail("--ops: %s", fail_message());
    struct batches *b = &run->batches;
    b->evaluation = policy_is_evaluation(&run->policy);
    if (b->evaluation && !views_given)
        n_views = 1;
    b->epochs = b->evaluation && !epochs_given ? 1 : epochs;
    b->batch = batch;
    b->steps = steps;
    b->grains = grains;
    b->seed = (uint64_t)seed;
    b->world = 1;
    if (*shard)
        parse_part("shard", shard, "RN", &b->rank, &b->world);
    if (*turn)
        parse_part("turn", turn, "IK", &turn_of, &turns);
    if (batches_check(b))
        usage_fail("%s", fail_message());
}

static int prepare_data(struct run *run)
{
    run->set = dataset_open(data, format, split, (int)size);
    if (!run->set)
        return -1;
    if (size == 0)
        size = dataset_native_size(run->set) == 32 ? 32 : 224;
    if (!*ops && !*policy_name && size <= 64 &&
        policy_parse(&run->policy, policy_ops("simclr-cifar")))
        return -1;
    const int64_t images = dataset_count(run->set);
    run->batches.images = limit && limit < images ? limit : images;
    if (batches_init(&run->batches))
        return fail("%s: %s", *data ? data : format, fail_message());
    if (start > run->batches.steps)
        return fail("--start %lld: there are %lld steps", (long long)start,
                    (long long)run->batches.steps);
    run->augment = (struct augment){.set = run->set,
                                    .policy = &run->policy,
                                    .size = (int)size,
                                    .n_views = (int)n_views,
                                    .n_threads = (int)n_threads,
                                    .seed = (uint64_t)seed};
    return augment_init(&run->augment);
}

static int prepare_output(struct run *run)
{
    if (*trace_path) {
        run->trace = fopen(trace_path, "we");
        run->views = calloc((size_t)batch, (size_t)n_views * sizeof *run->views);
        if (!run->trace || !run->views)
            return fail("%s: %s", trace_path, strerror(errno));
    }
    run->sink = sink_open(out, &link_config);
    return run->sink ? 0 : -1;
}

static void set_metas(struct frame *f, const struct batches *b, const struct batch *row)
{
    frame_set_meta_int(f, "step", row->step);
    frame_set_meta_int(f, "steps", b->steps);
    frame_set_meta_int(f, "steps_per_epoch", b->steps_per_epoch);
    frame_set_meta_int(f, "batch", row->rows);
    frame_set_meta_int(f, "grains", row->grains);
    frame_set_meta_int(f, "epoch", row->epoch);
    if (*shard) {
        frame_set_meta_int(f, "rank", b->rank);
        frame_set_meta_int(f, "world", b->world);
    }
}

/* The frame of a step, views written straight into it; NULL with a message. */
static struct frame *make_frame(struct run *run, int64_t step)
{
    struct batch b;
    batches_get(&run->batches, step, &b);
    const struct tensor_spec specs[] = {
        {"x", DTYPE_U8, 5, {b.count, n_views, size, size, 3}},
        {"y", DTYPE_I64, 1, {b.count}},
        {"index", DTYPE_I64, 1, {b.count}},
    };
    struct frame *f = frame_new(specs, 3);
    if (!f)
        return NULL;
    set_metas(f, &run->batches, &b);
    int64_t *index = frame_find(f, "index")->data;
    for (int64_t i = 0; i < b.count; i++)
        index[i] = batches_image(&run->batches, &b, i);
    int result = augment_fill(&run->augment, b.epoch, index, b.count, frame_find(f, "x")->data,
                              frame_find(f, "y")->data, run->views);
    if (result == 0 && run->trace)
        result =
            trace_views(run->trace, trace_path, b.epoch, index, b.count, (int)n_views, run->views);
    if (result == 0)
        return f;
    frame_free(f);
    return NULL;
}

static int write_frames(struct run *run)
{
    for (int64_t step = start + turn_of; step < run->batches.steps; step += turns) {
        struct frame *f = make_frame(run, step);
        if (!f || sink_write(run->sink, f) || stop_check())
            return -1;
    }
    return 0;
}

/* Closes what is open. The stream ends well only if everything before did. */
static int finish(struct run *run, int result)
{
    if (run->trace && fclose(run->trace) != 0 && result == 0)
        result = fail("%s: %s", trace_path, strerror(errno));
    if (run->sink && result == 0)
        result = sink_end(run->sink);
    else if (run->sink)
        sink_abandon(run->sink);
    free(run->views);
    augment_free(&run->augment);
    batches_free(&run->batches);
    dataset_close(run->set);
    return result;
}

int main(int argc, char **argv)
{
    n_threads = omp_get_max_threads();
    signals_setup();
    options_parse(&program, argc, argv, NULL);

    struct run run = {0};
    check_flags(&run);
    const int result = prepare_data(&run) || prepare_output(&run) || write_frames(&run) ? -1 : 0;
    return finish(&run, result) == 0 ? 0 : program_fail();
}
