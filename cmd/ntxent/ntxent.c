/* ntxent: computes the contrastive loss of SimCLR. Reads projections and writes their gradient. */
#include "loss/ntxent.h"

#include <stdlib.h>

#include "base/fail.h"
#include "base/signals.h"
#include "loss/moco_loss.h"
#include "program/link_options.h"
#include "program/loss.h"

static double temperature = 0.5;
static int64_t queue_size;
static struct projection_queue queue;
static bool normalized;

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {.name = "queue",
     .kind = OPTION_INT,
     .value = &queue_size,
     .argument = "N",
     .min = 0,
     .max = 1e9,
     .help = "the last N projections are negatives as well; 0: none"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. All 2B rows are each\n"
    "     other's candidates, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `contrast_entropy`,\n"
    "     `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is -ln softmax(s_i)[positive] over all other rows, where the\n"
    "similarity s_ij is the cosine of rows i and j, or with --no-normalize their dot\n"
    "product, divided by T.\n"
    "\n"
    "With --queue N the last N rows of earlier batches are candidates as well, without\n"
    "gradient. If requests have `z_target` F32 [B,2,d] (encode and project --ema), the\n"
    "loss is MoCo's: the positive is the other view's row of z_target, the negatives\n"
    "are the queue alone, and the rows of z_target enter it. The optimizer at --opt\n"
    "keeps the queue, for a run that may be resumed.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | ntxent | inspect";

/* ---- the queue ---- */

/* Makes the queue, whose rows are as wide as those of the first batch. */
static int open_queue(const struct loss_input *first, const struct loss_tensor **tensors)
{
    static struct loss_tensor all[] = {{.name = "loss.queue", .dtype = DTYPE_F32, .ndim = 2},
                                       {.name = "loss.queue_rows", .dtype = DTYPE_I64}};
    queue = (struct projection_queue){.size = queue_size, .d = first->d};
    queue.rows = calloc((size_t)queue_size, (size_t)first->d * sizeof *queue.rows);
    if (!queue.rows)
        return fail("out of memory for a queue of %lld rows of %lld values", (long long)queue_size,
                    (long long)first->d);
    normalized = first->normalize;
    all[0].shape[0] = queue_size;
    all[0].shape[1] = first->d;
    all[0].data = queue.rows;
    all[1].data = &queue.pushed;
    *tensors = all;
    return sizeof all / sizeof *all;
}

static int check_queue(void)
{
    return projection_queue_check(&queue, normalized);
}

static int compute_with_queue(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    if (in->d != queue.d)
        return fail("z has rows of %lld values, and the queue rows of %lld", (long long)in->d,
                    (long long)queue.d);
    if (in->target ? moco_loss(in, temperature, &queue, dz, metrics)
                   : ntxent(in, temperature, &queue, dz, metrics))
        return -1;
    projection_queue_push(&queue, in->target ? in->target : in->z, in->n, in->normalize);
    return 0;
}

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return ntxent(in, temperature, NULL, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"ntxent",
                                    "the normalized temperature-scaled cross-entropy loss",
                                    details,
                                    {options, loss_state_option_specs, loss_normalize_option_specs,
                                     loss_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    if (loss_has_optimizer() && !queue_size)
        options_reject("--opt needs --queue: without a queue there is nothing to keep");
    struct loss loss = {.single = "negatives", .compute = compute};
    if (queue_size) {
        loss.target = LOSS_TARGET_TAKEN;
        loss.compute = compute_with_queue;
        loss.open = open_queue;
        loss.check = check_queue;
    }
    const int status = loss_run(&loss);
    free(queue.rows);
    return status;
}
