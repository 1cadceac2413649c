/* crc32c: the CRC-32 of Castagnoli, by which TFRecord files are checked. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Returns the CRC-32C of n bytes: polynomial 0x1EDC6F41, bits reflected, start and end inverted
 * (RFC 3720, section 12.1 and appendix B.4). That of zlib is another one. */
uint32_t crc32c(const void *bytes, size_t n);

#endif
