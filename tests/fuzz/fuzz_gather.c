/* Fuzzes the rows of several workers, and the answers to all of them, with the program gather. */
int gather_main(int argc, char **argv);
#define main gather_main
#include "../../cmd/gather/gather.c"
#undef main

#include "workers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    workers_play((struct input){bytes, size});
    collective_run(answer);
    return 0;
}
