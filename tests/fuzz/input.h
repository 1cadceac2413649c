/* input: functions that the fuzzers share, which split their bytes and check frames.
 *
 * A fuzz_NAME.c passes bytes to one part of the library that reads bytes from others. `make fuzz`
 * runs the fuzzers; docs/frames.md explains them. An input that holds several things separates them
 * by a byte of 0xff, which does not occur in UTF-8 text. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

enum { INPUT_MAX_FRAME = 1 << 16 }; /* --max-frame of the fuzzed programs */

struct input {
    const uint8_t *bytes;
    size_t size;
};

/* The functions that libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Sets *part to the bytes before the next 0xff, and *rest to those after it. Returns false if
 * nothing is left. */
bool input_part(struct input *rest, struct input *part);
/* Removes the first byte and returns it, or 0 if nothing is left. */
uint8_t input_byte(struct input *rest);
/* Returns a copy as text, up to the first 0. It belongs to the caller. */
char *input_text(struct input part);

/* Makes a frame from text that may be followed by a 0 and bytes, which are repeated to fill the
 * tensors. The text is either the JSON of a header, for which length and size are corrected, or, if
 * it does not begin with '{', a line for each tensor and each key, whose offsets are correct as
 * well:
 *
 *   step=3
 *   z F32 4 2 128
 *
 * Returns NULL with a message on failure. */
struct frame *input_frame(struct input part);

/* Return an unnamed file, positioned at its beginning: input_file() one with these bytes,
 * input_stream() one with a frame for each part. The part itself is the frame if it begins with
 * '!', otherwise the frame is that of input_frame(). */
int input_file(struct input part);
int input_stream(struct input rest);
/* Returns the path at which such a file can be opened, which is valid until the next call. */
const char *input_path(int fd);

/* Reads everything in a frame, seals it, parses its bytes and compares the result. */
void look_at_frame(struct frame *f);

#endif
