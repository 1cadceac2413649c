/* classify: a linear classifier with its loss, in place of project and a contrastive loss. It reads
 * features and labels, and returns the gradient of the features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "frame/class_names.h"
#include "link/link.h"
#include "loss/cross_entropy.h"
#include "network/plan.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"
#include "weights/weights.h"

enum { MOST_CLASSES = 1 << 20 };

static int64_t classes;
static bool classes_given;
static int64_t trained;  /* the number of classes that the file has; 0 without a file */
static const char *file; /* its path */
static char *names;      /* class_names of the file, or of the first request; NULL if none */
static double smoothing;

static const struct option_spec options[] = {
    {.name = "classes",
     .kind = OPTION_INT,
     .value = &classes,
     .argument = "N",
     .min = 1,
     .max = MOST_CLASSES,
     .help = "number of classes; without: what --init or the frames say",
     .given = &classes_given},
    {.name = "label-smoothing",
     .kind = OPTION_DOUBLE,
     .value = &smoothing,
     .argument = "E",
     .min = 0,
     .max = 1,
     .help = "spread this share of the target over all classes"},
    {0},
};

static const char details[] =
    "In:  `h` F32 [B,V,D] and, for training, `y` I64 [B]: 0 to C-1, or -1 for none, which\n"
    "     is left out of the mean. A frame must hold the whole global batch.\n"
    "Out: without --opt `logits` F32 [B,V,C] in `h`'s place; with it `dh` F32 [B,V,D], and\n"
    "     metadata `loss` (softmax cross-entropy), `accuracy` (top-1) and `lr`.\n"
    "\n"
    "Example: supervised training, one optimizer for both stages.\n"
    "  sgd --nesterov --listen ipc://opt.ipc --model model.safetensors &\n"
    "  augment --data shapes --ops crop,flip --views 1 --batch 64 --steps 20 |\n"
    "    encode --opt ipc://opt.ipc --next 'exec:classify --opt ipc://opt.ipc' | progress";

/* Takes a copy of class_names, if they name each class. Returns -1 with a message. */
static int take_names(const char *text)
{
    struct class_names parsed = {0};
    if (!text)
        return 0;
    if (class_names_parse(&parsed, text))
        return fail_prefix("class_names");
    const bool fits = parsed.n == classes;
    class_names_free(&parsed);
    if (fits && !(names = strdup(text)))
        return fail_memory(NULL);
    return 0;
}

/* Finds the number of classes and their names in the file of --init or --like. */
static int configure(struct stage *stage, const struct frame *weights)
{
    const char *text = frame_meta(weights, "classifier");
    char *end;
    file = *stage_options.init ? stage_options.init : stage_options.like;
    if (!text)
        return 0;
    const bool good = !strncmp(text, "classes=", strlen("classes="));
    trained = good ? strtoll(text + strlen("classes="), &end, 10) : 0;
    if (trained < 1 || trained > MOST_CLASSES || *end)
        return fail("%s: the description of a classifier, '%.40s', is not like 'classes=10'", file,
                    text);
    if (classes_given && classes != trained && !weights_derived(weights, "classifier"))
        return fail("--classes %lld, but %s was trained with classes=%lld", (long long)classes,
                    file, (long long)trained);
    classes = classes_given ? classes : trained;
    if (take_names(frame_meta(weights, "class_names")))
        return fail_prefix("%s", file);
    stage->logit_names = names;
    return 0;
}

/* Checks that labels for training mean the classes of the file. */
static int check_labels(const struct frame *request, int64_t said)
{
    const char *now = frame_meta(request, "class_names");
    if (said && said != classes && !classes_given)
        return fail("the frames say %lld classes, but %s was trained with classes=%lld",
                    (long long)said, file, (long long)classes);
    if (names && now && strcmp(names, now) != 0)
        return fail("the frames have other names of classes than %s was trained with", file);
    return names ? 0 : take_names(now);
}

/* Finds the number of classes, and for training their names. */
static int begin(const struct frame *request)
{
    int64_t said;
    if (frame_meta_int(request, "classes", 0, &said))
        return -1;
    if (trained)
        return *stage_options.opt ? check_labels(request, said) : 0;
    if (!classes_given)
        classes = said;
    if (!classes)
        return fail("how many classes? The frames do not say: give --classes");
    if (classes < 0 || classes > MOST_CLASSES)
        return fail("the frames say %lld classes: 1 to %d are possible", (long long)classes,
                    MOST_CLASSES);
    return names || !*stage_options.opt ? 0 : take_names(frame_meta(request, "class_names"));
}

/* Makes the network: logits = fc.weight h + fc.bias. */
static struct plan *make_plan(const struct tensor *h)
{
    struct plan *p = plan_new(h->shape[2]);
    if (p && plan_bias(p, plan_linear(p, 0, classes, "fc"), "fc") < 0) {
        plan_free(p);
        p = NULL;
    }
    return p;
}

static void describe(const struct tensor *h, struct frame *join)
{
    char text[48];
    (void)h;
    snprintf(text, sizeof text, "classes=%lld", (long long)classes);
    frame_set_meta(join, "classifier", text);
    if (names)
        frame_set_meta(join, "class_names", names);
}

/* Returns dlogits [B,V,C] with the loss and the accuracy of the batch (struct stage). */
static struct frame *loss(const struct frame *output, int threads)
{
    const struct tensor *logits = frame_find(output, "logits");
    const int64_t b = logits->shape[0], v = logits->shape[1];
    const struct tensor *y = frame_need(output, "y", DTYPE_I64, 1, &b);
    if (!y)
        return NULL;
    struct cross_entropy_metrics m;
    double *losses = calloc((size_t)(b * v), sizeof *losses);
    struct frame *f = frame_new(&(struct tensor_spec){"dlogits", DTYPE_F32, 3, {b, v, classes}}, 1);
    if (!losses)
        fail_memory(NULL);
    if (!losses || !f ||
        cross_entropy(logits->data, y->data, b, v, classes, smoothing, threads, losses,
                      frame_find(f, "dlogits")->data, &m)) {
        free(losses);
        frame_free(f);
        return NULL;
    }
    free(losses);
    frame_inherit_metas(f, output);
    frame_set_meta_float(f, "loss", (float)m.loss);
    frame_set_meta_float(f, "accuracy", (float)m.accuracy);
    return f;
}

int main(int argc, char **argv)
{
    signals_setup();
    stage_options_defaults();
    const struct program program = {
        "classify",
        "a linear classifier with softmax cross-entropy",
        details,
        {options, stage_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    const int status = stage_run(&(struct stage){.input = "h",
                                                 .output = "logits",
                                                 .configure = configure,
                                                 .begin = begin,
                                                 .make_plan = make_plan,
                                                 .describe = describe,
                                                 .flags = "--classes",
                                                 .loss = loss});
    free(names);
    return status;
}
