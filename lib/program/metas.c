#include "program/metas.h"

void metas_copy(struct frame *to, const struct frame *from, const char *const *keys)
{
    for (; *keys; keys++)
        if (frame_meta(from, *keys))
            frame_set_meta(to, *keys, frame_meta(from, *keys));
}
