/* neighbours: finds the training rows that are nearest to test rows. */
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "cli/status.h"
#include "evaluate/feature_set.h"
#include "evaluate/knn.h"
#include "evaluate/match_classes.h"
#include "link/link.h"
#include "link/stream.h"
#include "program/link_options.h"

static const char *train_endpoint = "", *test_endpoint = "-", *out = "-", *on = "";
static const char *match = "names";
static int64_t k = 5, threads = 0;

static const struct option_spec options[] = {
    {"train", OPTION_STRING, &train_endpoint, "STREAM", "features of the neighbours", 0, 0, 0, 0},
    {"test", OPTION_STRING, &test_endpoint, "STREAM", "features whose neighbours are searched", 0,
     0, 0, 0},
    {"out", OPTION_STRING, &out, "ENDPOINT", "where the answer goes", 0, 0, 0, 0},
    {"on", OPTION_STRING, &on, "TENSOR",
     "h, z or x (raw pixels); without: the first of these that there is", 0, 0, 0, 0},
    {"k", OPTION_INT, &k, "K", "neighbours of each row; all rows if there are fewer", 1, 10000, 0,
     0},
    {"match", OPTION_CHOICE, &match, "HOW",
     "whether two classes are the same by their names, or by their numbers alone", 0, 0,
     "names|numbers", 0},
    {"threads", OPTION_INT, &threads, "N", "0: one for each core", 0, 4096, 0, 0},
    {0},
};

static const char details[] =
    "Reads two streams of frames with h [B,D] or [B,1,D], and writes one frame: index and y\n"
    "I64 [N] of the N test rows, and of their k nearest training rows, by cosine similarity\n"
    "and the nearest first, neighbour and neighbour_y I64 [N,k] and similarity F32 [N,k].\n"
    "neighbour is the index of the training image; y is -1 where there is no label. Classes\n"
    "are matched by their names, as evaluate does.\n"
    "\n"
    "  neighbours --train train.st --test test.st | inspect --rows index,neighbour,similarity";

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "neighbours",
        .summary = "find the training rows that are nearest to test rows",
        .details = details,
        .options = {options, link_option_specs},
    };
    options_parse(&program, argc, argv, NULL);
    if (!*train_endpoint)
        options_reject("--train is needed");
    if (strcmp(train_endpoint, "-") == 0 && strcmp(test_endpoint, "-") == 0)
        options_reject("only one of --train and --test can be stdin");
    if (*on && (!strchr("hzx", *on) || on[1]))
        options_reject("--on is h, z or x, not '%s'", on);
    if (threads)
        omp_set_num_threads((int)threads);
}

/* Makes the frame from `found` [test->n,k]. */
static struct frame *make_answer(const struct feature_set *train, const struct feature_set *test,
                                 const struct knn_neighbour *found)
{
    const int64_t n = test->n;
    const struct tensor_spec specs[] = {{"index", DTYPE_I64, 1, {n}},
                                        {"y", DTYPE_I64, 1, {n}},
                                        {"neighbour", DTYPE_I64, 2, {n, k}},
                                        {"neighbour_y", DTYPE_I64, 2, {n, k}},
                                        {"similarity", DTYPE_F32, 2, {n, k}}};
    struct frame *f = frame_new(specs, 5);
    if (!f)
        return NULL;
    memcpy(frame_find(f, "index")->data, test->index, (size_t)n * sizeof *test->index);
    memcpy(frame_find(f, "y")->data, test->y, (size_t)n * sizeof *test->y);
    int64_t *neighbour = frame_find(f, "neighbour")->data, *y = frame_find(f, "neighbour_y")->data;
    float *similarity = frame_find(f, "similarity")->data;
    for (int64_t i = 0; i < n * k; i++) {
        neighbour[i] = train->index[found[i].row];
        y[i] = train->y[found[i].row];
        similarity[i] = (float)found[i].similarity;
    }
    return f;
}

static struct frame *answer(const struct feature_set *train, const struct feature_set *test)
{
    k = k < train->n ? k : train->n;
    int64_t count;
    struct knn_neighbour *found = NULL;
    if (!__builtin_mul_overflow(test->n, k, &count))
        found = reallocarray(NULL, (size_t)count, sizeof *found);
    if (!found)
        return fail_null("out of memory for %lld neighbours of %lld rows", (long long)k,
                         (long long)test->n);
    struct frame *f =
        knn_nearest(train, test, k, found, status_show) ? NULL : make_answer(train, test, found);
    free(found);
    return f;
}

/* Adds the names of the classes to the answer. */
static void name_classes(struct frame *f, const struct class_names *names)
{
    json_t *list = json_array();
    for (int i = 0; i < names->n; i++)
        json_array_append_new(list, json_string(names->list[i]));
    char *text = names->n ? json_dumps(list, JSON_COMPACT) : NULL;
    if (text)
        frame_set_meta(f, "class_names", text);
    free(text);
    json_decref(list);
}

/* Opens the output only when the answer is there, so that nothing is half-written. */
static int write_answer(const struct feature_set *train, const struct feature_set *test,
                        const struct class_names *names)
{
    struct frame *f = answer(train, test);
    status_clear();
    if (f)
        name_classes(f, names);
    struct sink *sink = f ? sink_open(out, &link_options) : NULL;
    if (!sink) {
        frame_free(f);
        return -1;
    }
    if (sink_write(sink, f)) {
        sink_abandon(sink);
        return -1;
    }
    return sink_end(sink);
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    const bool by_number = strcmp(match, "numbers") == 0;
    struct feature_set train = {.unlabelled = true, .by_number = by_number};
    struct feature_set test = {.unlabelled = true, .by_number = by_number};
    struct class_names names = {0};
    const int result =
        feature_set_read(&train, train_endpoint, &link_options, on, "training rows", status_show) ||
        feature_set_read(&test, test_endpoint, &link_options, *on ? on : train.on, "test rows",
                         status_show) ||
        match_classes(&train, train_endpoint, &test, test_endpoint, &names) ||
        write_answer(&train, &test, &names);
    status_clear();
    class_names_free(&names);
    feature_set_free(&train);
    feature_set_free(&test);
    return result ? warn_failure() : 0;
}
