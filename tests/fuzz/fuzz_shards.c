/* Fuzzes data that commands deliver: the output of two commands is an archive or frames. Two bytes
 * decide how to open the data, and where the first command breaks off. */
#include <assert.h>
#include <stdint.h>
#include <time.h>

#include "coprocess.h"
#include "data/dataset.h"
#include "link/endpoint.h"

/* No time passes before a command runs again. */
int nanosleep(const struct timespec *wanted, struct timespec *rest)
{
    (void)wanted;
    (void)rest;
    return 0;
}

static void look_at(const struct sample *s)
{
    assert(s->label >= -1);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s->size; i++)
        sum = (uint8_t)(sum + s->bytes[i]);
}

static void read_all(struct dataset *set)
{
    struct sample s = {0};
    for (int pass = 0; dataset_is_stream(set) && pass < 2; pass++)
        if (pass == 0 || dataset_rewind(set) == 0)
            while (dataset_next(set, &s) == DATASET_SAMPLE)
                look_at(&s);
    for (int64_t i = 0; !dataset_is_stream(set) && i < dataset_count(set); i++)
        if (dataset_get(set, i, &s) == 0)
            look_at(&s);
    sample_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size};
    const uint8_t how = input_byte(&rest), cut = input_byte(&rest);
    const bool again = (how & 0xe0) == 0xe0;
    if (how & 1)
        coprocess_prints(rest, again ? (size_t)cut * 64 : SIZE_MAX, how & 2);
    else
        coprocess_says(rest, how & 2);
    const struct link_config links = {.max_frame = INPUT_MAX_FRAME, .timeout = 1};
    struct read_errors *errors = read_errors_new(false);
    assert(errors);
    struct dataset *set =
        dataset_open(&(struct dataset_options){.path = "exec:{a,b}",
                                               .format = "auto",
                                               .split = how & 4 ? "test" : "train",
                                               .size = 32,
                                               .budget = how & 8 ? 0 : 1 << 20,
                                               .count = how & 16 ? 1 + cut % 8 : 0,
                                               .retries = again,
                                               .links = &links},
                     errors);
    if (set)
        read_all(set);
    dataset_close(set);
    read_errors_free(errors);
    return 0;
}
