#include "base/flush.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"

/* Returns the errno of the write that lost bytes, or 0 if none did. stdio remembers that a write
 * failed but not why, so this writes again, which fails for the same reason. */
static int flush_error(FILE *file)
{
    const bool failed = ferror(file);
    if (fflush(file))
        return errno;
    if (!failed && !ferror(file))
        return 0;
    return write(fileno(file), "\n", 1) < 0 ? errno : EIO;
}

int flush_file(FILE *file, const char *where)
{
    const int error = flush_error(file);
    return error ? fail("%s: %s", where, strerror(error)) : 0;
}

enum flush_result flush_stdout(void)
{
    const int error = flush_error(stdout);
    if (!error)
        return FLUSH_DONE;
    if (error == EPIPE)
        return FLUSH_READER_GONE;
    fail("stdout: %s", strerror(error));
    return FLUSH_FAILED;
}
