#include "base/finite.h"

#include <stdint.h>
#include <string.h>

#include "base/multiversion.h"

/* By their bits, an exponent of ones, since that vectorizes; and without a way out of the loop. */
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
