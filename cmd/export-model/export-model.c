/* export-model: writes a model's network for other programs, as ONNX, PyTorch or safetensors. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "frame/frame.h"
#include "network/encoder.h"
#include "network/head.h"
#include "network/projector.h"
#include "onnx/onnx_export.h"
#include "program/checkpoint.h"
#include "python/torch_write.h"
#include "weights/derive.h"
#include "weights/weights.h"
#include "weights/weights_out.h"

enum { SIZE_OF_MODEL = -1 };
static const char *model, *to, *normalize;
static struct normalization normalization; /* what --normalize says */
static int64_t size = SIZE_OF_MODEL;
static bool folds, with_projector, with_classifier;

static const struct option_spec options[] = {
    {.name = "model",
     .kind = OPTION_STRING,
     .value = &model,
     .argument = "FILE",
     .help = "the model: of this project, PyTorch's (.pth) or safetensors"},
    {.name = "to",
     .kind = OPTION_STRING,
     .value = &to,
     .argument = "FILE",
     .help = "the file to write: its name ends in .onnx, .pth or .safetensors"},
    {.name = "projector",
     .kind = OPTION_SWITCH,
     .value = &with_projector,
     .help = "also the projection head; in ONNX the output `projection`"},
    {.name = "classifier",
     .kind = OPTION_SWITCH,
     .value = &with_classifier,
     .help = "also the classifier, fc; in ONNX the output `logits`"},
    {.name = "normalize",
     .kind = OPTION_STRING,
     .value = &normalize,
     .argument = "HOW",
     .help = "as for encode, for a model that does not say it; without: the model's"},
    {.name = "size",
     .kind = OPTION_INT,
     .value = &size,
     .argument = "S",
     .min = 0,
     .max = 1 << 20,
     .help = "ONNX: pixels a side, or steps of a series; 0: any; without: the model's"},
    {.name = "fold",
     .kind = OPTION_SWITCH,
     .value = &folds,
     .help = "ONNX: put batch norms into the weights before them"},
    {0},
};

static const char details[] =
    "ONNX: `images` F32 [N,C,S,S] from 0 to 1, in the channels' order of the training images,\n"
    "      or `series` F32 [N,C,T]; out comes `features` F32 [N,D]. Normalization is inside.\n"
    "PyTorch: a state dictionary with torchvision's names, for torch.load(weights_only=True).\n"
    "safetensors: the same tensors; encode --init reads it too.\n"
    "\n"
    "Example: export-model --model model.safetensors --to model.onnx --fold";

enum format { ONNX, TORCH, SAFETENSORS, UNKNOWN };

static enum format format_of(const char *path)
{
    static const char *const ends[] = {".onnx", ".pth", ".safetensors"};
    const size_t length = strlen(path);
    for (int i = 0; i < UNKNOWN; i++)
        if (length > strlen(ends[i]) && !strcmp(path + length - strlen(ends[i]), ends[i]))
            return (enum format)i;
    return UNKNOWN;
}

/* The networks to export, whose plans hold the values. */
struct network {
    struct encoder encoder;
    bool normalization_is_known;
    struct plan *plan, *projector, *classifier; /* heads are NULL if they are not asked for */
    struct parameters all;                      /* of these plans; names and values are theirs */
    struct frame *metas;                        /* the model's metadata */
};

static void clear(struct network *n)
{
    plan_free(n->plan);
    plan_free(n->projector);
    plan_free(n->classifier);
    free(n->all.list);
    frame_free(n->metas);
}

/* Makes the encoder's plan. Returns NULL with a message if the model does not say what it is, or
 * --normalize contradicts it. */
static struct plan *make_encoder(const struct frame *f, struct network *n)
{
    const char *text = frame_meta(f, "encoder");
    struct encoder *e = &n->encoder;
    if (!text)
        return fail_null("there is no encoder");
    if (encoder_parse(text, e))
        return NULL;
    const bool derived = weights_derived(f, "encoder");
    if (normalize && !derived && memcmp(&normalization, &e->normalize, sizeof normalization) != 0) {
        char own[NORMALIZATION_TEXT];
        normalization_print(&e->normalize, own);
        return fail_null("--normalize %s, but it was trained with normalize=%s", normalize, own);
    }
    if (normalize)
        e->normalize = normalization;
    n->normalization_is_known = normalize || !derived;
    return encoder_plan(e);
}

