/* safetensors: reads some of the tensors of a safetensors file, which may hold dtypes that frames do
 * not have.
 *
 * F16, BF16, F32 and F64 become F32; I8, U8, I16, U16, I32, U32, I64 and BOOL become I64. A tensor
 * of any other dtype can be passed over and not read. The file may be a pipe. Memory: the header (at
 * most 100 MB), and the tensors that are read; while they are converted, 1 MiB more. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stdbool.h>

#include "frame/frame.h"

/* A file whose header was read. */
struct safetensors;

/* Opens a file and reads its header. Returns NULL with a message that names the file and the defect,
 * also if the header asks for more bytes than the file has. */
struct safetensors *safetensors_open(const char *path);
void safetensors_close(struct safetensors *s); /* NULL is fine */

/* The names of the tensors in the order of their bytes; `s` owns them. */
int safetensors_count(const struct safetensors *s);
const char *safetensors_name(const struct safetensors *s, int i);

/* Reads the tensors for whose names `wanted` returns true, checks the metadata `crc32` if there is
 * one, and returns a new frame with them and all metadata but `crc32`. It can be called once.
 * Returns NULL with a message if the file ends early or goes on after the last tensor, or if a value
 * of F64 is beyond the largest float32. */
struct frame *safetensors_read(struct safetensors *s,
                               bool (*wanted)(const char *name, void *context), void *context);

#endif
