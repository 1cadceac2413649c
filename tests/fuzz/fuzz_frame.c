/* Fuzzes a whole frame in memory, as a message or a checkpoint contains it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    void *exact = malloc(size ? size : 1);
    assert(exact);
    memcpy(exact, bytes, size);
    struct frame *f = frame_parse(exact, size, "it");
    free(exact);
    if (f)
        look_at_frame(f);
    frame_free(f);
    return 0;
}
