/* export-model: writes a model's network for other programs, as ONNX, PyTorch or safetensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "frame/frame_io.h"
#include "network/encoder.h"
#include "network/head.h"
#include "onnx/onnx_export.h"
#include "program/checkpoint.h"
#include "program/parameter_frames.h"
#include "python/torch_write.h"

enum { SIZE_OF_MODEL = -1 };
static const char *model, *to;
static int64_t size = SIZE_OF_MODEL;
static bool folds, with_projector, with_classifier;

static const struct option_spec options[] = {
    {.name = "model",
     .kind = OPTION_STRING,
     .value = &model,
     .argument = "FILE",
     .help = "the model or state to export"},
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
    {.name = "size",
     .kind = OPTION_INT,
     .value = &size,
     .argument = "S",
     .min = 0,
     .max = 1 << 20,
     .help = "ONNX: images of S x S pixels, or series of S steps; 0: any; without: the model's"},
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

/* What is exported: the plans hold the values. */
struct network {
    struct encoder encoder;
    struct plan *plan, *projector, *classifier; /* heads are NULL if they are not asked for */
};

static void clear(struct network *n)
{
    plan_free(n->plan);
    plan_free(n->projector);
    plan_free(n->classifier);
}

/* Makes the head that the file's tensors projector.0, projector.3, ... are of. */
static struct plan *make_projector(const struct frame *f, int64_t features)
{
    const struct tensor *first = NULL, *t = NULL, *last = NULL;
    int layers = 0;
    for (char name[40];; layers++, last = t) {
        snprintf(name, sizeof name, "projector.%d.weight", 3 * layers);
        if (!(t = frame_find(f, name)))
            break;
        if (t->ndim != 2)
            return fail_null("%s is not a matrix", name);
        first = first ? first : t;
    }
    if (!layers)
        return fail_null("there is no projection head");
    return head_plan(layers, features, first->shape[0], last->shape[0]);
}

/* Makes the classifier that the file's tensors fc.weight and fc.bias are of. */
static struct plan *make_classifier(const struct frame *f, int64_t features)
{
    const struct tensor *weight = frame_find(f, "fc.weight");
    if (!weight || weight->ndim != 2)
        return fail_null("there is no classifier");
    struct plan *p = plan_new(features);
    if (p && plan_bias(p, plan_linear(p, 0, weight->shape[0], "fc"), "fc") < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}

/* Makes the plans that the model describes, and takes their values from it. */
static int read_model(const struct frame *f, struct network *n)
{
    const char *text = frame_meta(f, "encoder");
    if (!text)
        return fail("%s does not describe its encoder", model);
    if (encoder_parse(text, &n->encoder) || !(n->plan = encoder_plan(&n->encoder)))
        return fail_prefix("%s", model);
    const int64_t features = n->plan->channels[n->plan->n_tensors - 1];
    if ((with_projector && !(n->projector = make_projector(f, features))) ||
        (with_classifier && !(n->classifier = make_classifier(f, features))))
        return fail_prefix("%s", model);
    struct plan *const plans[] = {n->plan, n->projector, n->classifier};
    for (int i = 0; i < 3; i++)
        if (plans[i] && checkpoint_take(&plans[i]->parameters, f, model, "description"))
            return -1;
    return 0;
}

/* ---- the formats ---- */

static int write_onnx(const struct network *n)
{
    struct onnx_export e = {.encoder = &n->encoder, .plan = n->plan, .size = size, .fold = folds};
    if (size == SIZE_OF_MODEL)
        e.size = n->encoder.size;
    if (e.size == 0 && size == SIZE_OF_MODEL)
        return fail("%s does not say the size of its images: give --size", model);
    if (n->projector)
        e.heads[e.n_heads++] = (struct onnx_head){n->projector, "projection"};
    if (n->classifier)
        e.heads[e.n_heads++] = (struct onnx_head){n->classifier, "logits"};
    return onnx_export(&e, to);
}

/* Returns the tensors of all plans, whose values stay the plans', or NULL with a message. The
 * caller frees the array. */
static struct tensor *list_tensors(const struct network *n, int *count)
{
    const struct plan *const plans[] = {n->plan, n->projector, n->classifier};
    *count = 0;
    for (int i = 0; i < 3; i++)
        *count += plans[i] ? plans[i]->parameters.n : 0;
    struct tensor *list = calloc((size_t)*count, sizeof *list), *at = list;
    if (!list)
        fail_memory(NULL);
    for (int i = 0; i < 3 && list; i++)
        for (int k = 0; plans[i] && k < plans[i]->parameters.n; k++, at++) {
            const struct parameter *p = &plans[i]->parameters.list[k];
            *at = (struct tensor){.name = p->name,
                                  .dtype = parameter_frames_dtype(p),
                                  .ndim = p->ndim,
                                  .bytes = parameters_bytes(p),
                                  .data = p->value};
            memcpy(at->shape, p->shape, sizeof p->shape);
        }
    return list;
}

/* "format" = "pt" is what readers of PyTorch models expect in the metadata. */
static int write_safetensors(const struct network *n, const struct tensor *list, int count)
{
    struct tensor_spec *specs = calloc((size_t)count, sizeof *specs);
    for (int i = 0; specs && i < count; i++)
        specs[i] = tensor_spec_of(&list[i]);
    struct frame *f = specs ? frame_new_unset(specs, count) : NULL;
    if (!specs)
        fail_memory(NULL);
    free(specs);
    if (!f)
        return -1;
    for (int i = 0; i < count; i++)
        memcpy(frame_find(f, list[i].name)->data, list[i].data, list[i].bytes);
    char text[ENCODER_TEXT];
    encoder_print(&n->encoder, text);
    frame_set_meta(f, "format", "pt");
    frame_set_meta(f, "encoder", text);
    const int bad = frame_save(f, to);
    frame_free(f);
    return bad;
}

static int write_tensors(const struct network *n, enum format format)
{
    int count;
    struct tensor *list = list_tensors(n, &count);
    const int bad = !list             ? -1
                    : format == TORCH ? torch_write(list, count, to)
                                      : write_safetensors(n, list, count);
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

    struct frame *f = frame_load(model);
    struct network n = {0};
    int bad = f ? read_model(f, &n) : -1;
    frame_free(f);
    frame_trim_memory();
    if (!bad)
        bad = format == ONNX ? write_onnx(&n) : write_tensors(&n, format);
    clear(&n);
    return bad ? warn_failure() : 0;
}
