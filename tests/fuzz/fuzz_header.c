/* Fuzzes a frame's header: JSON with the right length, so that the fuzzer tries its contents. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct frame *f = input_frame((struct input){bytes, size});
    if (f)
        look_at_frame(f);
    frame_free(f);
    return 0;
}
