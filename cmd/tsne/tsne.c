/* tsne: makes a map of features in the plane. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "cli/status.h"
#include "evaluate/feature_set.h"
#include "evaluate/tsne.h"
#include "link/link.h"
#include "link/stream.h"
#include "program/link_options.h"

static const char *in = "-", *out = "-", *on = "";
static int64_t iterations = 1000, threads = 0, seed = 0;
static double perplexity = 30;
static bool cosine;

static const struct option_spec options[] = {
    {"in", OPTION_STRING, &in, "ENDPOINT", "where the features come from", 0, 0, 0, 0},
    {"out", OPTION_STRING, &out, "ENDPOINT", "where the map goes", 0, 0, 0, 0},
    {"on", OPTION_STRING, &on, "TENSOR",
     "h, z or x (raw pixels); without: the first of these that there is", 0, 0, 0, 0},
    {"perplexity", OPTION_DOUBLE, &perplexity, "P",
     "about how many neighbours a row has; at most a third of the other rows", 1, 1e4, 0, 0},
    {"cosine", OPTION_SWITCH, &cosine, 0, "compare directions: rows are scaled to length 1", 0, 0,
     0, 0},
    {"iterations", OPTION_INT, &iterations, "N", "steps of gradient descent", 1, 1e6, 0, 0},
    {"seed", OPTION_INT, &seed, "N", "of the initial map", 0, 9e15, 0, 0},
    {"threads", OPTION_INT, &threads, "N", "0: one for each core", 0, 4096, 0, 0},
    {0},
};

static const char details[] =
    "Reads a stream of frames with h F32 [B,D] or [B,1,D], and writes one frame with `map`\n"
    "F32 [N,2], and y and index I64 [N] of all N rows (at most 10,000). y is -1 for rows\n"
    "without a label. The time grows with N^2: 2,000 rows take some seconds.\n"
    "\n"
    "  augment --data shapes --split test --limit 500 --policy eval | encode | tsne --cosine |\n"
    "      inspect --rows index,y,map";

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "tsne",
        .summary = "make a map of features in the plane",
        .details = details,
        .options = {options, link_option_specs},
    };
    options_parse(&program, argc, argv, NULL);
    if (*on && (!strchr("hzx", *on) || on[1]))
        options_reject("--on is h, z or x, not '%s'", on);
    if (threads)
        omp_set_num_threads((int)threads);
}

/* Makes the frame of the map, with labels and numbers of the images. */
static struct frame *make_map(const struct feature_set *f)
{
    const struct tensor_spec specs[] = {{"map", DTYPE_F32, 2, {f->n, 2}},
                                        {"y", DTYPE_I64, 1, {f->n}},
                                        {"index", DTYPE_I64, 1, {f->n}}};
    struct frame *frame = frame_new(specs, 3);
    if (!frame)
        return NULL;
    const struct tsne_settings settings = {perplexity, iterations, (uint64_t)seed, status_show};
    if (tsne_map(f->x, f->n, f->width, &settings, frame_find(frame, "map")->data)) {
        frame_free(frame);
        return NULL;
    }
    memcpy(frame_find(frame, "y")->data, f->y, (size_t)f->n * sizeof *f->y);
    memcpy(frame_find(frame, "index")->data, f->index, (size_t)f->n * sizeof *f->index);
    frame_set_meta_float(frame, "perplexity", (float)perplexity);
    if (f->names_text)
        frame_set_meta(frame, "class_names", f->names_text);
    return frame;
}

/* Opens the output only when the map is there, so that nothing is half-written. */
static int write_map(const struct feature_set *f)
{
    struct frame *frame = make_map(f);
    status_clear();
    struct sink *sink = frame ? sink_open(out, &link_options) : NULL;
    if (!sink) {
        frame_free(frame);
        return -1;
    }
    if (sink_write(sink, frame)) {
        sink_abandon(sink);
        return -1;
    }
    return sink_end(sink);
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    struct feature_set f = {.unlabelled = true};
    int result = feature_set_read(&f, in, &link_options, on, "rows", status_show);
    if (!result && cosine)
        feature_set_scale(&f);
    if (!result)
        result = write_map(&f);
    status_clear();
    feature_set_free(&f);
    return result ? warn_failure() : 0;
}
