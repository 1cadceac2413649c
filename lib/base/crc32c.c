#include "base/crc32c.h"

uint32_t crc32c(const void *bytes, size_t n)
{
    const uint32_t reflected = 0x82f63b78; /* the polynomial's bits in reverse */
    const unsigned char *at = bytes;
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? reflected : 0);
    }
    return ~crc;
}
