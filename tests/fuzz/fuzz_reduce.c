/* Fuzzes the frames of several workers, and the answers to their sum, with the program reduce. */
int reduce_main(int argc, char **argv);
#define main reduce_main
#include "../../cmd/reduce/reduce.c"
#undef main

#include "workers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    workers_play((struct input){bytes, size});
    collective_run(answer);
    return 0;
}
