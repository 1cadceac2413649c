/* evaluate: tests features by a linear probe or by nearest neighbours, or a classifier's logits, or
 * measures how features lie in space. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "cli/status.h"
#include "evaluate/bootstrap.h"
#include "evaluate/feature_set.h"
#include "evaluate/geometry.h"
#include "evaluate/knn.h"
#include "evaluate/logits.h"
#include "evaluate/match_classes.h"
#include "evaluate/probe.h"
#include "evaluate/score_report.h"
#include "evaluate/scores.h"
#include "program/link_options.h"

static const char *train_endpoint = "", *test_endpoint = "", *method = "linear", *on = "";
static const char *match = "names";
static int64_t k = 200, threads = 0, samples = 1000, seed = 0;
static double temperature = 0.1, l2 = 0, holdout = 0.1, confidence = 0.95;
static bool l2_given, holdout_given, k_given, classifier, knn, geometry;

static const struct option_spec options[] = {
    {"train", OPTION_STRING, &train_endpoint, "STREAM", "features to learn from", 0, 0, 0, 0},
    {"test", OPTION_STRING, &test_endpoint, "STREAM", "features to test on", 0, 0, 0, 0},
    {"method", OPTION_CHOICE, &method, "METHOD", "how features are tested", 0, 0,
     "linear|knn|classifier|geometry", 0},
    {"on", OPTION_STRING, &on, "TENSOR",
     "h, z or x (raw pixels); without: the first of these that there is", 0, 0, 0, 0},
    {"l2", OPTION_DOUBLE, &l2, "L",
     "linear: weight of L/2 ||W||^2; without: chosen on held-out rows", 1e-12, 1e12, 0, &l2_given},
    {"holdout", OPTION_DOUBLE, &holdout, "SHARE", "of the training rows, to choose l2 on", 1e-3,
     0.5, 0, &holdout_given},
    {"k", OPTION_INT, &k, "K", "knn: neighbours that vote; without: all rows if there are fewer", 1,
     1e9, 0, &k_given},
    {"temperature", OPTION_DOUBLE, &temperature, "T", "knn: a vote weighs exp(similarity/T)", 1e-6,
     1e6, 0, 0},
    {"match", OPTION_CHOICE, &match, "HOW",
     "whether two classes are the same by their names, or by their numbers alone", 0, 0,
     "names|numbers", 0},
    {"bootstrap", OPTION_INT, &samples, "N", "samples of the test rows for intervals; 0: none", 0,
     1e6, 0, 0},
    {"confidence", OPTION_DOUBLE, &confidence, "P", "of the intervals", 0.01, 0.9999, 0, 0},
    {"seed", OPTION_INT, &seed, "N", "of the samples", 0, 9e15, 0, 0},
    {"threads", OPTION_INT, &threads, "N", "0: one for each core", 0, 4096, 0, 0},
    {0},
};

static const char details[] =
    "Reads two streams of frames with h [B,D] or [B,1,D] and labels y I64 [B], and prints\n"
    "one JSON object: top1, top5 (fractions), per_class, mean_per_class, confusion (a row for\n"
    "each true class), n_train, n_test, the method's settings, and intervals (top1_low,\n"
    "top1_high, ...). A classifier needs no training rows: --test holds its logits F32 [B,C]\n"
    "or [B,1,C]. If both streams carry class_names, labels are matched by these.\n"
    "--method geometry needs no labels: of --test h [B,V,D] it prints alignment (of views),\n"
    "uniformity, effective_rank and z_std.\n"
    "A STREAM is an endpoint: a file, - (stdin, for one of the two), exec:COMMAND, tcp://,\n"
    "ipc:// or shm://.\n"
    "\n"
    "  evaluate --train train.st --test test.st\n"
    "  evaluate --method geometry --test views.st\n"
    "  evaluate --train 'exec:augment --policy eval --views 1 ... | encode --init model.st' ...";

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "evaluate",
        .summary = "test features by a linear probe or by nearest neighbours, or logits",
        .details = details,
        .options = {options, link_option_specs},
    };
    options_parse(&program, argc, argv, NULL);
    classifier = strcmp(method, "classifier") == 0;
    knn = strcmp(method, "knn") == 0;
    geometry = strcmp(method, "geometry") == 0;
    if (geometry && *train_endpoint)
        options_reject("--method geometry measures the features of --test: no --train");
    if (classifier && (*train_endpoint || *on))
        options_reject("--method classifier tests the logits of --test: no --train, no --on");
    if (!*test_endpoint && geometry)
        options_reject("--test is needed");
    if (!*test_endpoint || (!*train_endpoint && !classifier && !geometry))
        options_reject("--train and --test are needed");
    if (strcmp(train_endpoint, "-") == 0 && strcmp(test_endpoint, "-") == 0)
        options_reject("only one of --train and --test can be stdin");
    if (*on && (!strchr("hzx", *on) || on[1]))
        options_reject("--on is h, z or x, not '%s'", on);
    if (threads)
        omp_set_num_threads((int)threads);
}

/* Reads both sets, or only the test set for a classifier, and gives their labels the same
 * numbering. */
