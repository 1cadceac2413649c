/* augment: reads or draws images or series, and writes frames of random views of them. It is the
 * first program of every pipeline. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/signals.h"
#include "base/stop.h"
#include "base/warn.h"
#include "cli/options.h"
#include "data/data_source.h"
#include "data/listing.h"
#include "link/link.h"
#include "link/stream.h"
#include "program/link_options.h"
#include "views/policy_help.h"
#include "views/prefetch.h"
#include "views/view_stream.h"

static struct data_source images = {
    .links = &link_options,
    .data = "",
    .format = "auto",
    .split = "train",
    .subset_options = {.labels = 1},
    .cache = 1 << 30,
    .shuffle = 8192,
    .sampler = {.batch = 512, .epochs = 100, .world = 1},
};
static struct view_stream views = {
    .images = &images,
    .policy = "",
    .ops = "",
    .ops2 = "",
    .target = "class",
    .pixels = "auto",
    .trace = "",
    .n_views = 2,
    .turns = 1,
};
static const char *on_error = "skip", *shard = "", *turn = "", *out = "-";
static int64_t seed, labels_seed, ahead = 64 << 20;
static bool views_given, list;
static char policies[128], targets[256], details[6000]; /* write_help() fills them */

static const struct option_spec options[] = {
    {.kind = OPTION_HEADING, .help = "Data"},
    {"data", OPTION_STRING, &images.data, "PATH",
     .help = "folder, archive, list of archives, '-': stdin, commands 'exec:CMD'; or drawn: "
             "'shapes', series 'waves'"},
    {"format", OPTION_CHOICE, &images.format, "NAME", .help = "format of the data",
     .choices = dataset_formats},
    {"split", OPTION_CHOICE, &images.split, "NAME", .help = "part of the data",
     .choices = "train|test|unlabeled"},
    {"hold", OPTION_DOUBLE, &images.subset_options.hold, "SHARE",
     .help = "share of each class to take as the test part of data that has none", .min = 0,
     .max = 0.99},
    {"limit", OPTION_INT, &images.subset_options.limit, "IMAGES",
     .help = "how many images to take, of each class in proportion (0: all)", .min = 0,
     .max = 4294967295.0},
    {"labels", OPTION_DOUBLE, &images.subset_options.labels, "SHARE",
     .help = "only this share of the images, as many of each class", .min = 1e-9, .max = 1},
    {"labels-per-class", OPTION_INT, &images.subset_options.labels_per_class, "N",
     .help = "only this many images of each class (0: all)", .min = 0, .max = 1 << 30},
    {"labels-seed", OPTION_INT, &labels_seed, "N", .help = "seed that chooses these images",
     .min = 0, .max = 9e15},
    {"on-error", OPTION_CHOICE, &on_error, "WHAT",
     .help = "an unreadable image: skip it, up to 1 % of all, or stop", .choices = "skip|stop"},
    {"cache", OPTION_BYTES, &images.cache, "BYTES", .help = "images to keep in memory", .min = 0,
     .max = 1e15},
    {"count", OPTION_INT, &images.count, "IMAGES",
     .help = "how many images a stream has, which spares counting them (0: count them)", .min = 0,
     .max = 1e15},
    {"retries", OPTION_INT, &images.retries, "N",
     .help = "run the command of a shard again if it breaks off, up to N times", .min = 0,
     .max = 1 << 20},
    {"shuffle", OPTION_INT, &images.shuffle, "IMAGES",
     .help = "size of the shuffle buffer of a stream", .min = 1, .max = 1 << 28},
    {"pixels", OPTION_CHOICE, &views.pixels, "KIND",
     .help = "rgb: 8 bits; raw: floats of the files' own channels, with 16 bits; auto: raw if the "
             "first image has neither colours nor grey",
     .choices = "auto|rgb|raw"},
    {"orient", OPTION_SWITCH, &views.orient,
     .help = "turn JPEG and WebP files as their EXIF orientation says"},
    {"reduced", OPTION_SWITCH, &views.reduced,
     .help =
         "decode JPEGs at 1/2, 1/4 or 1/8 where no crop needs more: faster, not quite the same"},
    {"list", OPTION_SWITCH, &list,
     .help = "print the images, a line each, and make no views: index, label, class, name"},
    {.kind = OPTION_HEADING, .help = "Batches"},
    {"batch", OPTION_INT, &images.sampler.batch, "B", .help = "images in a global batch", .min = 1,
     .max = 1 << 24},
    {"epochs", OPTION_INT, &images.sampler.epochs, "E",
     .help = "passes over the data; 1 for evaluation", .min = 1, .max = 1e9,
     .given = &images.epochs_given},
    {"steps", OPTION_INT, &images.sampler.steps, "N",
     .help = "total batches, instead of epochs (0: epochs)", .min = 0, .max = 1e15},
    {"start", OPTION_INT, &views.start, "STEP",
     .help = "begin at that step, as if the steps before had run", .min = 0, .max = 1e15},
    {"shard", OPTION_STRING, &shard, "R/N", .help = "only rank R's rows of each batch, of N ranks"},
    {"turn", OPTION_STRING, &turn, "I/K", .help = "only every K-th step, from the I-th on"},
    {"grains", OPTION_INT, &images.sampler.grains, "G",
     .help = "number of runs of images that sums are formed over; a power of two (0: up to 8)",
     .min = 0, .max = 1 << 24},
    {.kind = OPTION_HEADING, .help = "Views"},
    {"views", OPTION_INT, &views.n_views, "V", .help = "views of each image; 1 for evaluation",
     .min = 1, .max = 1024, .given = &views_given},
    {"size", OPTION_INT, &views.size, "S",
     .help = "pixels a side (0: as most images if square and up to 64, else 224), or steps",
     .max = POLICY_MAX_SIZE},
    {"policy", OPTION_CHOICE, &views.policy, "NAME",
     .help = "a list with a name (simclr; simclr-cifar up to 64 pixels; simclr-series)",
     .choices = policies},
    {"ops", OPTION_STRING, &views.ops, "LIST",
     .help = "operations one by one, instead of --policy"},
    {"ops2", OPTION_STRING, &views.ops2, "LIST",
     .help = "operations of every view but the first (the same as the first's)"},
    {"target", OPTION_CHOICE, &views.target, "OP",
     .help = "y: the class, or how this operation came out, of one view", .choices = targets},
    {"seed", OPTION_INT, &seed, "N", .help = "seed of all that is drawn", .min = 0, .max = 9e15},
    {.kind = OPTION_HEADING, .help = "Running"},
    {"threads", OPTION_INT, &views.n_threads, "N",
     .help = "threads; they change the speed, never the result [all cores, or OMP_NUM_THREADS]",
     .min = 1, .max = 1024},
    {"ahead", OPTION_BYTES, &ahead, "BYTES", .help = "frames to make before they can be written",
     .min = 0, .max = 1e15},
    {"trace", OPTION_STRING, &views.trace, "FILE",
     .help = "write what was drawn, a JSON line per view"},
    {"out", OPTION_STRING, &out, "ENDPOINT", .help = "where frames go"},
    {0},
};

