/* torch_file: reads the tensors of files that torch.save() wrote (.pth, .pt, .ckpt), in the zip
 * form (torch_zip.h) and in the one before PyTorch 1.6 (torch_legacy.h). Files of big-endian
 * machines, the tar form of PyTorch 0.1 and TorchScript are refused.
 *
 * No code of the file is run (pickle.h). Objects of classes beside the tensors, such as the
 * argparse.Namespace of a trainer's settings, are passed over and named once on stderr.
 *
 * Memory: the frame; its pickle (at most 64 MiB) with its values (PICKLE_MAX_MEMORY); and one
 * storage at a time. The storages of a zip archive have at most 1032 times the bytes of the file,
 * which is what deflate can make of them, and those of a file that is not deflated at most the
 * bytes of the file. The frame has at most 8 times the bytes of the wanted storages and 16 MiB, for
 * tensors may share storages, and at most FRAME_DEFAULT_LIMIT. */
#ifndef TORCH_FILE_H
#define TORCH_FILE_H

#include <stdbool.h>

#include "frame/frame.h"

/* Returns true if a regular file begins as files of torch.save() do, also as those that
 * torch_file_load() refuses with a message. Leaves no message. */
bool torch_file_recognize(const char *path);

/* Returns a frame, which the caller frees, with the tensors for whose names `wanted` returns true
 * (NULL: all tensors), in contiguous row-major order. The names are the keys of nested dicts,
 * OrderedDicts, lists and tuples, joined by dots ("state_dict.layer1.0.conv1.weight"). float16,
 * bfloat16, float32 and float64 become F32, integers and bool I64. Returns NULL with a message that
 * names the file and its defect, among others if
 *
 *   - a wanted tensor is sparse, quantized or complex, or made by a global that is not known;
 *   - a value of float64 is not finite or beyond the largest float32;
 *   - two tensors have the same name, or a name is no printable UTF-8. */
struct frame *torch_file_load(const char *path, bool (*wanted)(const char *name, void *context),
                              void *context);

#endif
