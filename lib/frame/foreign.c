#include "frame/foreign.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define CONVERT "--init reads it, and export-model converts it to safetensors"
#define NO_NETWORK "convert it to safetensors (safetensors.torch.save_file in Python)"
#define UNPACK "unpack it first"
#define IMAGE "augment reads images"

static const struct {
    const char *magic;
    size_t length;
    const char *what;
} kinds[] = {
    {"PK\3\4", 4, "a zip archive, as PyTorch's torch.save() writes: " CONVERT},
    {"\x80\2", 2, "a pickle, as older versions of PyTorch write: " CONVERT},
    {"\x80\3", 2, "a pickle of Python: " NO_NETWORK},
    {"\x80\4", 2, "a pickle of Python: " NO_NETWORK},
    {"\x80\5", 2, "a pickle of Python: " NO_NETWORK},
    {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file, as Keras writes: convert it to safetensors"},
    {"\x93NUMPY", 6, "an array of numpy's: augment reads those of series"},
    {"GGUF", 4, "a GGUF file: convert it to safetensors"},
    {"\x1f\x8b", 2, "a gzip file: " UNPACK},
    {"BZh", 3, "a bzip2 file: " UNPACK},
    {"\xfd"
     "7zXZ",
     5, "an xz file: " UNPACK},
    {"\x28\xb5\x2f\xfd", 4, "a zstd file: " UNPACK},
    {"\x89PNG", 4, "a PNG image: " IMAGE},
    {"\xff\xd8\xff", 3, "a JPEG image: " IMAGE},
    {"GIF8", 4, "a GIF image: " IMAGE},
    {"RIFF", 4, "a RIFF file, such as WebP: " IMAGE},
    {"%PDF", 4, "a PDF"},
    {"\xef\xbb\xbf", 3, "text"},
    {"\x7f"
     "ELF",
     4, "a program"},
};

/* Returns true for eight bytes of text. Such bytes, read as the length of a header, are far above
 * the limit, so they cannot begin a frame. */
static bool is_text(const unsigned char *first)
{
    for (int i = 0; i < 8; i++)
        if (first[i] < 0x20 ? !first[i] || !strchr("\t\r\n", first[i]) : first[i] >= 0x7f)
            return false;
    return true;
}

const char *foreign_kind(const unsigned char first[8])
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!memcmp(first, kinds[i].magic, kinds[i].length))
            return kinds[i].what;
    return is_text(first) ? "text" : NULL;
}
