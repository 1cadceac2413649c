/* head: the projection head as a plan on 1x1 maps (arXiv 2002.05709, section 4.2 and appendix B).
 *
 * Parameters have the names of nn.Sequential(Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d): the
 * linear map of layer l is projector.{3l}, and its batch norm is projector.{3l+1}. Linear maps have
 * no bias. A batch norm follows each of them; the last norm has no ReLU and no trainable bias. */
#ifndef HEAD_H
#define HEAD_H

#include "network/plan.h"

/* Returns a head of `layers` linear maps, at least 1, of which all but the last are hidden layers.
 * It maps `in` features through layers of `hidden` features (0: as many as the input has) to `out`
 * features. Returns NULL with a message on failure. A head of 0 layers needs no network: its output
 * is its input. */
struct plan *head_plan(int layers, int64_t in, int64_t hidden, int64_t out);

/* Returns the predictor of BYOL (arXiv 2006.07733, section 3.3), which maps the projections of one
 * view to those of the other. It is a head whose parameters are called predictor.{3l} and
 * predictor.{3l+1}, and whose last linear map has no norm after it. */
struct plan *head_predictor_plan(int layers, int64_t in, int64_t hidden, int64_t out);

#endif
