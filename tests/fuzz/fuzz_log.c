/* Fuzzes the metrics table of a run that is resumed: a file that exists already, and the rows of
 * two frames. */
#include "report/metrics_log.h"

#include <assert.h>
#include <stdio.h>

#include "tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size}, frame, table = {0};
    char path[128];
    if (!input_part(&rest, &frame))
        return 0;
    input_part(&rest, &table);
    struct frame *f = input_frame(frame);
    if (!f)
        return 0;
    snprintf(path, sizeof path, "%s/log.tsv", tree_new());
    tree_add("log.tsv", table);
    struct metrics_log *log = metrics_log_open(path, f);
    if (log) {
        assert(!metrics_log_write(log, f) && !metrics_log_write(log, f));
        assert(!metrics_log_close(log));
    }
    frame_free(f);
    return 0;
}