static const struct program program = {
    .name = "augment",
    .summary = "makes random views of images or series, in batches",
    .details = details,
    .options = {options, link_option_specs},
};

/* Writes the part of --help about operations and policies, from their tables. */
static void write_help(void)
{
    FILE *file = fmemopen(policies, sizeof policies, "w");
    policy_help_names(file);
    fclose(file);
    file = fmemopen(targets, sizeof targets, "w");
    policy_help_targets(file);
    fclose(file);
    file = fmemopen(details, sizeof details, "w");
    fputs("Frames out: x U8 [B,V,S,S,3], or of raw images F32 [B,V,S,S,C] with C channels in\n"
          "[0,1], or of series F32 [B,V,1,S,C];\n"
          "y I64 [B] (-1: no label), index I64 [B];\n"
          "metadata step, steps, steps_per_epoch, batch, images, grains, epoch, classes\n"
          "(rank, world).\n\n",
          file);
    policy_help_lists(file);
    fputs("\nExample: augment --data cifar-10-batches-bin --batch 128 --steps 1 | inspect", file);
    fclose(file);
}

/* Parses "2/3", the value of --shard and --turn. */
static void parse_part(const char *flag, const char *value, const char *letters, int64_t *part,
                       int64_t *parts)
{
    long long i, n;
    int end = 0;
    if (sscanf(value, "%lld/%lld%n", &i, &n, &end) != 2 || value[end] != '\0' || i < 0 ||
        n > 65536 || i >= n)
        options_reject("--%s %s: should be %c/%c, with %c from 0 to %c - 1", flag, value,
                       letters[0], letters[1], letters[0], letters[1]);
    *part = i;
    *parts = n;
}