static int read_sets(struct feature_set *train, struct feature_set *test, struct class_names *names)
{
    train->by_number = test->by_number = strcmp(match, "numbers") == 0;
    if (classifier)
        return logits_read(test, test_endpoint, &link_options, status_show);
    if (feature_set_read(train, train_endpoint, &link_options, on, "training rows", status_show) ||
        feature_set_read(test, test_endpoint, &link_options, *on ? on : train->on, "test rows",
                         status_show))
        return -1;
    return match_classes(train, train_endpoint, test, test_endpoint, names);
}

/* Reduces the default of k for a training set with fewer rows. */
static void choose_k(const struct feature_set *train)
{
    if (k <= train->n || k_given)
        return;
    warn_line("all %lld training rows vote: they are fewer than k = %lld", (long long)train->n,
              (long long)k);
    k = train->n;
}

/* Sets l2 if the user has not set it and there are too few training rows to hold out some of
 * them. */
static int choose_l2(const struct feature_set *train, int classes)
{
    if (l2_given || holdout_given)
        return 0;
    const int64_t held = probe_held_out(train, classes, holdout);
    if (held >= 2 || held < 0)
        return held < 0 ? -1 : 0;
    l2 = 1 / (double)train->n;
    l2_given = true;
    warn_line("%lld training rows are too few to choose l2: it is 1/%lld; --l2 sets another",
              (long long)train->n, (long long)train->n);
    return 0;
}

/* Predicts the classes of the test rows and adds the method's settings to the report. */
static int classify(const struct feature_set *train, const struct feature_set *test, int classes,
                    struct prediction *predictions, struct probe *probe,
                    struct score_report *report)
{
    if (classifier)
        return logits_classify(test, predictions);
    report->n_train = train->n;
    if (knn) {
        choose_k(train);
        report->k = k;
        report->temperature = temperature;
        return knn_classify(train, test, k, temperature, classes, predictions, status_show);
    }
    if (choose_l2(train, classes) ||
        probe_fit(probe, train, classes, l2_given ? l2 : -1, holdout, status_show))
        return -1;
    report->probe = probe;
    return probe_classify(probe, test, predictions);
}

/* Scores the predictions and prints the report. */
static int print_scores(const struct feature_set *test, const struct prediction *predictions,
                        int classes, struct score_report report)
{
    struct scores scores;
    if (scores_make(&scores, predictions, test->y, test->n, classes))
        return -1;
    report.scores = &scores;
    report.samples = samples;
    report.confidence = confidence;
    int result = samples ? bootstrap(&report.intervals, predictions, test->y, test->n, classes,
                                     samples, confidence, (uint64_t)seed)
                         : 0;
    if (!result)
        result = score_report_write(&report, stdout);
    if (!result && flush_stdout() == FLUSH_FAILED)
        result = -1;
    scores_free(&scores);
    return result;
}

static int evaluate(const struct feature_set *train, const struct feature_set *test,
                    const struct class_names *names)
{
    const int classes = train->classes > test->classes ? train->classes : test->classes;
    struct prediction *predictions = calloc((size_t)test->n, sizeof *predictions);
    if (!predictions)
        return fail("out of memory for %lld test rows", (long long)test->n);
    struct probe probe = {0};
    struct score_report report = {
        .method = method, .on = test->on, .names = classifier ? &test->names : names};
    int result = classify(train, test, classes, predictions, &probe, &report);
    if (!result && !classifier)
        result = match_classes_warn(train, test, classes, names);
    status_clear();
    if (!result)
        result = print_scores(test, predictions, classes, report);
    probe_free(&probe);
    free(predictions);
    return result;
}

/* Measures the features of the test stream and prints the report. */
static int measure(void)
{
    struct feature_set test = {.every_view = true};
    struct geometry g;
    int result = feature_set_read(&test, test_endpoint, &link_options, on, "rows", status_show) ||
                         geometry_measure(&g, &test, status_show)
                     ? -1
                     : 0;
    status_clear();
    if (!result && test.views < 2)
        warn_line("'%s' holds one view of each image, so there is no alignment: augment --views 2 "
                  "makes two",
                  test.on);
    if (!result && g.zeros)
        warn_line("%lld of %lld rows are zero and have no direction", (long long)g.zeros,
                  (long long)test.n);
    if (!result)
        result = geometry_write(&g, &test, stdout);
    if (!result && flush_stdout() == FLUSH_FAILED)
        result = -1;
    feature_set_free(&test);
    return result;
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    if (geometry)
        return measure() ? warn_failure() : 0;
    struct feature_set train = {0}, test = {0};
    struct class_names names = {0};
    const int result = read_sets(&train, &test, &names) || evaluate(&train, &test, &names) ? -1 : 0;
    status_clear();
    class_names_free(&names);
    feature_set_free(&train);
    feature_set_free(&test);
    return result ? warn_failure() : 0;
}
