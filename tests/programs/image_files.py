"""Compares the decoding of WebP, TIFF, BMP and PNM files with PIL and numpy:

    python3 image_files.py ROOT AUGMENT PART

Files are written by PIL or by hand. PART is `rgb`: pixels are those of PIL's convert("RGB"), or of
numpy where PIL does not read a file or reads it otherwise, for the reason given; `raw`: with --pixels
raw they are the file's own values; `damaged`: a file that is cut off is refused; `hostile`: sizes that
a file only claims take no memory."""

import io
import os
import resource
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
from PIL import Image

sys.path.insert(0, sys.argv[1] + "/tests")
import frames  # noqa: E402
import tiff_writer  # noqa: E402

AUGMENT, SIDE = sys.argv[2], 24
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
y, x = np.mgrid[:SIDE, :SIDE]
COLOUR = np.stack([128 + 110 * np.sin(x * (.3 + .2 * c) + y * (.5 - .1 * c)) for c in range(3)],
                  -1).astype(np.uint8)
GREY = COLOUR[..., :1].copy()
ALPHA = (x * 10 + y).astype(np.uint8)[..., None]
WIDE = rng.integers(0, 65536, (SIDE, SIDE, 7), dtype=np.uint16)
files = {}  # by name
known = {}  # pixels of files that PIL does not read, or reads otherwise


def three(grey):
    return np.repeat(grey.reshape(SIDE, SIDE, 1), 3, -1)


