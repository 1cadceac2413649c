#include "base/written.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"

/* Why bytes were lost; 0: they were not. stdio keeps that a write failed and forgets why; the next
 * one fails for the same reason. */
static int reason(FILE *file)
{
    const bool failed = ferror(file);
    if (fflush(file))
        return errno;
    if (!failed && !ferror(file))
        return 0;
    return write(fileno(file), "\n", 1) < 0 ? errno : EIO;
}

int written(FILE *file, const char *where)
{
    const int why = reason(file);
    return why ? fail("%s: %s", where, strerror(why)) : 0;
}

int written_text(void)
{
    const int why = reason(stdout);
    if (why == EPIPE)
        return 1;
    return why ? fail("stdout: %s", strerror(why)) : 0;
}
