/* Fuzzes CIFAR's batches and names as pickles, in memory. In the input, "@C" stands for the pixels
 * of an image. The first byte says what to read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/cifar_batch.h"
#include "input.h"

enum { MAX_EXPANDED = 1 << 17, CLASSES = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size};
    const uint8_t how = input_byte(&rest);
    uint8_t *expanded = calloc(1, MAX_EXPANDED + CIFAR_PIXELS);
    size_t n = 0;
    assert(expanded);
    while (rest.size && n < MAX_EXPANDED) {
        const uint8_t byte = input_byte(&rest);
        if (byte == '@' && rest.size && *rest.bytes == 'C') {
            n += CIFAR_PIXELS;
            input_byte(&rest);
        } else
            expanded[n++] = byte;
    }
    uint8_t *exact = malloc(n + 1); /* so that a read after its end is found */
    assert(exact);
    memcpy(exact, expanded, n);
    uint8_t *shrunk = realloc(exact, n ? n : 1);
    const struct sample file = {.bytes = shrunk, .size = n, .file = "it"};
    struct cifar_images images = {0};
    const char *names[CLASSES];
    char *text = NULL;
    if (how & 1) {
        if (cifar_batch_pickled_names(&file, "names", CLASSES, names, &text) == 0)
            for (int i = 0; i < CLASSES; i++)
                assert(*names[i] && strlen(names[i]) < 256);
    } else if (cifar_batch_add_pickle(&images, &file, "labels", CLASSES) == 0) {
        assert(images.count > 0);
        for (int64_t i = 0; i < images.count; i++)
            assert(images.images[i * CIFAR_KEPT + CIFAR_PIXELS] < CLASSES);
    }
    cifar_images_free(&images);
    free(text);
    free(shrunk);
    free(expanded);
    return 0;
}
