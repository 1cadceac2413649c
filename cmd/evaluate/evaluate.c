/* evaluate: judges features by a linear probe or by nearest neighbours, or a classifier's logits.
 */
#include <jansson.h>
#include <math.h>
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
#include "evaluate/knn.h"
#include "evaluate/probe.h"
#include "evaluate/same_classes.h"
#include "evaluate/scores.h"
#include "program/link_options.h"

static const char *train_endpoint = "", *test_endpoint = "", *method = "linear", *on = "";
static const char *match = "names";
static int64_t k = 200, threads = 0, times = 1000, seed = 0;
static double temperature = 0.1, l2 = 0, holdout = 0.1, confidence = 0.95;
static bool l2_given, holdout_given, k_given, classifier, by_number;

static const struct option_spec options[] = {
    {"train", OPTION_STRING, &train_endpoint, "STREAM", "features to learn from", 0, 0, 0, 0},
    {"test", OPTION_STRING, &test_endpoint, "STREAM", "features to be judged on", 0, 0, 0, 0},
    {"method", OPTION_CHOICE, &method, "METHOD", "the judge", 0, 0, "linear|knn|classifier", 0},
    {"on", OPTION_STRING, &on, "TENSOR", "h, z or x (raw pixels); without: the first there is", 0,
     0, 0, 0},
    {"l2", OPTION_DOUBLE, &l2, "L",
     "linear: weight of L/2 ||W||^2; without: chosen on held-out rows", 1e-12, 1e12, 0, &l2_given},
    {"holdout", OPTION_DOUBLE, &holdout, "SHARE", "of the training rows, to choose l2 on", 1e-3,
     0.5, 0, &holdout_given},
    {"k", OPTION_INT, &k, "K", "knn: neighbours that vote; without: all rows if there are fewer", 1,
     1e9, 0, &k_given},
    {"temperature", OPTION_DOUBLE, &temperature, "T", "knn: a vote weighs exp(similarity/T)", 1e-6,
     1e6, 0, 0},
    {"match", OPTION_CHOICE, &match, "HOW",
     "what makes two classes the same: their names, or their numbers alone", 0, 0, "names|numbers",
     0},
    {"bootstrap", OPTION_INT, &times, "N", "samples of the test rows for intervals; 0: none", 0,
     1e6, 0, 0},
    {"confidence", OPTION_DOUBLE, &confidence, "P", "of the intervals", 0.01, 0.9999, 0, 0},
    {"seed", OPTION_INT, &seed, "N", "of the samples", 0, 9e15, 0, 0},
    {"threads", OPTION_INT, &threads, "N", "0: as many as there are cores", 0, 4096, 0, 0},
    {0},
};

static const char details[] =
    "Reads two streams of frames with h [B,D] or [B,1,D] and labels y I64 [B], and prints\n"
    "one JSON object: top1, top5 (fractions), per_class, mean_per_class, confusion (a row a\n"
    "true class), n_train, n_test, the method's settings, and intervals (top1_low, top1_high,\n"
    "...). The classifier needs no training rows: --test holds logits F32 [B,C] or [B,1,C].\n"
    "Where both streams carry class_names, labels are matched by these.\n"
    "A STREAM is an endpoint: a file, - (stdin, for one of the two), exec:COMMAND, tcp:// or\n"
    "ipc://.\n"
    "\n"
    "  evaluate --train train.st --test test.st\n"
    "  evaluate --train 'exec:augment --policy eval --views 1 ... | encode --init model.st' ...";

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "evaluate",
        .summary = "judge features by a linear probe or by nearest neighbours, or logits",
        .details = details,
        .options = {options, link_option_specs},
    };
    options_parse(&program, argc, argv, NULL);
    classifier = strcmp(method, "classifier") == 0;
    by_number = strcmp(match, "numbers") == 0;
    if (classifier && (*train_endpoint || *on))
        options_reject("--method classifier judges the logits of --test: no --train, no --on");
    if (!*test_endpoint || (!*train_endpoint && !classifier))
        options_reject("--train and --test are needed");
    if (strcmp(train_endpoint, "-") == 0 && strcmp(test_endpoint, "-") == 0)
        options_reject("only one of --train and --test can be stdin");
    if (*on && (!strchr("hzx", *on) || on[1]))
        options_reject("--on is h, z or x, not '%s'", on);
    if (threads)
        omp_set_num_threads((int)threads);
}

