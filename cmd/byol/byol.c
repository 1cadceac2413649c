/* byol: computes the loss of BYOL. Reads projections and those of a momentum encoder, and writes
 * the gradient of the first. */
#include "base/signals.h"
#include "loss/byol_loss.h"
#include "program/link_options.h"
#include "program/loss.h"

static const char details[] =
    "In:  `z` F32 [B,2,d]: predictions from two views of each of B images; `z_target` F32\n"
    "     [B,2,d]: the projections of the same views by the momentum encoder. `encode --ema`\n"
    "     and `project --ema` make them. A frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is 2 - 2 cos(z_i, t_p), where t_p is the target of the other view of the\n"
    "same image. The loss is the mean over all 2B rows, half of the paper's sum of both views\n"
    "(arXiv 2006.07733, equation 2). The target has no gradient.\n"
    "\n"
    "Example: project --predictor --opt ipc://opt --next exec:byol";

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"byol",
                                    "the loss of BYOL, which has no negatives",
                                    details,
                                    {loss_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.target = LOSS_TARGET_NEEDED, .compute = byol_loss});
}
