/* torch_write: writes tensors as torch.save() of PyTorch 1.6 and later writes a state dictionary.
 *
 * The file is a zip archive whose members are stored, not compressed. archive/data.pkl is a pickle
 * (protocol 2) of an OrderedDict from names to tensors; tensor i has its values in archive/data/i,
 * little-endian, row-major. torch.load() reads it, also with weights_only=True. Source of the layout:
 * torch/serialization.py and torch/_utils.py (_rebuild_tensor_v2) of PyTorch. */
#ifndef TORCH_WRITE_H
#define TORCH_WRITE_H

#include "frame/tensor.h"

/* Writes n tensors, in this order, to a file, which appears when it is complete. Returns -1 with a
 * message. */
int torch_write(const struct tensor *tensors, int n, const char *path);

#endif
