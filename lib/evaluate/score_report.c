#include "evaluate/score_report.h"

#include <jansson.h>
#include <math.h>

#include "base/fail.h"

static void add_integer(json_t *report, const char *key, int64_t value)
{
    json_object_set_new(report, key, json_integer(value));
}

static void add_real(json_t *report, const char *key, double value)
{
    json_object_set_new(report, key, json_real(value));
}

static void add_probe(json_t *report, const struct probe *p)
{
    json_t *sweep = json_array();
    for (int i = 0; i < p->n_trials; i++)
        json_array_append_new(sweep, json_pack("{s:f,s:f}", "l2", p->trials[i].l2, "accuracy",
                                               p->trials[i].accuracy));
    add_real(report, "l2", p->l2);
    add_integer(report, "iterations", p->iterations);
    json_object_set_new(report, "l2_sweep", sweep);
}

static void add_names(json_t *report, const struct class_names *names)
{
    json_t *list = json_array();
    for (int i = 0; i < names->n; i++)
        json_array_append_new(list, json_string(names->list[i]));
    json_object_set_new(report, "class_names", list);
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
    add_real(report, "top1", s->top1);
    add_real(report, "top5", s->top5);
    add_integer(report, "n_test", s->n);
    add_real(report, "mean_per_class", s->mean_class);
    json_object_set_new(report, "per_class", per_class);
    json_object_set_new(report, "confusion", confusion);
}

static void add_intervals(json_t *report, const struct score_report *r)
{
    const struct intervals *i = &r->intervals;
    add_integer(report, "bootstrap", r->samples);
    add_real(report, "confidence", r->confidence);
    add_real(report, "top1_low", i->top1.low);
    add_real(report, "top1_high", i->top1.high);
    add_real(report, "top5_low", i->top5.low);
    add_real(report, "top5_high", i->top5.high);
    add_real(report, "mean_per_class_low", i->mean_class.low);
    add_real(report, "mean_per_class_high", i->mean_class.high);
}

int score_report_write(const struct score_report *r, FILE *file)
{
    json_t *report = json_object();
    if (!report)
        return fail_memory(NULL);
    json_object_set_new(report, "method", json_string(r->method));
    json_object_set_new(report, "on", json_string(r->on));
    if (r->n_train)
        add_integer(report, "n_train", r->n_train);
    if (r->k) {
        add_integer(report, "k", r->k);
        add_real(report, "temperature", r->temperature);
    }
    if (r->probe)
        add_probe(report, r->probe);
    if (r->names->n)
        add_names(report, r->names);
    add_scores(report, r->scores);
    if (r->samples)
        add_intervals(report, r);
    const int failed = json_dumpf(report, file, JSON_REAL_PRECISION(9));
    json_decref(report);
    if (failed)
        return ferror(file) ? 0 : fail_memory(NULL);
    putc('\n', file);
    return 0;
}
