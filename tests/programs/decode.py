"""Compares the decoding of odd PNG and JPEG files with PIL: python3 decode.py ROOT AUGMENT

Each file is written by hand or by PIL, read by augment, and compared with PIL's convert("RGB"). Files
that only PIL reads, files that only augment reads, and files with other pixels are listed below with
the reason. Every other file must have PIL's pixels, or be refused by both."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
from PIL import Image

sys.path.insert(0, sys.argv[1] + "/tests")
import frames  # noqa: E402

AUGMENT, SIDE = sys.argv[2], 24

# The messages for files that only PIL reads.
REFUSED = {
    # the image's data is truncated, or has wrong checksums, which PIL does not check
    "idat-no-crc.png": "truncated",
    "idat-half-crc.png": "truncated",
    "idat-no-adler.png": "truncated",
    "idat-whole-no-adler.png": "Not enough image data",
    "idat-without-last-row.png": "Not enough image data",
    "idat-wrong-crc.png": "IDAT: CRC error",
    # libpng requires what the standard requires
    "critical-before.png": "ABCD: unhandled critical chunk",
    "ihdr-twice.png": "IHDR: out of place",
    "ihdr-long.png": "IHDR: invalid",
    "method1.png": "Invalid IHDR data",
    "palette-odd.png": "PLTE: invalid",
    "palette-none.png": "Missing PLTE before IDAT",
    "palette-empty.png": "Invalid palette",
    "palette-late.png": "Missing PLTE before IDAT",
}
# The image is complete, but another part of the file is damaged: augment reads its pixels, and PIL
# refuses it.
LENIENT = {"text-wrong-crc.png", "text-after-cut.png", "gamma-short.png", "trns-short.png",
           "trns-empty.png", "adobe-short.jpg"}

rng = np.random.default_rng(0)
y, x = np.mgrid[:SIDE, :SIDE]
COLOUR = np.stack([128 + 110 * np.sin(x * (.3 + .2 * c) + y * (.5 - .1 * c)) for c in range(3)],
                  -1).astype(np.uint8)
GREY = COLOUR[..., 0].copy()
WIDE = (GREY.astype(int) * 257 + rng.integers(-100, 100, GREY.shape)).clip(0, 65535).astype(">u2")
files = {}


def chunk(kind, data=b"", crc=None):
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def lines(pixels, filter_type=0):
    return b"".join(bytes([filter_type]) + row.tobytes() for row in pixels)


def header(depth=8, colour=2, *rest, side=SIDE):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, *(rest or (0, 0, 0))))


def data(pixels):
    return chunk(b"IDAT", zlib.compress(lines(pixels)))


def png(name, *chunks):
    files[name + ".png"] = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


END, PACKED = chunk(b"IEND"), zlib.compress(lines(COLOUR))
IDAT, TEXT = chunk(b"IDAT", PACKED), chunk(b"tEXt", b"a\0some text")


def odd_pngs():
    # its end
    png("plain", header(), IDAT, END)
    png("no-iend", header(), IDAT)
    for cut in 1, 4, 8, 11:
        png(f"iend-{cut}", header(), IDAT, END[:cut])
    png("iend-wrong-crc", header(), IDAT, END[:8] + b"\0\0\0\0")
    png("garbage-after", header(), IDAT, END, b"garbage" * 100)
    png("critical-after", header(), IDAT, chunk(b"ABCD", b"hello"), END)
    # its data
    png("idat-no-crc", header(), IDAT[:-4])
    png("idat-half-crc", header(), IDAT[:-2])
    png("idat-no-adler", header(), IDAT[:-8])
    png("idat-cut", header(), IDAT[:-12])
    png("idat-half", header(), IDAT[:len(IDAT) // 2])
    png("idat-none", header())
    png("idat-whole-no-adler", header(), chunk(b"IDAT", PACKED[:-4]), END)
    png("idat-wrong-adler", header(), chunk(b"IDAT", PACKED[:-4] + b"abcd"), END)
    png("idat-short", header(), chunk(b"IDAT", zlib.compress(lines(COLOUR)[:-10])), END)
    png("idat-without-last-row", header(), data(COLOUR[:-1]), END)
    png("idat-broken-off", header(), chunk(b"IDAT", PACKED[:len(PACKED) // 2]), END)
    png("idat-long", header(), chunk(b"IDAT", zlib.compress(lines(COLOUR) + b"xyz" * 50)), END)
    png("idat-extra", header(), chunk(b"IDAT", PACKED + b"extra"), END)
    png("idat-split", header(), *(chunk(b"IDAT", PACKED[i:i + 7]) for i in range(0, len(PACKED), 7)), END)
    png("idat-empty-between", header(), chunk(b"IDAT", PACKED[:50]), chunk(b"IDAT"),
        chunk(b"IDAT", PACKED[50:]), END)
    png("idat-interrupted", header(), chunk(b"IDAT", PACKED[:50]), TEXT, chunk(b"IDAT", PACKED[50:]), END)
    png("idat-wrong-crc", header(), chunk(b"IDAT", PACKED, 5), END)
    png("filter5", header(), chunk(b"IDAT", zlib.compress(lines(COLOUR, 5))), END)
    # its header and what stands beside
    png("ihdr-wrong-crc", chunk(b"IHDR", header()[8:-4], 7), IDAT, END)
    png("ihdr-long", chunk(b"IHDR", header()[8:-4] + b"\0\0"), IDAT, END)
    png("ihdr-twice", header(), header(), IDAT, END)
    png("method1", header(8, 2, 1, 0, 0), IDAT, END)
    png("filter-method1", header(8, 2, 0, 1, 0), IDAT, END)
    png("interlace2", header(8, 2, 0, 0, 2), IDAT, END)
    png("text-after", header(), IDAT, TEXT, END)
    png("text-wrong-crc", header(), chunk(b"tEXt", b"a\0b", 3), IDAT, END)
    png("text-after-wrong-crc", header(), IDAT, chunk(b"tEXt", b"a\0b", 3), END)
    png("text-after-cut", header(), IDAT, TEXT[:-6])
    png("gamma", header(), chunk(b"gAMA", struct.pack(">I", 100000)), IDAT, END)
    png("gamma-short", header(), chunk(b"gAMA", b"\0"), IDAT, END)
    png("srgb", header(), chunk(b"sRGB", b"\0"), IDAT, END)
    png("profile-odd", header(), chunk(b"iCCP", b"x\0\0junk"), IDAT, END)
    png("chromaticities", header(), chunk(b"cHRM", struct.pack(">8I", *range(1, 9))), IDAT, END)
    png("background", header(), chunk(b"bKGD", struct.pack(">3H", 1, 2, 3)), IDAT, END)
    png("trns", header(), chunk(b"tRNS", struct.pack(">3H", *map(int, COLOUR[3, 3]))), IDAT, END)
    png("trns-short", header(), chunk(b"tRNS", b"\0"), IDAT, END)
    png("trns-empty", header(), chunk(b"tRNS"), IDAT, END)
    png("ancillary", header(), chunk(b"abCd", b"hello"), IDAT, END)
    png("critical-before", header(), chunk(b"ABCD", b"hello"), IDAT, END)
    png("suggested-palette", header(), chunk(b"PLTE", bytes(range(30))), IDAT, END)
    control = struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 10, 0, 0)
    png("animated", header(), chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", control), IDAT,
        chunk(b"fcTL", b"\0\0\0\1" + control[4:]),
        chunk(b"fdAT", b"\0\0\0\2" + zlib.compress(lines(255 - COLOUR))), END)
    # kinds
    bits = np.packbits(GREY > 128, 1)
    png("grey8", header(8, 0), data(GREY), END)
    png("grey8-trns", header(8, 0), chunk(b"tRNS", struct.pack(">H", int(GREY[2, 2]))), data(GREY), END)
    png("grey1", header(1, 0), data(bits), END)
    png("grey1-trns", header(1, 0), chunk(b"tRNS", b"\0\1"), data(bits), END)
    png("grey16", header(16, 0), data(WIDE), END)
    png("grey16-trns", header(16, 0), chunk(b"tRNS", struct.pack(">H", int(WIDE[2, 2]))), data(WIDE), END)
    colour16 = (COLOUR.astype(int) * 257 + rng.integers(-100, 100, COLOUR.shape)).clip(0, 65535).astype(">u2")
    png("colour16", header(16, 2), data(colour16), END)
    png("colour16-trns", header(16, 2), chunk(b"tRNS", struct.pack(">3H", *map(int, colour16[3, 3]))),
        data(colour16), END)
    png("grey-alpha", header(8, 4), data(np.stack([GREY, 255 - GREY], -1)), END)
    png("alpha-none", header(8, 6), data(np.concatenate([COLOUR, 0 * GREY[..., None]], -1)), END)
    colours = rng.integers(0, 256, 768, dtype=np.uint8).tobytes()
    palette = chunk(b"PLTE", colours)
    png("palette", header(8, 3), palette, data(GREY), END)
    png("palette-short", header(8, 3), chunk(b"PLTE", colours[:300]), data(GREY), END)
    png("palette-short-trns", header(8, 3), chunk(b"PLTE", colours[:300]), chunk(b"tRNS", bytes(256)),
        data(GREY), END)
    png("palette-odd", header(8, 3), chunk(b"PLTE", colours[:301]), data(GREY), END)
    png("palette-none", header(8, 3), data(GREY), END)
    png("palette-empty", header(8, 3), chunk(b"PLTE"), data(GREY), END)
    png("palette-late", header(8, 3), data(GREY), palette, END)
    png("palette-trns", header(8, 3), palette, chunk(b"tRNS", bytes(range(256))), data(GREY), END)
    png("palette-trns-first", header(8, 3), chunk(b"tRNS", bytes(3)), palette, data(GREY), END)
    png("palette1", header(1, 3), chunk(b"PLTE", colours[:6]), data(bits), END)
    png("palette1-long", header(1, 3), chunk(b"PLTE", colours[:30]), data(bits), END)
    png("palette1-one", header(1, 3), chunk(b"PLTE", colours[:3]), data(bits), END)
    files["leading.png"] = b"xx" + files["plain.png"]
    files["twice.png"] = files["plain.png"] * 2


def jpeg(image, **settings):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **settings)
    return file.getvalue()


def patched(jpg, marker, offset, new):
    out, at = bytearray(jpg), jpg.index(marker) + offset
    out[at:at + len(new)] = new
    return bytes(out)


def odd_jpegs():
    image = Image.fromarray(COLOUR)
    plain = jpeg(image)
    frame, scan = b"\xff\xc0", b"\xff\xda"
    jpg = {"plain": plain, "no-eoi": plain[:-2], "half-eoi": plain[:-1], "cut": plain[:-200],
           "cut-header": plain[:100], "garbage-after": plain + b"garbage" * 99,
           "leading": b"xx" + plain, "twice": plain * 2, "fill": plain[:2] + b"\xff\xff" + plain[2:],
           "between": plain[:2] + b"\0\0" + plain[2:],
           "progressive": jpeg(image, progressive=True),
           "progressive-no-eoi": jpeg(image, progressive=True)[:-2],
           "progressive-cut": jpeg(image, progressive=True)[:-100],
           "grey": jpeg(image.convert("L"))}
    for subsampling in range(3):
        jpg[f"subsampling{subsampling}"] = jpeg(image, subsampling=subsampling)
    for orientation in 3, 6:
        exif = Image.Exif()
        exif[0x112] = orientation
        jpg[f"orientation{orientation}"] = jpeg(image, exif=exif)
    # which colours it has
    cmyk = jpeg(image.convert("CMYK"))
    at = cmyk.index(b"Adobe")
    jpg["cmyk"] = cmyk
    jpg["cmyk-no-adobe"] = cmyk[:at - 4] + cmyk[at - 2 + struct.unpack(">H", cmyk[at - 2:at])[0]:]
    jpg["ycck"] = patched(cmyk, b"Adobe", 11, b"\2")
    bare = plain[:2] + plain[4 + struct.unpack(">H", plain[4:6])[0]:]
    jpg["no-jfif"] = bare
    for transform in range(3):
        adobe = b"\xff\xee\0\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, transform)
        jpg[f"adobe{transform}"] = bare[:2] + adobe + bare[2:]
        jpg[f"jfif-adobe{transform}"] = plain[:2] + adobe + plain[2:]
    for ids in b"RGB", b"\0\1\2":
        named = bare
        for c in range(3):
            named = patched(patched(named, frame, 10 + 3 * c, ids[c:c + 1]), scan, 5 + 2 * c, ids[c:c + 1])
        jpg[f"components{ids[0]}"] = named
    # damage
    jpg["bits12"] = patched(plain, frame, 4, b"\x0c")
    jpg["no-height"] = patched(plain, frame, 5, b"\0\0")
    jpg["flipped"] = plain[:-60] + bytes([plain[-60] ^ 255]) + plain[-59:]
    jpg["early-eoi"] = patched(plain, scan, 20, b"\xff\xd9\xff\xd9")
    jpg["odd-restart"] = patched(plain, scan, 60, b"\xff\xd3")
    jpg["adobe-short"] = plain[:2] + b"\xff\xee\0\x07Adobe" + plain[2:]
    jpg["exif-odd"] = plain[:2] + b"\xff\xe1\0\x0cExif\0\0MMxx" + plain[2:]
    jpg["long-comment"] = plain[:2] + b"\xff\xfe\xff\xff" + b"c" * 65533 + plain[2:]
    files.update({name + ".jpg": bytes_of for name, bytes_of in jpg.items()})


def pil(bytes_of):
    try:
        image = Image.open(io.BytesIO(bytes_of))
        image.load()
        return np.array(image.convert("RGB"))
    except Exception:
        return None


def run(folder, *names):
    os.makedirs(folder)
    for name in names:
        with open(f"{folder}/{name}", "wb") as file:
            file.write(files[name])
    done = subprocess.run([AUGMENT, "--data", folder, "--policy", "eval", "--batch", str(len(names)),
                           "--size", str(SIDE), "--on-error", "stop"], capture_output=True)
    message = done.stderr.decode()
    if done.returncode:
        assert done.returncode == 1 and message.count("\n") == 1, message
        return message, None
    return message, frames.read(io.BytesIO(done.stdout))[0]["x"][:, 0]


def check():
    want = {name: pil(bytes_of) for name, bytes_of in files.items()}
    for name in "grey16", "grey16-trns":
        assert (want[name + ".png"] == 255).mean() > 0.9  # this is the reason:
        want[name + ".png"] = np.repeat((WIDE >> 8).astype(np.uint8)[..., None], 3, -1)
    for name in LENIENT:
        assert want[name] is None, name
        want[name] = pil(files["plain" + name[-4:]])
    for name in REFUSED:
        assert want[name] is not None, name
        want[name] = None
    taken = sorted(name for name in want if want[name] is not None)
    message, found = run("taken", *taken)
    assert found is not None, message
    for name, pixels in zip(taken, found):
        assert np.array_equal(pixels, want[name]), name
    refused = sorted(set(want) - set(taken))
    for name in refused:
        message, found = run("refused-" + name, name)
        assert found is None, name
        assert REFUSED.get(name, "") in message and name + ": " in message, message
    print(f"{len(taken)} read, {len(refused)} refused")
    assert len(taken) > 70 and len(refused) > 25


def limits():
    """Sizes above the limit must be refused, with the limit, before memory is allocated."""
    wide = jpeg(Image.new("L", (40000, 1)))
    files["wide.jpg"] = wide
    files["wider.jpg"] = patched(wide, b"\xff\xc0", 7, struct.pack(">H", 65535))
    side = struct.pack(">II", 70000, 3)
    for name, sizes in ("wide", (40000, 1)), ("wider", (70000, 3)), ("widest", (2**31 - 1, 2)), \
            ("large", (30000, 30000)):
        side = struct.pack(">II", *sizes)
        png(name, chunk(b"IHDR", side + header()[16:-4]), IDAT, END)
    for name, size in (("wide.jpg", "40000 x 1"), ("wider.jpg", "65535 x 1"), ("wide.png", "40000 x 1"),
                       ("wider.png", "70000 x 3"), ("widest.png", "2147483647 x 2"),
                       ("large.png", "30000 x 30000")):
        message, found = run("limit-" + name, name)
        assert found is None and message.endswith(
            f"{name}: {size} pixels is more than is read: up to 32768 a side, and 67108864 in all\n"), message


warnings.simplefilter("ignore")
odd_pngs()
odd_jpegs()
check()
limits()
