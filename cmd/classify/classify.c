/* classify: a linear classifier with its loss, in place of project and a contrastive loss. It reads
 * features and labels, and returns the gradient of the features. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/signals.h"
#include "link/link.h"
#include "loss/cross_entropy.h"
#include "network/plan.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"

enum { MOST_CLASSES = 1 << 20 };

static int64_t classes;
static double smoothing;

static const struct option_spec options[] = {
    {.name = "classes",
     .kind = OPTION_INT,
     .value = &classes,
     .argument = "N",
     .min = 1,
     .max = MOST_CLASSES,
     .help = "number of classes; without: what the frames' `classes` says"},
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

/* Finds the number of classes. */
static int begin(const struct frame *request)
{
    if (classes)
        return 0;
    if (frame_meta_int(request, "classes", 0, &classes))
        return -1;
    if (!classes)
        return fail("how many classes? The frames do not say: give --classes");
    return classes > 0 && classes <= MOST_CLASSES
               ? 0
               : fail("the frames say %lld classes: 1 to %d are possible", (long long)classes,
                      MOST_CLASSES);
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
    return stage_run(&(struct stage){.input = "h",
                                     .output = "logits",
                                     .begin = begin,
                                     .make_plan = make_plan,
                                     .flags = "--classes",
                                     .loss = loss});
}
