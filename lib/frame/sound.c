#include "frame/sound.h"

#include <string.h>

#include "base/fail.h"
#include "base/finite.h"
#include "base/multiversion.h"

MULTIVERSION static bool finite_halves(const uint16_t *v, size_t n, uint16_t exponent)
{
    uint16_t found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (v[i] & exponent) == exponent;
    return !found;
}

static bool is_finite(const struct tensor *t)
{
    switch (t->dtype) {
    case DTYPE_F32:
        return finite_floats(t->data, tensor_count(t));
    case DTYPE_BF16:
        return finite_halves(t->data, tensor_count(t), 0x7f80);
    case DTYPE_F16:
        return finite_halves(t->data, tensor_count(t), 0x7c00);
    default:
        return true;
    }
}

static bool ends(const char *name, const char *ending)
{
    const size_t length = strlen(name), of_it = strlen(ending);
    return length >= of_it && !strcmp(name + length - of_it, ending);
}

static bool is_negative(const struct tensor *t)
{
    const size_t n = tensor_count(t);
    bool found = false;
    if (t->dtype == DTYPE_F32)
        for (size_t i = 0; i < n; i++)
            found = found || ((const float *)t->data)[i] < 0;
    if (t->dtype == DTYPE_I64)
        for (size_t i = 0; i < n; i++)
            found = found || ((const int64_t *)t->data)[i] < 0;
    return found;
}

int sound_tensor(const struct tensor *t)
{
    if (!is_finite(t))
        return fail("%s holds NaN or infinity", t->name);
    const bool counts = ends(t->name, ".running_var") || ends(t->name, ".num_batches_tracked") ||
                        !strncmp(t->name, "exp_avg_sq/", strlen("exp_avg_sq/"));
    return counts && is_negative(t) ? fail("%s holds a negative value", t->name) : 0;
}