def saved(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def tiffs():
    image, clear = Image.fromarray(COLOUR), Image.fromarray(np.concatenate([COLOUR, ALPHA], -1))
    modes = {mode: image.convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK")}
    modes.update(RGBA=clear, LA=clear.convert("LA"))
    any_kind = "raw tiff_lzw tiff_adobe_deflate tiff_deflate packbits zstd lzma".split()
    special = {"1": ["group3", "group4", "tiff_ccitt"], "L": ["jpeg"], "RGB": ["jpeg", "webp"],
               "RGBA": ["webp"], "CMYK": ["jpeg"]}
    for mode, picture in modes.items():
        for compression in any_kind + special.get(mode, []):
            files[f"{mode}-{compression}.tif"] = saved(picture, "TIFF", compression=compression)
    files["ycbcr-lzw.tif"] = saved(image.convert("YCbCr"), "TIFF", compression="tiff_lzw")
    for orientation in range(1, 9):
        files[f"orientation{orientation}.tif"] = saved(image, "TIFF", tiffinfo={274: orientation})
    files["big.TIFF"] = tiff_writer.write(COLOUR, 2, ">")
    write = tiff_writer.write
    clear8, grey16 = np.asarray(clear), WIDE[..., :1]
    for name, layout in {"strips": {"rows": 5}, "tiles": {"tile": 16}, "planar": {"planar": True},
                         "planar-tiles": {"planar": True, "tile": 16}}.items():
        # of PIL 9.4, tiles and planes that are not compressed need whole tiles and more code
        files[f"rgb-{name}.tif"], known[f"rgb-{name}.tif"] = write(COLOUR, 2, **layout), COLOUR
        files[f"grey-{name}.tif"], known[f"grey-{name}.tif"] = write(GREY, 1, **layout), three(GREY)
        for order in "<>":
            key = f"rgb16-{name}-{'little' if order == '<' else 'big'}.tif"
            files[key], known[key] = write(WIDE[..., :3], 2, order, **layout), (WIDE[..., :3] >> 8)
    for order in "<>":
        key = f"grey16{ord(order)}.tif"  # the upper 8 bits count; PIL cuts values off at 255
        files[key], known[key] = write(grey16, 1, order), three(grey16 >> 8)
    files["white16.tif"], known["white16.tif"] = write(grey16, 0), three((65535 - grey16) >> 8)
    files["white8.tif"] = write(GREY, 0)
    files["rgba16.tif"] = write(WIDE[..., :4], 2, extra=[2])
    files["rgbx16.tif"] = write(WIDE[..., :4], 2, extra=[0])
    files["rgba16-associated.tif"] = write(WIDE[..., :4], 2, extra=[1])
    files["rgba-associated.tif"] = write(clear8, 2, extra=[1])
    files["cmyk16.tif"] = write(WIDE[..., :4], 5)
    for bits in 1, 2, 4:
        values = GREY[..., 0] >> (8 - bits)
        packed = np.packbits(np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(SIDE, -1), 1)
        for photometric in 0, 1:
            files[f"bits{bits}-{photometric}.tif"] = write(packed, photometric, bits=bits, size=(SIDE, SIDE))
        colours = rng.integers(0, 65536, 3 << bits).tolist()
        files[f"palette{bits}.tif"] = write(packed, 3, bits=bits, size=(SIDE, SIDE), colours=colours)


def bmp(name, bits, rows, compression=0, palette=b"", masks=b"", up=True, header=40, colours=0):
    if isinstance(rows, np.ndarray):
        rows = [row.tobytes() for row in rows]
    if isinstance(rows, list):
        rows = b"".join(row + bytes(-len(row) % 4) for row in (reversed(rows) if up else rows))
    if header == 12:
        head = struct.pack("<IHHHH", 12, SIDE, SIDE, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, SIDE, SIDE if up else -SIDE, 1, bits, compression,
                           len(rows), 0, 0, colours, 0)
    if header == 40:
        after = masks
    else:
        head, after = (head + masks).ljust(header, b"\0"), b""
    start = 14 + len(head) + len(after) + len(palette)
    files[name + ".bmp"] = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + after + \
        palette + rows


def bmps():
    palette = rng.integers(0, 256, 1024, dtype=np.uint8).tobytes()
    grey = GREY[..., 0]
    bits, four = np.packbits(grey > 128, 1), (grey[:, ::2] & 240) | (grey[:, 1::2] >> 4)
    bmp("one", 1, bits, palette=palette[:8])
    bmp("four", 4, four, palette=palette[:64])
    bmp("eight", 8, grey, palette=palette)
    bmp("down", 8, grey, palette=palette, up=False)
    bmp("few", 8, grey // 16, palette=palette[:64], colours=16)
    bmp("os2", 8, grey, palette=palette[:768], header=12)
    bmp("sixteen", 16, WIDE[..., 0])
    for name, masks in ("565", (0xf800, 0x7e0, 0x1f)), ("555", (0x7c00, 0x3e0, 0x1f)):
        bmp(name, 16, WIDE[..., 0], 3, masks=struct.pack("<III", *masks))
    bmp("rgb", 24, COLOUR[..., ::-1])
    values = WIDE[..., :2].copy().view(np.uint32)[..., 0]
    bmp("rgbx", 32, values)
    for name, masks in {"bgrx": (0xff0000, 0xff00, 0xff), "xbgr": (0xff000000, 0xff0000, 0xff00),
                        "rgbx": (0xff, 0xff00, 0xff0000), "none": (0, 0, 0)}.items():
        alpha = 0xff000000 if name in ("rgbx", "bgrx") else 0
        bmp("masks-" + name, 32, values, 3, masks=struct.pack("<IIII", *masks, alpha), header=108)
    bmp("masks-short", 32, values, 3, masks=struct.pack("<III", 0xff0000, 0xff00, 0xff))
    # Runs of one colour, of single pixels (padded), and the rest of a row by its end. Of four bits, runs
    # alternate.
    runs = literal = b""
    for row in range(SIDE):
        runs += bytes([10, row, 0, 6, *range(row, row + 6), 0, 3, 9, 8, 7, 0, 2, row, 3, row, 0, 0])
        literal += bytes([9, row * 3, 0, 8, 0x12, 0x34, 0x56, 0x78, 3, row, 0, 0])
    bmp("rle8", 8, runs + b"\0\1", 1, palette=palette)
    bmp("rle4", 4, literal + b"\0\1", 2, palette=palette[:64])
    table = np.frombuffer(palette, np.uint8).reshape(-1, 4)[:, 2::-1]
    # A jump of 3 columns and 1 row, which PIL 9.4 reads from the wrong bytes.
    bmp("jump", 8, bytes([SIDE, 7, 0, 0, 0, 2, 3, 1]) + bytes([21, 5, 0, 0]) + bytes([SIDE, 6, 0, 0]) * (SIDE - 3),
        1, palette=palette)
    index = np.zeros((SIDE, SIDE), int)
    index[0], index[2, 3:], index[3:] = 7, 5, 6
    known["jump.bmp"] = table[index[::-1]]
    # Pixels one by one of an odd number: PIL 9.4 loses the last one.
    odd = b"".join(bytes([21, 0x12, 0, 3, 0x34, 0x50, 0, 0]) for _ in range(SIDE))
    bmp("rle4-odd", 4, odd + b"\0\1", 2, palette=palette[:64])
    index = [1, 2] * 10 + [1, 3, 4, 5]
    known["rle4-odd.bmp"] = table[[index] * SIDE]


def pnm(name, head, values=b""):
    files[name] = head.replace(b"SIDE", b"%d %d" % (SIDE, SIDE)) + values


def pnms():
    def plain(values):
        return b" ".join(b"%d" % v for v in values.ravel())
    grey, bit = GREY[..., 0], (GREY[..., 0] > 128).astype(np.uint8)
    pnm("plain.pbm", b"P1\n# bits\nSIDE\n", plain(bit))
    pnm("tight.pbm", b"P1 SIDE\n", bytes(48 + v for v in bit.ravel()))
    pnm("raw.pbm", b"P4\nSIDE\n", np.packbits(bit, 1).tobytes())
    pnm("plain.pgm", b"P2 # grey\nSIDE # more\n255\n", plain(grey))
    pnm("raw.pgm", b"P5\nSIDE\n255\n", grey.tobytes())
    pnm("hundred.pgm", b"P5\nSIDE\n100\n", (grey % 101).tobytes())
    pnm("plain.ppm", b"P3 SIDE 255\n", plain(COLOUR))
    pnm("raw.ppm", b"P6 SIDE 255\n", COLOUR.tobytes())
    pnm("nine.ppm", b"P6 SIDE 9\n", (COLOUR % 10).tobytes())
    for maxval in 65535, 1000:
        pnm(f"wide{maxval}.ppm", b"P6 SIDE %d\n" % maxval, (WIDE[..., :3] % (maxval + 1)).astype(">u2").tobytes())
        pnm(f"plain{maxval}.ppm", b"P3 SIDE %d\n" % maxval, plain(WIDE[..., :3] % (maxval + 1)))
        # PIL cuts grey above 8 bits off at 255
        pnm(f"wide{maxval}.pgm", b"P5 SIDE %d\n" % maxval, (WIDE[..., 0] % (maxval + 1)).astype(">u2").tobytes())
        known[f"wide{maxval}.pgm"] = three(np.rint(WIDE[..., 0] % (maxval + 1) / maxval * 255).astype(np.uint8))
    # PIL has no PAM
    for name, kind, pixels in (("rgb", "RGB", COLOUR), ("rgba", "RGB_ALPHA", np.concatenate([COLOUR, ALPHA], -1)),
                               ("grey", "GRAYSCALE_ALPHA", np.concatenate([GREY, ALPHA], -1))):
        pnm(name + ".pam", pam(pixels, kind), pixels.tobytes())
        known[name + ".pam"] = three(GREY) if name == "grey" else COLOUR


def pam(pixels, kind=None):
    return (f"P7\nWIDTH {SIDE}\nHEIGHT {SIDE}\nDEPTH {pixels.shape[2]}\nMAXVAL {256**pixels.itemsize - 1}\n"
            + (f"TUPLTYPE {kind}\n" if kind else "") + "ENDHDR\n").encode()


def webps():
    image, clear = Image.fromarray(COLOUR), Image.fromarray(np.concatenate([COLOUR, ALPHA], -1))
    for name, picture in ("rgb", image), ("rgba", clear):
        files[f"lossy-{name}.webp"] = saved(picture, "WEBP", quality=60)
        files[f"lossless-{name}.WebP"] = saved(picture, "WEBP", lossless=True, exact=True)
        files[f"animated-{name}.webp"] = saved(picture, "WEBP", save_all=True,
                                               append_images=[picture.rotate(90)], lossless=True)
    exif = Image.Exif()
    exif[0x112] = 6
    files["turned.webp"] = saved(image, "WEBP", exif=exif, lossless=True)


def others():
    files["photo.jfif"] = saved(Image.fromarray(COLOUR), "JPEG")


def pil(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return np.array(image.convert("RGB"))


def run(folder, names, *options, limit=None):
    os.makedirs(folder)
    for name in names:
        with open(f"{folder}/{name}", "wb") as file:
            file.write(files[name])
    command = [AUGMENT, "--data", folder, "--policy", "eval", "--batch", str(len(names)), "--threads", "2",
               "--on-error", "stop", *options]
    if "--size" not in options:
        command += ["--size", str(SIDE)]
    bound = limit and (lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    done = subprocess.run(command, capture_output=True, preexec_fn=bound)
    message = done.stderr.decode()
    if done.returncode:
        assert done.returncode == 1 and message.count("\n") == 1 and not done.stdout, (folder, message)
        return message, None
    return message, frames.read(io.BytesIO(done.stdout))[0]["x"][:, 0]


def rgb():
    for make in tiffs, bmps, pnms, webps, others:
        make()
    names = sorted(files)
    message, found = run("rgb", names)
    assert found is not None and found.dtype == np.uint8, message
    wrong = [name for name, pixels in zip(names, found)
             if not np.array_equal(pixels, known[name] if name in known else pil(files[name]))]
    assert not wrong, wrong
    assert len(files) > 130
    # with --orient, EXIF counts as well
    message, found = run("orient", ["turned.webp", "plain.ppm"], "--orient")
    assert np.array_equal(found[1], np.rot90(COLOUR, -1)), message
    assert np.array_equal(found[0], COLOUR)


def raw():
    def compare(name, content, want, most, *options):
        files[name] = content
        message, found = run(name + ".d", [name], *options)
        assert found is not None, (name, message)
        assert found.dtype == np.float32 and found.shape == (1,) + want.shape, (name, found.shape)
        assert np.abs(found[0] - want.astype(np.float64) / most).max() < 3e-7, name
    write, five = tiff_writer.write, WIDE[..., :5]
    for name, layout in {"plain": {}, "strips": {"rows": 7}, "tiles": {"tile": 16}, "planar": {"planar": True},
                         "planar-tiles": {"planar": True, "tile": 16}, "big": {"order": ">"}}.items():
        compare(f"five-{name}.tif", write(five, extra=[0] * 4, **layout), five, 65535)
    compare("seven8.tif", write((WIDE >> 8).astype(np.uint8), planar=True, extra=[0] * 6), WIDE >> 8, 255)
    compare("two.tif", write(WIDE[..., :2], extra=[0]), WIDE[..., :2], 65535)
    compare("rgb5.tif", write(five, 2, extra=[0, 0]), five, 65535)  # PIL drops what is beyond the fourth
    compare("five.pam", pam(five) + five.astype(">u2").tobytes(), five, 65535)
    raw = "--pixels", "raw"
    compare("grey.tif", write(GREY), GREY, 255, *raw)
    compare("white.tif", write(WIDE[..., :1], 0), 65535 - WIDE[..., :1], 65535, *raw)
    compare("rgb.tif", write(WIDE[..., :3], 2), WIDE[..., :3], 65535, *raw)
    compare("rgba.tif", write(WIDE[..., :4], 2, extra=[2]), WIDE[..., :4], 65535, *raw)
    compare("turned.tif", write(five, extra=[0] * 4, orientation=[8]), np.rot90(five), 65535)
    compare("grey.pgm", b"P5 24 24 1000\n" + (WIDE[..., 0] % 1001).astype(">u2").tobytes(),
            np.rint(WIDE[..., :1] % 1001 * 65.535), 65535, *raw)
    rgba = np.concatenate([COLOUR, ALPHA], -1)
    compare("alpha.webp", saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), rgba, 255, *raw)
    compare("grey.jpg", saved(Image.fromarray(GREY[..., 0]), "JPEG", quality=100),
            np.asarray(Image.open(io.BytesIO(saved(Image.fromarray(GREY[..., 0]), "JPEG", quality=100))))[..., None],
            255, *raw)
    for channels, kind in (1, 0), (2, 4), (3, 2), (4, 6):
        values = WIDE[..., :channels]
        lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        png = b"\x89PNG\r\n\x1a\n"
        for tag, data in ((b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)),
                          (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
            png += struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
        compare(f"wide{channels}.png", png, values, 65535, *raw)
    # What is not possible is one line.
    files["three.png"] = saved(Image.fromarray(COLOUR), "PNG")
    message, found = run("mixed", ["five-plain.tif", "three.png"])
    assert found is None and "three.png: 3 channels, and the first image of the set has 5" in message, message
    message, found = run("no-rgb", ["five-plain.tif"], "--pixels", "rgb")
    assert found is None and "the 5 channels of its images" in message, message
    files["a.png"] = files["three.png"]
    message, found = run("late", ["a.png", "five-plain.tif"])
    assert found is None and "five-plain.tif: its 5 channels are not RGB" in message, message


def damaged():
    for make in tiffs, bmps, pnms, webps:
        make()
    cut = {"RGB-raw.tif": -9, "RGB-tiff_lzw.tif": 300, "RGB-tiff_adobe_deflate.tif": 300, "RGB-packbits.tif": 300,
           "RGB-jpeg.tif": 700, "RGB-webp.tif": 300, "RGB-zstd.tif": 300, "RGB-lzma.tif": 300,
           "rgb-planar.tif": -9, "rgb-tiles.tif": -900, "rgb.bmp": -9, "eight.bmp": -9, "rle8.bmp": -40,
           "one.bmp": 60, "raw.ppm": -9, "plain.ppm": -9, "raw.pbm": -1, "rgba.pam": -1,
           "lossy-rgb.webp": -40, "lossless-rgb.WebP": -40, "animated-rgb.webp": 300}
    for name, end in cut.items():
        files[name] = files[name][:end]
        message, found = run("cut-" + name, [name])
        assert found is None and name + ": damaged" in message, (name, message)
    # Bytes within fax data that are no code
    fax = files["1-group3.tif"]
    middle = len(fax) // 2
    files["fax.tif"] = fax[:middle] + b"\0\1\0\1\0\1\0\1" + fax[middle + 8:]
    for name, content, reason in (
            ("fax.tif", files["fax.tif"], "damaged TIFF"),
            ("above.pgm", b"P5 2 2 9\n\1\2\3\12", "damaged PNM"),
            ("letters.ppm", b"P3 1 1 9 a b c", "damaged PNM"),
            ("float.tif", tiff_writer.write(WIDE[..., :1], format=[3]), "a TIFF of floats"),
            ("signed.tif", tiff_writer.write(WIDE[..., :1], format=[2]), "numbers with a sign"),
            ("lab.tif", tiff_writer.write(COLOUR, 8), "photometric interpretation 8"),
            ("jbig.tif", saved(Image.fromarray(GREY[..., 0] > 99), "TIFF").replace(
                b"\3\1\3\0\1\0\0\0\1\0", b"\3\1\3\0\1\0\0\0\x65\x87"), "compression 34661"),
            ("png.bmp", files["rgb.bmp"][:30] + b"\5" + files["rgb.bmp"][31:], "compression 5")):
        files[name] = content
        message, found = run("odd-" + name, [name], "--size", "8")
        assert found is None and reason in message, (name, message)


def hostile():
    """Sizes up to the limit take a picture's memory at most, those above it nothing."""
    def big_tiff(side, **more):
        file = bytearray(tiff_writer.write(np.zeros((2, 2, more.pop("samples", 3)), more.pop("kind", np.uint8)),
                                           more.pop("photometric", 2), **more))
        for tag in 256, 257:
            at = file.index(struct.pack("<HHI", tag, 3, 1))
            file[at + 8:at + 10] = struct.pack("<H", side)
        return bytes(file)
    limits = {
        "sides.tif": (big_tiff(40000), "40000 x 40000 pixels is more than is read"),
        "channels.tif": (big_tiff(2, samples=600, photometric=1, extra=[0] * 599), "600 channels"),
        "bytes.tif": (big_tiff(8000, samples=5, kind=np.uint16, photometric=1, extra=[0] * 4),
                      "5 channels are more than is read"),
        "tile.tif": (tiff_writer.write(COLOUR, 2, tile=16).replace(struct.pack("<HHIH", 322, 3, 1, 16),
                                                                  struct.pack("<HHIH", 322, 3, 1, 65520)).replace(
            struct.pack("<HHIH", 323, 3, 1, 16), struct.pack("<HHIH", 323, 3, 1, 65520)), "damaged TIFF"),
        "sides.bmp": (b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0)
                      + bytes(99), "pixels is more than is read"),
        "sides.ppm": (b"P6 100000 100000 255\n" + bytes(99), "pixels is more than is read"),
        "deep.pam": (b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 99999999\nMAXVAL 255\nENDHDR\n" + bytes(99), "99999999 channels"),
        "many.pam": (b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 99999\nMAXVAL 255\nENDHDR\n" + bytes(99), "99999 channels"),
        "sides.webp": (b"RIFF\x3a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\x3f\x9c\0" * 2 + b"ANIM\6\0\0\0" + bytes(30),
                       "pixels is more than is read"),
    }
    for name, (content, reason) in limits.items():
        files[name] = content
        message, found = run("limit-" + name, [name], limit=1 << 30)
        assert found is None and reason in message, (name, message)
    # A picture of the largest size that is read, of a few bytes: the memory for it is too much.
    full = {"full.tif": big_tiff(8192), "full.bmp": limits["sides.bmp"][0].replace(
                struct.pack("<ii", 2**30, 2**30), struct.pack("<ii", 8192, 8192)),
            "full.ppm": b"P6 8192 8192 255\n" + bytes(99)}
    for name, content in full.items():
        files[name] = content
        message, found = run("full-" + name, [name], limit=1 << 30)
        assert found is None and "damaged" in message, (name, message)


globals()[sys.argv[3]]()
