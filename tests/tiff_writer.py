"""Writes TIFF files of any kind, as small as the format allows: no compression, one directory."""

import struct

import numpy as np


def write(pixels, photometric=1, order="<", planar=False, rows=None, tile=None, **tags):
    """Returns the bytes of a TIFF of pixels (H,W,C) uint8 or uint16, or of rows that are packed
    already, if `bits` is among the tags: then pixels are bytes (H,row). `tags` are values of the tags
    of those names, each a list of 16-bit numbers."""
    names = {"extra": 338, "orientation": 274, "colours": 320, "format": 339, "inks": 332}
    bits = tags.pop("bits", None)
    height, width = tags.pop("size", pixels.shape[:2])
    samples = 1 if bits else pixels.shape[2]
    if not bits:
        pixels = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [pixels[..., c:c + 1] for c in range(samples)] if planar else [pixels]
    chunks = []
    for plane in planes:
        if tile:
            high, wide = -(-height // tile) * tile, -(-width // tile) * tile
            padded = np.full((high, wide) + plane.shape[2:], 77, plane.dtype)
            padded[:height, :width] = plane
            chunks += [padded[y:y + tile, x:x + tile].tobytes()
                       for y in range(0, high, tile) for x in range(0, wide, tile)]
        else:
            step = rows or height
            chunks += [plane[y:y + step].tobytes() for y in range(0, height, step)]
    entries = {256: [width], 257: [height], 258: [bits or 8 * pixels.itemsize] * samples, 259: [1],
               262: [photometric], 277: [samples], 284: [2 if planar else 1]}
    entries.update({names[name]: value for name, value in tags.items()})
    if tile:
        entries.update({322: [tile], 323: [tile]})
    else:
        entries[278] = [rows or height]
    where, sizes = (324, 325) if tile else (273, 279)
    entries[where], entries[sizes] = [0] * len(chunks), [len(c) for c in chunks]
    for done in False, True:
        at = 8 + 2 + 12 * len(entries) + 4
        head, more = b"", b""
        for tag, values in sorted(entries.items()):
            kind = "I" if tag in (where, sizes) else "H"
            packed = struct.pack(f"{order}{len(values)}{kind}", *values)
            if len(packed) > 4:
                place = struct.pack(order + "I", at + len(more))
                more += packed + bytes(len(packed) % 2)
            else:
                place = packed.ljust(4, b"\0")
            head += struct.pack(order + "HHI", tag, 4 if kind == "I" else 3, len(values)) + place
        if not done:
            start = at + len(more)
            entries[where] = [start + sum(map(len, chunks[:i])) for i in range(len(chunks))]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(entries)) + head + bytes(4) + more + b"".join(chunks)
