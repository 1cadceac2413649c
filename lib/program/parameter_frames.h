/* parameter_frames: converts the parameters of a network to tensors of a frame, and back. */
#ifndef PARAMETER_FRAMES_H
#define PARAMETER_FRAMES_H

#include "frame/frame.h"
#include "network/parameters.h"

/* Returns the dtype that p's values have in a frame: DTYPE_F32, or DTYPE_I64 for integers. */
enum dtype parameter_frames_dtype(const struct parameter *p);

/* Returns f's tensor with p's name. Returns NULL with a message if there is none or if it does not
 * fit: its shape and dtype must be p's, except that BF16 may replace F32. */
const struct tensor *parameter_frames_need(const struct parameter *p, const struct frame *f);

/* Checks that each tensor of f with the name of a parameter fits it. Returns 0, or -1 with a message
 * that begins with `where`. */
int parameter_frames_check(const struct parameters *p, const struct frame *f, const char *where);
/* Copies the values of these tensors, unless a parameter's value is the tensor's data itself. BF16 is
 * widened. */
void parameter_frames_copy(struct parameters *p, const struct frame *f);

/* Copies values from f's tensors into the parameters of the same names. A parameter that f lacks
 * keeps its value; a tensor that belongs to no parameter is ignored. BF16 is widened. Returns 0, or
 * -1 with a message that begins with `where` if a tensor does not fit; then no parameter has
 * changed. */
int parameter_frames_load(struct parameters *p, const struct frame *f, const char *where);

#endif
