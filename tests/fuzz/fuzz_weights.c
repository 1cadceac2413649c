/* Fuzzes files for --init: safetensors with the header of the first part, or with the tensors of its
 * lines (input.h), and the rest as data. Whatever is found in them must be described, and is taken
 * by a network and a head or refused. */
#include "weights/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/warn.h"
#include "input.h"
#include "network/encoder.h"
#include "network/head.h"
#include "network/projector.h"
#include "network/resnet.h"
#include "program/checkpoint.h"

/* Returns a file with a header as it stands, and the bytes after its first 0 as data. */
static int header_file(struct input part)
{
    const uint8_t *zero = part.size ? memchr(part.bytes, 0, part.size) : NULL;
    const size_t length = zero ? (size_t)(zero - part.bytes) : part.size;
    const size_t data = zero ? part.size - length - 1 : 0;
    uint8_t *whole = malloc(8 + part.size + 1);
    assert(whole);
    for (int i = 0; i < 8; i++)
        whole[i] = (uint8_t)((uint64_t)length >> (8 * i));
    if (length)
        memcpy(whole + 8, part.bytes, length);
    if (data)
        memcpy(whole + 8 + length, zero + 1, data);
    const int fd = input_file((struct input){whole, 8 + length + data});
    free(whole);
    return fd;
}

static int frame_file(struct input part)
{
    const unsigned char *bytes;
    size_t size;
    struct frame *f = input_frame(part);
    int fd = -1;
    if (f && !frame_seal(f, false, &bytes, &size))
        fd = input_file((struct input){bytes, size});
    frame_free(f);
    return fd;
}

static void look_at(const struct frame *f)
{
    struct encoder e;
    struct projector p;
    for (int i = 0; i < f->n_tensors; i++) {
        assert(f->tensors[i].dtype == DTYPE_F32 || f->tensors[i].dtype == DTYPE_I64);
        assert(frame_find(f, f->tensors[i].name) == &f->tensors[i]);
    }
    if (weights_derived(f, "encoder"))
        assert(encoder_parse(frame_meta(f, "encoder"), &e) == 0);
    if (weights_derived(f, "projector"))
        assert(projector_parse(frame_meta(f, "projector"), &p) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct plan *head, *network;
    if (!head) {
        warn_set_name("weights");
        head = head_plan(1, 2, 0, 3);
        network = resnet_plan(18, 0.01, RESNET_STEM_CIFAR, 3);
        assert(head && network);
    }
    struct input rest = {bytes, size};
    const int fd = input_byte(&rest) % 2 ? header_file(rest) : frame_file(rest);
    if (fd < 0)
        return 0;
    struct frame *f = weights_load(input_path(fd));
    if (f) {
        look_at(f);
        checkpoint_take(&head->parameters, f, "it", "flags");
        checkpoint_take(&network->parameters, f, "it", "flags");
    }
    frame_free(f);
    close(fd);
    return 0;
}