static struct plan *make_projector(const struct frame *f, int64_t features)
{
    struct projector p;
    if (!derive_projector(f, &p))
        return fail_null("there is no projection head");
    return head_plan((int)p.layers, features, p.hidden, p.dim);
}

static struct plan *make_classifier(const struct frame *f, int64_t features)
{
    const int64_t classes = derive_classes(f);
    struct plan *p = classes ? plan_new(features) : fail_null("there is no classifier");
    if (p && plan_bias(p, plan_linear(p, 0, classes, "fc"), "fc") < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}

/* Makes the plans of what the model holds, and takes their values from it. */
static int read_model(const struct frame *f, struct network *n)
{
    if (!(n->metas = frame_copy_metas(f)) || !(n->plan = make_encoder(f, n)))
        return fail_prefix("%s", model);
    const int64_t features = n->plan->channels[n->plan->n_tensors - 1];
    if ((with_projector && !(n->projector = make_projector(f, features))) ||
        (with_classifier && !(n->classifier = make_classifier(f, features))))
        return fail_prefix("%s", model);
    /* All values are taken at once, so that what no plan uses is named once. */
    struct plan *const plans[] = {n->plan, n->projector, n->classifier};
    return weights_out_join(plans, 3, &n->all) || checkpoint_take(&n->all, f, model, "description")
               ? -1
               : 0;
}

/* ---- the formats ---- */

static int write_onnx(const struct network *n)
{
    struct onnx_export e = {.encoder = &n->encoder, .plan = n->plan, .size = size, .fold = folds};
    if (size == SIZE_OF_MODEL)
        e.size = n->encoder.size;
    if (e.size == 0 && size == SIZE_OF_MODEL)
        return fail("%s does not say the size of its images: give --size", model);
    if (!n->normalization_is_known && !encoder_is_series(&n->encoder))
        return fail("%s does not say how its images are normalized: give --normalize", model);
    if (n->projector)
        e.heads[e.n_heads++] = (struct onnx_head){n->projector, "projection"};
    if (n->classifier) {
        e.heads[e.n_heads++] = (struct onnx_head){n->classifier, "logits"};
        e.class_names = frame_meta(n->metas, "class_names");
    }
    return onnx_export(&e, to);
}

/* Makes the metadata of a safetensors file, which say what the network is. "format" = "pt" is what
 * readers of PyTorch's models expect. A normalization that is not known stays unknown. */
static struct frame *make_metas(const struct network *n)
{
    static const char *const keys[] = {"projector", "classifier", "class_names"};
    const bool with[] = {with_projector, with_classifier, with_classifier};
    struct frame *metas = frame_new(NULL, 0);
    if (!metas)
        return NULL;
    char text[ENCODER_TEXT];
    encoder_print(&n->encoder, text);
    frame_set_meta(metas, "format", "pt");
    if (n->normalization_is_known)
        frame_set_meta(metas, "encoder", text);
    for (int i = 0; i < 3; i++)
        if (with[i] && frame_meta(n->metas, keys[i]))
            frame_set_meta(metas, keys[i], frame_meta(n->metas, keys[i]));
    return metas;
}

static int write_tensors(const struct network *n, enum format format)
{
    int bad = -1;
    struct tensor *list = weights_out_list(&n->all);
    struct frame *metas = make_metas(n);
    if (list && metas)
        bad = format == TORCH ? torch_write(list, n->all.n, to)
                              : weights_out_save(list, n->all.n, metas, to);
    frame_free(metas);
    free(list);
    return bad;
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {"export-model",
                                    "writes a model for other programs: ONNX, PyTorch, safetensors",
                                    details,
                                    {options}};
    options_parse(&program, argc, argv, NULL);
    if (!model || !to)
        options_reject("--model and --to are needed");
    const enum format format = format_of(to);
    if (format == UNKNOWN)
        options_reject("--to %s: the name must end in .onnx, .pth or .safetensors", to);
    if (format != ONNX && (folds || size != SIZE_OF_MODEL))
        options_reject("--size and --fold are for .onnx");
    if (normalize && normalization_parse(normalize, &normalization))
        options_reject("--normalize %s", fail_message());

    struct frame *f = weights_load(model);
    struct network n = {0};
    int bad = f ? read_model(f, &n) : -1;
    frame_free(f);
    frame_trim_memory();
    if (!bad)
        bad = format == ONNX ? write_onnx(&n) : write_tensors(&n, format);
    clear(&n);
    return bad ? warn_failure() : 0;
}
