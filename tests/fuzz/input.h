/* input: what the fuzzers share: their bytes taken apart, and frames looked at from all sides.
 *
 * A fuzz_NAME.c feeds bytes to one part of the library that takes bytes from others. `make fuzz`
 * runs them; docs/frames.md says how. An input that holds several things separates them by a byte
 * of 0xff, which is in no UTF-8 text. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

enum { INPUT_MAX_FRAME = 1 << 16 }; /* --max-frame of the fuzzed */

struct input {
    const uint8_t *bytes;
    size_t size;
};

/* libFuzzer calls these. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What lies before the next 0xff; *rest becomes what lies behind it. false: nothing is left. */
bool input_part(struct input *rest, struct input *part);
/* The first byte, which is taken off, or 0. */
uint8_t input_byte(struct input *rest);
/* A copy as text, up to the first 0. The caller's. */
char *input_text(struct input part);

/* A frame of text, then perhaps a 0 and bytes, which are repeated to fill the tensors. The text is
 * a header's JSON, for which length and size are right; or, as it does not begin with '{', a line
 * for each tensor and each key, whose offsets are right as well:
 *
 *   step=3
 *   z F32 4 2 128
 *
 * NULL with a message. */
struct frame *input_frame(struct input part);

/* An unnamed file of bytes, read from its beginning; or of a stream's, one frame a part: the part
 * itself where it begins with '!', else like input_frame()'s. */
int input_file(struct input part);
int input_stream(struct input rest);
/* The path at which such a file can be opened; valid until the next call. */
const char *input_path(int fd);

/* Reads all that is in a frame, seals it, parses its bytes and compares. */
void look_at_frame(struct frame *f);

#endif
