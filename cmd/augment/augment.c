/* augment: images from disk (or drawn) into frames of random views. The source of every pipeline.
 */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ahead.h"
#include "augment.h"
#include "batches.h"
#include "fail.h"
#include "link.h"
#include "options.h"
#include "signals.h"
#include "trace.h"

/* Bytes that a shuffle buffer may have, however small --cache is. */
enum { MIN_BUFFER = 256 << 20 };

static const char *data = "", *format = "auto", *split = "train";
static const char *policy_name = "", *ops = "", *ops2 = "", *trace_path = "", *out = "-";
static const char *shard = "", *turn = "";
static const char *on_error = "skip";
static int64_t batch = 512, n_views = 2, size, epochs = 100, steps, start, limit, grains, seed;
static int64_t n_threads, turn_of, turns = 1, cache = 1 << 30, ahead = 64 << 20, shuffle = 8192;
static bool views_given, epochs_given, orient, reduced;

static const struct option_spec options[] = {
    {.kind = OPTION_HEADING, .help = "Data"},
    {"data", OPTION_STRING, &data, "PATH",
     .help = "folder, archive, list of archives, '-': stdin, or 'shapes': drawn ones"},
    {"format", OPTION_CHOICE, &format, "NAME", .help = "what lies there",
     .choices = dataset_formats},
    {"split", OPTION_CHOICE, &split, "NAME", .help = "which part of it", .choices = "train|test"},
    {"limit", OPTION_INT, &limit, "IMAGES", .help = "take the first so many (0: all)", .min = 0,
     .max = 4294967295.0},
    {"on-error", OPTION_CHOICE, &on_error, "WHAT",
     .help = "an unreadable image: skip it, up to 1 % of all, or stop", .choices = "skip|stop"},
    {"cache", OPTION_BYTES, &cache, "BYTES", .help = "of images to keep in memory", .min = 0,
     .max = 1e15},
    {"shuffle", OPTION_INT, &shuffle, "IMAGES", .help = "in the shuffle buffer of a stream",
     .min = 1, .max = 1 << 28},
    {"orient", OPTION_SWITCH, &orient, .help = "turn JPEGs as their EXIF orientation says"},
    {"reduced", OPTION_SWITCH, &reduced,
     .help =
         "decode JPEGs at 1/2, 1/4 or 1/8 where no crop needs more: faster, not quite the same"},
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
    {"size", OPTION_INT, &size, "S",
     .help = "their pixels (0: as square images up to 64 have, else 224)", 0, POLICY_MAX_SIZE},
    {"policy", OPTION_CHOICE, &policy_name, "NAME",
     .help = "operations (simclr-cifar up to 64 pixels)", .choices = "simclr|simclr-cifar|eval"},
    {"ops", OPTION_STRING, &ops, "LIST", .help = "operations one by one, instead of --policy"},
    {"ops2", OPTION_STRING, &ops2, "LIST",
     .help = "those of every view but the first (the same as the first's)"},
    {"seed", OPTION_INT, &seed, "N", .help = "of all that is drawn", .min = 0, .max = 9e15},
    {.kind = OPTION_HEADING, .help = "Running"},
    {"threads", OPTION_INT, &n_threads, "N", .help = "change the speed, never the result", .min = 1,
     .max = 1024},
    {"ahead", OPTION_BYTES, &ahead, "BYTES", .help = "of frames made before they can be written",
     .min = 0, .max = 1e15},
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
               "Operations of --ops and --ops2, applied in order (with their defaults):\n"
               "  crop:0.08-1:1:0.75-1.3333  share of the area, probability, aspect; bicubic\n"
               "  center                     for evaluation: keeps the order, drops nothing\n"
               "  flip:0.5                   probability\n"
               "  jitter:0.8:1               probability, strength\n"
               "  gray:0.2                   probability\n"
               "  blur:0.5:0.1-2             probability, sigma in pixels\n"
               "  solarize:0.2:0.5           probability, threshold (0 black, 1 white)\n"
               "  cutout:1:0.5-0.5           probability, side of the grey square (1: the view's)\n"
               "  rotate:0.75                probability of 90, 180 or 270 degrees\n"
               "  noise:0.5:0-0.1            probability, sigma (white is 1)\n"
               "  sobel:0.5                  probability of showing edges\n"
               "A policy's name stands for its list, as in simclr,solarize:\n"
               "  simclr        crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2\n"
               "  simclr-cifar  crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2\n"
               "  eval          center\n"
               "\n"
               "Example: augment --data cifar-10-batches-bin --batch 128 --steps 1 | inspect",
    .options = {options, link_option_specs},
};