/* Checks the flags as far as that is possible before any data is read. Ends the program if they are
 * wrong. */
static void check_flags(void)
{
    struct sampler *b = &images.sampler;
    if (*views.policy && *views.ops)
        options_reject("--policy and --ops exclude each other");
    if (!*images.data && strcmp(images.format, "shapes") != 0)
        options_reject("--data is missing (--data shapes needs no files)");
    if (view_stream_parse(&views))
        options_reject("%s", fail_message());
    b->evaluation = list || policy_is_evaluation(&views.policies[0]);
    if (b->evaluation && !views_given)
        views.n_views = 1;
    if (b->evaluation && !images.epochs_given)
        b->epochs = 1;
    if (images.subset_options.labels < 1 && images.subset_options.labels_per_class)
        options_reject("--labels and --labels-per-class exclude each other");
    if (view_stream_check(&views))
        options_reject("%s", fail_message());
    images.stop_on_error = strcmp(on_error, "stop") == 0;
    b->seed = (uint64_t)seed;
    images.subset_options.labels_seed = (uint64_t)labels_seed;
    if (images.subset_options.hold > 0 && strcmp(images.split, "unlabeled") == 0)
        options_reject("--hold divides labelled data, and --split unlabeled is another part");
    views.sharded = *shard;
    if (*shard)
        parse_part("shard", shard, "RN", &b->rank, &b->world);
    if (*turn)
        parse_part("turn", turn, "IK", &views.turn, &views.turns);
    if (sampler_check(b))
        options_reject("%s", fail_message());
}

/* Writes the frames that another thread makes. */
static int write_frames(struct prefetch *made, struct sink *sink)
{
    struct frame *f;
    enum prefetch_result got;
    while ((got = prefetch_next(made, &f)) == PREFETCH_FRAME)
        if (sink_write(sink, f) || stop_check())
            return -1;
    return got == PREFETCH_END ? 0 : -1;
}

/* Prints the images, for --list. */
static int list_images(void)
{
    return listing_write(&images, stdout) || flush_stdout() == FLUSH_FAILED ? -1 : 0;
}

/* Reports how many images were left out. */
static void report_errors(const struct read_errors *errors)
{
    if (read_errors_image_count(errors))
        warn_line("skipped images that cannot be read: %lld",
                  (long long)read_errors_image_count(errors));
    if (read_errors_label_count(errors))
        warn_line("left out images whose labels cannot be read: %lld",
                  (long long)read_errors_label_count(errors));
}

/* Closes everything that is open. Ends the stream properly only if everything before succeeded. */
static int finish(struct prefetch *made, struct sink *sink, int result)
{
    prefetch_stop(made);
    if (result == 0)
        result = view_stream_end(&views);
    if (sink && result == 0)
        result = sink_end(sink);
    else if (sink)
        sink_abandon(sink);
    if (images.errors)
        report_errors(images.errors);
    if (images.set && result == 0)
        dataset_report_ignored(images.set);
    view_stream_close(&views);
    data_source_close(&images);
    return result;
}

int main(int argc, char **argv)
{
    views.n_threads = omp_get_max_threads();
    signals_setup();
    write_help();
    options_parse(&program, argc, argv, NULL);
    check_flags();

    if (list)
        return finish(NULL, NULL, data_source_open(&images, 1) ? -1 : list_images())
                   ? warn_failure()
                   : 0;
    const bool opened =
        data_source_open(&images, (int)views.size) == 0 && view_stream_open(&views) == 0;
    struct sink *sink = opened ? sink_open(out, &link_options) : NULL;
    struct prefetch *made = sink ? prefetch_start(view_stream_next, &views, ahead) : NULL;
    const int result = made ? write_frames(made, sink) : -1;
    return finish(made, sink, result) == 0 ? 0 : warn_failure();
}