/* The logits are scores as they are. */
static int take_logits(const struct feature_set *test, struct verdict *verdicts)
{
    const int64_t classes = test->width;
    double *scores = malloc((size_t)classes * sizeof *scores);
    int result = scores ? 0 : fail("out of memory for %lld logits", (long long)classes);
    for (int64_t i = 0; i < test->n && !result; i++) {
        for (int64_t c = 0; c < classes; c++)
            scores[c] = (double)test->x[i * classes + c];
        verdicts[i] = verdict_of(scores, (int)classes, test->y[i]);
    }
    free(scores);
    return result;
}

/* k and l2 where the user leaves them to this program and the rows are too few for the usual ways.
 */
static int fit_settings(const struct feature_set *train, int classes)
{
    if (strcmp(method, "knn") == 0) {
        if (k <= train->n || k_given)
            return 0;
        warn_line("all %lld training rows vote: they are fewer than k = %lld", (long long)train->n,
                  (long long)k);
        k = train->n;
        return 0;
    }
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

static void add_trials(json_t *report, const struct probe *p)
{
    json_t *sweep = json_array();
    for (int i = 0; i < p->n_trials; i++)
        json_array_append_new(sweep, json_pack("{s:f,s:f}", "l2", p->trials[i].l2, "accuracy",
                                               p->trials[i].accuracy));
    json_object_set_new(report, "l2_sweep", sweep);
}

/* Fills the verdicts and adds the method's settings to the report. */
static int judge(const struct feature_set *train, const struct feature_set *test, int classes,
                 struct verdict *verdicts, json_t *report)
{
    if (classifier)
        return take_logits(test, verdicts);
    if (fit_settings(train, classes))
        return -1;
    if (strcmp(method, "knn") == 0) {
        json_object_set_new(report, "k", json_integer(k));
        json_object_set_new(report, "temperature", json_real(temperature));
        return knn_classify(train, test, k, temperature, classes, verdicts);
    }
    struct probe probe;
    int result = probe_fit(&probe, train, classes, l2_given ? l2 : -1, holdout);
    if (!result)
        result = probe_classify(&probe, test, verdicts);
    json_object_set_new(report, "l2", json_real(probe.l2));
    json_object_set_new(report, "iterations", json_integer(probe.iterations));
    add_trials(report, &probe);
    probe_free(&probe);
    return result;
}

static void add_scores(json_t *report, const struct scores *s)
{
    json_t *per_class = json_array(), *confusion = json_array();
    for (int c = 0; c < s->classes; c++) {
        json_array_append_new(per_class,
                              isnan(s->per_class[c]) ? json_null() : json_real(s->per_class[c]));
        json_t *row = json_array();
        for (int p = 0; p < s->classes; p++)
            json_array_append_new(row, json_integer(s->confusion[(int64_t)c * s->classes + p]));
        json_array_append_new(confusion, row);
    }
    json_object_set_new(report, "top1", json_real(s->top1));
    json_object_set_new(report, "top5", json_real(s->top5));
    json_object_set_new(report, "n_test", json_integer(s->n));
    json_object_set_new(report, "mean_per_class", json_real(s->mean_class));
    json_object_set_new(report, "per_class", per_class);
    json_object_set_new(report, "confusion", confusion);
}

static void add_interval(json_t *report, const char *score, struct interval i)
{
    char key[32];
    snprintf(key, sizeof key, "%s_low", score);
    json_object_set_new(report, key, json_real(i.low));
    snprintf(key, sizeof key, "%s_high", score);
    json_object_set_new(report, key, json_real(i.high));
}

static int add_intervals(json_t *report, const struct verdict *verdicts,
                         const struct feature_set *test, int classes)
{
    struct intervals i;
    if (times == 0)
        return 0;
    if (bootstrap(&i, verdicts, test->y, test->n, classes, times, confidence, (uint64_t)seed))
        return -1;
    json_object_set_new(report, "bootstrap", json_integer(times));
    json_object_set_new(report, "confidence", json_real(confidence));
    add_interval(report, "top1", i.top1);
    add_interval(report, "top5", i.top5);
    add_interval(report, "mean_per_class", i.mean_class);
    return 0;
}

static int print(const json_t *report)
{
    const bool whole = json_dumpf(report, stdout, JSON_REAL_PRECISION(9)) == 0;
    if (whole)
        putchar('\n');
    const enum flush_result flushed = flush_stdout();
    if (flushed == FLUSH_FAILED)
        return -1;
    return whole || flushed == FLUSH_READER_GONE ? 0 : fail_memory(NULL);
}

/* There are as many classes as logits. */
static int read_logits(struct feature_set *test)
{
    if (feature_set_read(test, test_endpoint, &link_options, "logits", "test rows"))
        return -1;
    if (test->width > FEATURE_SET_MAX_CLASSES || test->classes > test->width)
        return fail("%lld logits, where the highest label is %d; there may be up to %d",
                    (long long)test->width, test->classes - 1, FEATURE_SET_MAX_CLASSES);
    if (test->names_text && test->names.n != test->width)
        return fail("%lld logits, where class_names has %d names: the classifier was trained on "
                    "other classes; --match numbers takes label i for logit i",
                    (long long)test->width, test->names.n);
    test->classes = (int)test->width;
    return 0;
}

/* Tells which classes have rows in one stream alone. */
static int tell_one_sided(const struct feature_set *train, const struct feature_set *test,
                          int classes, const struct class_names *names)
{
    for (int side = 0; side < 2; side++) {
        char text[SAME_CLASSES_TEXT];
        int64_t rows;
        const int n = same_classes_alone(side ? test : train, side ? train : test, classes, names,
                                         &rows, text);
        if (n < 0)
            return -1;
        if (n && side)
            warn_line("classes without training rows: %d, whose %lld test rows count as wrong: "
                      "%s",
                      n, (long long)rows, text);
        else if (n)
            warn_line("classes without test rows: %d: %s", n, text);
    }
    return 0;
}

static void add_names(json_t *report, const struct class_names *names)
{
    json_t *list = json_array();
    for (int i = 0; i < names->n; i++)
        json_array_append_new(list, json_string(names->list[i]));
    json_object_set_new(report, "class_names", list);
}

static int read_rows(struct feature_set *train, struct feature_set *test)
{
    if (classifier)
        return read_logits(test);
    return feature_set_read(train, train_endpoint, &link_options, on, "training rows") ||
                   feature_set_read(test, test_endpoint, &link_options, *on ? on : train->on,
                                    "test rows")
               ? -1
               : 0;
}

static int evaluate(struct feature_set *train, struct feature_set *test, struct class_names *names)
{
    train->by_number = test->by_number = by_number;
    if (read_rows(train, test) ||
        (!classifier && same_classes(train, train_endpoint, test, test_endpoint, names)))
        return -1;
    int classes = train->classes > test->classes ? train->classes : test->classes;
    struct verdict *verdicts = calloc((size_t)test->n, sizeof *verdicts);
    json_t *report = json_object();
    if (!verdicts || !report) {
        free(verdicts);
        json_decref(report);
        return fail("out of memory for %lld test rows", (long long)test->n);
    }
    json_object_set_new(report, "method", json_string(method));
    json_object_set_new(report, "on", json_string(test->on));
    if (!classifier)
        json_object_set_new(report, "n_train", json_integer(train->n));
    struct scores scores = {0};
    int result = judge(train, test, classes, verdicts, report);
    if (!result && !classifier)
        result = tell_one_sided(train, test, classes, names);
    if (!result)
        result = scores_make(&scores, verdicts, test->y, test->n, classes);
    status_clear();
    if (!result) {
        if (classifier ? test->names.n : names->n)
            add_names(report, classifier ? &test->names : names);
        add_scores(report, &scores);
        result = add_intervals(report, verdicts, test, classes);
    }
    if (!result)
        result = print(report);
    scores_free(&scores);
    json_decref(report);
    free(verdicts);
    return result;
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    struct feature_set train = {0}, test = {0};
    struct class_names names = {0};
    int result = evaluate(&train, &test, &names);
    status_clear();
    class_names_free(&names);
    feature_set_free(&train);
    feature_set_free(&test);
    return result ? warn_failure() : 0;
}
