/* Fuzzes a BMP file. */
#include <string.h>

#include "input.h"
#include "pictures.h"

enum { MOST = 1 << 20 }; /* values of a picture that is decoded, so that none takes long */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 4 || !(memcmp(bytes, "BM", 2) == 0))
        return -1; /* another format; not kept in the corpus */
    pictures_decode(bytes, size, MOST);
    return 0;
}
