/* center on series: the whole series, which an evaluation shows. */
#include "views/operation.h"
#include "views/resample.h"

const struct operation operation_series_center = {
    .name = "center",
    .note = "for evaluation: all steps",
    .first = true,
    .evaluation = true,
    .drawn_size = sizeof(struct box),
    .fields = operation_run_fields,
    .apply = resample_run,
};
