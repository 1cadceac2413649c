#include "base/finite.h"

#include <stdint.h>
#include <string.h>

#include "base/multiversion.h"

/* Tests the bits: an exponent of all ones means NaN or infinity. The loop has no early exit, so the
 * compiler vectorizes it. */
MULTIVERSION bool finite_floats(const float *v, size_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return !found;
}
