/* Fuzzes the reading end of a stream: that of a command, that of a socket, whose frames may arrive
 * out of order, or both in turn. */
#include "link/stream.h"

#include "coprocess.h"
#include "link/endpoint.h"
#include "peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size};
    const struct link_config config = {.max_frame = INPUT_MAX_FRAME};
    const uint8_t how = input_byte(&rest);
    coprocess_says(rest, how / 2 % 2);
    peers_play(rest);
    static const char *const endpoints[] = {
        "exec:it", "tcp://127.0.0.1:1", "exec:it,tcp://127.0.0.1:1", "tcp://127.0.0.1:1,exec:it"};
    struct source *s = source_open(endpoints[how % 2 + (how & 4) / 2], &config);
    struct frame *f;
    while (source_next(s, &f) == SOURCE_FRAME) {
        look_at_frame(f);
        frame_free(f);
    }
    source_close(s);
    return 0;
}
