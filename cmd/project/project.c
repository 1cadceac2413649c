/* project: the projection head. It reads features and writes projections. With --predictor it is
 * BYOL's predictor, which reads projections and writes predictions of other projections. */
#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "network/head.h"
#include "network/projector.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"
#include "weights/weights.h"

static int64_t layers = 2, hidden, dim = 128;
static bool predictor, dim_is_open; /* the predictor's --dim follows from its input */
static struct given {
    bool layers, hidden, dim;
} given;
static struct projector trained; /* what the file says; layers is 0 if it says nothing */
static const char *file;         /* its path, or NULL */
static bool derived;             /* its tensors say what the flags leave open */

static const struct option_spec options[] = {
    {.name = "layers",
     .kind = OPTION_INT,
     .value = &layers,
     .argument = "N",
     .min = 0,
     .max = 4,
     .help = "linear layers; 0: the projection is the feature, 2: one hidden layer",
     .given = &given.layers},
    {.name = "hidden",
     .kind = OPTION_INT,
     .value = &hidden,
     .argument = "W",
     .min = 0,
     .max = 1 << 20,
     .help = "width of hidden layers; 0: as wide as the input",
     .given = &given.hidden},
    {.name = "dim",
     .kind = OPTION_INT,
     .value = &dim,
     .argument = "D",
     .min = 1,
     .max = 1 << 20,
     .help = "width of the output; with --predictor not given: that of the input",
     .given = &given.dim},
    {.name = "predictor",
     .kind = OPTION_SWITCH,
     .value = &predictor,
     .help = "BYOL's predictor: z in, z out; it has no last batch norm"},
    {0},
};

static const char details[] =
    "In:  `h` F32 [B,V,D].\n"
    "Out: without --next `z` F32 [B,V,d] in `h`'s place, in evaluation mode; with it\n"
    "     `dh` F32 [B,V,D], the gradient that came back, and the metrics with it.\n"
    "With --predictor it reads `z` and writes another `z`, and answers with `dz`.\n"
    "\n"
    "Example: encode --opt ipc://opt --next 'exec:project --opt ipc://opt --next exec:ntxent'";

static int fail_flag(const char *flag, int64_t value, int64_t then)
{
    return fail("--%s %lld, but %s was trained with %s=%lld", flag, (long long)value, file, flag,
                (long long)then);
}

/* Returns the head's key in the metadata (program/description.h), with which the names of its
 * tensors begin. */
static const char *part(void)
{
    return predictor ? "predictor" : "projector";
}

static int configure(struct stage *stage, const struct frame *weights)
{
    const char *text = frame_meta(weights, part());
    struct projector was;
    (void)stage;
    file = *stage_options.init ? stage_options.init : stage_options.like;
    if (!text)
        return 0;
    if (projector_parse(text, &was))
        return fail_prefix("%s", file);
    derived = weights_derived(weights, part()) && !(given.layers && given.hidden && given.dim);
    if (!weights_derived(weights, part())) {
        if (given.layers && layers != was.layers)
            return fail_flag("layers", layers, was.layers);
        if (given.dim && dim != was.dim)
            return fail_flag("dim", dim, was.dim);
        trained = was;
    }
    layers = given.layers ? layers : was.layers;
    hidden = given.hidden ? hidden : was.hidden;
    dim = given.dim ? dim : was.dim;
    dim_is_open = false;
    return 0;
}

static struct plan *make_plan(const struct tensor *h)
{
    const int64_t width = hidden ? hidden : h->shape[2];
    if (dim_is_open)
        dim = h->shape[2];
    if (given.hidden && trained.layers > 1 && width != trained.hidden) {
        fail_flag("hidden", hidden, trained.hidden);
        return NULL;
    }
    return predictor ? head_predictor_plan((int)layers, h->shape[2], width, dim)
                     : head_plan((int)layers, h->shape[2], width, dim);
}

static void describe(const struct tensor *h, struct frame *join)
{
    char text[PROJECTOR_TEXT];
    const int64_t width = hidden ? hidden : h->shape[2];
    projector_print(&(struct projector){layers, layers > 1 ? width : 0, dim}, text);
    if (derived)
        warn_line("%s does not say what its projection head is; its tensors are those of %s", file,
                  text);
    frame_set_meta(join, part(), text);
}

int main(int argc, char **argv)
{
    signals_setup();
    stage_options_defaults();
    const struct program program = {"project",
                                    "the projection head: features in, projections out",
                                    details,
                                    {options, stage_option_specs, stage_link_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    dim_is_open = predictor && !given.dim;
    if (predictor && stage_options.ema >= 0)
        options_reject(
            "--ema and --predictor exclude each other: a predictor has no slow copy, and "
            "passes z_target on");
    return stage_run(&(struct stage){.input = predictor ? "z" : "h",
                                     .output = "z",
                                     .configure = configure,
                                     .make_plan = make_plan,
                                     .describe = describe,
                                     .flags = "--layers, --hidden or --dim",
                                     .part = part(),
                                     .identity = layers == 0});
}