struct run {
    struct skips *skips;
    struct dataset *set;
    struct keep *keep;
    struct policy policy, policy2; /* of the first view, of the others */
    struct batches batches;
    struct rows rows;
    struct augment augment;
    struct ahead *ahead;
    int64_t step; /* of the next frame to be made */
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
    if (*ops2 && policy_parse(&run->policy2, ops2))
        usage_fail("--ops2: %s", fail_message());
    struct batches *b = &run->batches;
    b->evaluation = policy_is_evaluation(&run->policy);
    if (b->evaluation && !views_given)
        n_views = 1;
    if (*ops2 && n_views == 1)
        usage_fail("--ops2: there is no second view");
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

/* How many images an epoch is made of. */
static int count_images(struct run *run)
{
    struct batches *b = &run->batches;
    const int64_t images = dataset_count(run->set);
    b->images = limit && (images < 0 || limit < images) ? limit : images;
    if (images >= 0)
        return 0;
    if (epochs_given && epochs > 1)
        return fail("%s: more than --cache holds, and it comes once: not --epochs %lld", data,
                    (long long)epochs);
    b->epochs = 1;
    if (!limit && !steps)
        return fail("%s: more than --cache holds: --steps or --limit has to say how much of it to "
                    "take",
                    data);
    if (!limit && __builtin_mul_overflow(steps, batch, &b->images))
        return fail("--steps %lld: more images than can be counted", (long long)steps);
    return 0;
}

/* Decoded images stay if an epoch will come back to them. */
static int prepare_cache(struct run *run)
{
    const struct batches *b = &run->batches;
    if (reduced || b->steps <= b->steps_per_epoch || dataset_is_stream(run->set) ||
        !dataset_is_costly(run->set))
        return 0;
    const int64_t left = cache - dataset_held(run->set);
    run->keep = keep_new(dataset_count(run->set), left > 0 ? left : 0);
    return run->keep ? 0 : -1;
}

static int prepare_data(struct run *run)
{
    run->skips = skips_new(strcmp(on_error, "stop") == 0);
    run->set = run->skips ? dataset_open(data, format, split, (int)size, cache, run->skips) : NULL;
    if (!run->set)
        return -1;
    const int native = dataset_native_size(run->set);
    if (size == 0)
        size = native > 0 && native <= 64 ? native : 224;
    if (!*ops && !*policy_name && size <= 64 &&
        policy_parse(&run->policy, policy_ops("simclr-cifar")))
        return -1;
    if (count_images(run))
        return -1;
    if (batches_init(&run->batches))
        return fail("%s: %s", *data ? data : format, fail_message());
    if (start > run->batches.steps)
        return fail("--start %lld: there are %lld steps", (long long)start,
                    (long long)run->batches.steps);
    run->rows = (struct rows){.set = run->set,
                              .batches = &run->batches,
                              .buffer_images = shuffle,
                              .buffer_bytes = cache > MIN_BUFFER ? cache : MIN_BUFFER};
    if (prepare_cache(run) || rows_init(&run->rows))
        return -1;
    const struct policy *others = *ops2 ? &run->policy2 : &run->policy;
    run->augment = (struct augment){.rows = &run->rows,
                                    .policies = {&run->policy, others},
                                    .keep = run->keep,
                                    .skips = run->skips,
                                    .size = (int)size,
                                    .n_views = (int)n_views,
                                    .n_threads = (int)n_threads,
                                    .seed = (uint64_t)seed,
                                    .orient = orient,
                                    .reduced = reduced};
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

static int tell_views(struct run *run, const struct batch *b, const struct frame *f)
{
    return run->trace ? trace_views(run->trace, trace_path, b->epoch, frame_find(f, "index")->data,
                                    b->count, (int)n_views, run->views)
                      : 0;
}

/* The frame of a step, and its views in the trace; NULL with a message. */
static struct frame *make_frame(struct run *run, int64_t step)
{
    struct batch b;
    struct frame *f = augment_frame(&run->augment, step, &b, run->views);
    if (!f)
        return NULL;
    if (tell_views(run, &b, f)) {
        frame_free(f);
        return NULL;
    }
    set_metas(f, &run->batches, &b);
    return f;
}

static int make_next(void *user, const atomic_bool *stop, struct frame **next)
{
    struct run *run = user;
    if (run->step >= run->batches.steps)
        return 0;
    run->augment.stop = stop;
    *next = make_frame(run, run->step);
    run->step += turns;
    return *next ? 1 : -1;
}

/* Another thread makes frames; this one writes them. */
static int write_frames(struct run *run)
{
    struct frame *f;
    int got;
    run->step = start + turn_of;
    run->ahead = ahead_start(make_next, run, ahead);
    if (!run->ahead)
        return -1;
    while ((got = ahead_next(run->ahead, &f)) > 0)
        if (sink_write(run->sink, f) || stop_check())
            return -1;
    return got;
}

/* Closes what is open. The stream ends well only if everything before did. */
static int finish(struct run *run, int result)
{
    ahead_stop(run->ahead);
    if (run->trace && fclose(run->trace) != 0 && result == 0)
        result = fail("%s: %s", trace_path, strerror(errno));
    if (run->sink && result == 0)
        result = sink_end(run->sink);
    else if (run->sink)
        sink_abandon(run->sink);
    if (run->skips && skips_count(run->skips))
        program_warn("skipped images that cannot be read: %lld",
                     (long long)skips_count(run->skips));
    free(run->views);
    augment_free(&run->augment);
    rows_free(&run->rows);
    batches_free(&run->batches);
    keep_free(run->keep);
    dataset_close(run->set);
    skips_free(run->skips);
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
