/* Files of torch.save(). With two arguments it is a program that reads the first file and writes
 * its tensors as a frame into the second one; tests/full/torch_files.sh compares those with
 * PyTorch's. */
#include "python/torch_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>

#include "base/warn.h"
#include "frame/frame_io.h"

#include <cmocka.h>

static int convert(const char *from, const char *to)
{
    struct frame *f = torch_file_load(from, NULL, NULL);
    const int status = f && frame_save(f, to) == 0 ? 0 : warn_failure();
    frame_free(f);
    return status;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return convert(argv[1], argv[2]);
    return 0;
}
