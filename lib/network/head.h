/* head: the projection head as a plan on 1x1 maps (arXiv 2002.05709, section 4.2 and appendix B).
 *
 * Names are those of nn.Sequential(Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d): layer l's
 * linear map is projector.{3l}, its batch norm projector.{3l+1}. Linear maps have no bias; each is
 * followed by a batch norm, of which the last has no ReLU and no trainable bias. */
#ifndef HEAD_H
#define HEAD_H

#include "network/plan.h"

/* `layers` linear maps, from 1 on (all but the last are hidden layers), from `in` features over
 * `hidden` (0: as wide as the input) to `out`. NULL with a message. A head of 0 layers is no
 * network: its output is its input. */
struct plan *head_plan(int layers, int64_t in, int64_t hidden, int64_t out);

#endif
