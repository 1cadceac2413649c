#!/usr/bin/python3
"""Writes the expected values for the tests of augment: tests/golden/augment.safetensors and tests/data/png/*.png.

    /usr/bin/python3 tests/golden/augment.py

Needs Debian's python3-torchvision, python3-pil and python3-numpy (made with torch 1.13.1, torchvision
0.14.1, Pillow 9.4.0, numpy 1.24.2). Running it again writes the same bytes.

Tensors of augment.safetensors, a safetensors file:
    color            F32 [3,N]    pixels, among them greys, primaries and ties between channels
    color/OP/FACTOR  F32 [3,N]    torchvision's adjust_OP(color, FACTOR), on float tensors
    color/gray       F32 [3,N]    torchvision's rgb_to_grayscale
    blur             F32 [3,S,S]  and blur/KERNEL/SIGMA, torchvision's gaussian_blur
    crop             U8 [H,W,3]   and crop/X,Y,W,H/SIZE, PIL's resize((SIZE,SIZE), BICUBIC, box)
    tall             U8 [H,W,3]   and tall/X,Y,W,H/SIZE; pixel, of one pixel, and pixel/...
    odd, point       F32 [3,S,S]  with S = 37 and 1; each with
      /OP/ARGUMENTS               gaussian_blur/KERNEL,SIGMA, erase/X,Y,W,H (with 0.5), hflip,
                                  rotate/DEGREES by torchvision; sobel by torch's convolution;
                                  noise/SIGMA by numpy, see noise()
    chain            F32 [3,S,S]  flip, jitter and blur in one, see chain()
    chain_input      U8 [S,S,3]
    png/NAME         U8 [H,W,3]   PIL's convert("RGB") of tests/data/png/NAME.png; for 16-bit grey,
                                  which PIL clips, the upper byte
The PNG files are written here by hand, since PIL writes neither interlaced nor 16-bit colour files."""

import os
import struct
import sys
import zlib

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import frames  # noqa: E402
from gaussian_noise import gaussian_of  # noqa: E402

tensors = {}
rng = np.random.default_rng(2)


def colors():
    """Random pixels, and those where hue and its ties are delicate."""
    random = rng.random((3, 300), dtype=np.float32)
    levels = np.array([0, 0.25, 0.5, 1], np.float32)
    grid = np.stack(np.meshgrid(levels, levels, levels)).reshape(3, -1)
    bytes_ = rng.integers(0, 256, (3, 136)).astype(np.float32) / 255
    return np.concatenate([random, grid, bytes_], axis=1)


def color():
    pixels = colors()
    tensors["color"] = pixels
    image = torch.from_numpy(pixels)[:, None, :]
    factors = {
        "brightness": (0, 0.2, 0.9, 1.6),
        "contrast": (0, 0.3, 1.0, 1.7),
        "saturation": (0, 0.25, 1.0, 1.8),
        "hue": (-0.5, -0.2, -0.01, 0.0, 0.13, 0.5),
    }
    for op, values in factors.items():
        for factor in values:
            result = getattr(F, f"adjust_{op}")(image, factor)
            tensors[f"color/{op}/{factor}"] = result[:, 0].numpy()
    for threshold in (0, 0.5, 1):
        tensors[f"color/solarize/{threshold}"] = F.solarize(image, threshold)[:, 0].numpy()
    tensors["color/gray"] = F.rgb_to_grayscale(image, 3)[:, 0].numpy()


def picture(width, height):
    """A gradient, waves, hard edges and a patch of noise."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack(
        [
            255 * x / width,
            127 + 127 * np.sin(x / 3 + y / 5),
            np.where((x // 7 + y // 5) % 2 == 0, 30, 230),
        ],
        axis=2,
    )
    image[height // 2 :, : width // 2] = rng.integers(0, 256, (height - height // 2, width // 2, 3))
    return image.astype(np.uint8)


def blur():
    size = 40
    image = picture(size, size).transpose(2, 0, 1).astype(np.float32) / 255
    tensors["blur"] = image
    for kernel, sigma in ((1, 1.0), (3, 0.1), (3, 2.0), (9, 1.3), (23, 2.0), (39, 20.0)):
        result = F.gaussian_blur(torch.from_numpy(image), [kernel, kernel], [sigma, sigma])
        tensors[f"blur/{kernel}/{sigma}"] = result.numpy()


def crop():
    pixels = picture(75, 50)
    tensors["crop"] = pixels
    boxes = [
        (0, 0, 75, 50, 32),  # whole, shrinking
        (0, 0, 75, 50, 90),  # whole, growing
        (10, 5, 32, 32, 32),  # as it is
        (3, 40, 20, 9, 32),  # growing both ways
        (30, 0, 45, 50, 24),
        (74, 49, 1, 1, 8),
        (0, 20, 75, 1, 17),
        (41, 11, 33, 37, 7),  # shrinking strongly
        (20, 20, 30, 20, 5),
        (0, 0, 75, 50, 1),
        (1, 2, 73, 47, 65),
        (7, 0, 50, 50, 31),
    ]
    crop_boxes("crop", pixels, boxes)


def crop_boxes(name, pixels, boxes):
    image = Image.fromarray(pixels)
    for x, y, w, h, size in boxes:
        result = image.resize((size, size), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
        tensors[f"{name}/{x},{y},{w},{h}/{size}"] = np.asarray(result)


def odd_crops():
    tensors["tall"] = pixels = picture(131, 203)
    boxes = [(0, 0, 131, 203, 224), (5, 60, 101, 113, 97), (0, 0, 131, 203, 33), (130, 0, 1, 203, 17)]
    boxes += [(0.5, 20.25, 65.25, 101.5, 48), (3.125, 0, 12.5, 7.75, 33), (130.25, 202.5, 0.5, 0.5, 5)]
    crop_boxes("tall", pixels, boxes)
    tensors["pixel"] = pixels = np.array([[[3, 127, 254]]], np.uint8)
    crop_boxes("pixel", pixels, [(0, 0, 1, 1, 1), (0, 0, 1, 1, 33)])


def noise(image, sigma):
    """The noise of lib/views/noise.h, with the counter and key that the test uses too."""
    normals = gaussian_of((0xFFFFFFF0, 7, 11, 2 << 24 | 1), (123456789, 987654321), image.shape[1])
    return (image + sigma * normals).clip(0, 1).astype(np.float32)


def sobel(image):
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    filters = torch.stack([kernel, kernel.T])[:, None]
    padded = torch.nn.functional.pad(image[:, None], (1, 1, 1, 1), "replicate")
    edges = torch.nn.functional.conv2d(padded, filters)
    return (edges.square().sum(1).sqrt() / 4).clamp(max=1)


def planes():
    for name, size in (("odd", 37), ("point", 1)):
        image = torch.from_numpy(picture(size, size).transpose(2, 0, 1).astype(np.float32) / 255)
        results = {"hflip/": F.hflip(image), "sobel/": sobel(image)}
        for degrees in (90, 180, 270):
            results[f"rotate/{degrees}"] = F.rotate(image, degrees)
        for sigma in (0.0, 0.05, 1.0):
            results[f"noise/{sigma}"] = torch.from_numpy(noise(image.numpy(), sigma))
        kernels = ((3, 1.1), (11, 0.1), (23, 1.9), (37, 6.0)) if size > 1 else ((1, 0.5),)
        for kernel, sigma in kernels:
            blurred = F.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
            results[f"gaussian_blur/{kernel},{sigma}"] = blurred
        for x, y, w, h in ((0, 0, 18, 18), (20, 5, 17, 1)) if size > 1 else ((0, 0, 1, 1),):
            results[f"erase/{x},{y},{w},{h}"] = F.erase(image, y, x, h, w, torch.tensor(0.5))
        tensors[name] = image.numpy()
        for op, result in results.items():
            tensors[f"{name}/{op}"] = result.contiguous().numpy()


def chain():
    """Several operations, one after the other; the test applies the same ones."""
    pixels = picture(30, 30)
    tensors["chain_input"] = pixels
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    image = F.hflip(image)
    image = F.adjust_hue(image, 0.1)
    image = F.adjust_contrast(image, 1.4)
    image = F.adjust_saturation(image, 0.6)
    image = F.adjust_brightness(image, 1.2)
    image = F.gaussian_blur(image, [3, 3], [0.8, 0.8])
    tensors["chain"] = image.numpy()


# ---- PNG files ----

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def pack_rows(samples, depth):
    """Rows of samples [h,w,c] as PNG scanlines without a filter."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        else:
            bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
            line = np.packbits(bits.reshape(-1)).tobytes()
        out += b"\0" + line
    return out


def png(samples, kind, depth, interlaced, palette=None, transparency=None):
    height, width = samples.shape[:2]
    if interlaced:
        data = b""
        for x, y, dx, dy in ADAM7:
            part = samples[y::dy, x::dx]
            if part.size:
                data += pack_rows(part, depth)
    else:
        data = pack_rows(samples, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def pngs():
    folder = os.path.join(os.path.dirname(HERE), "data", "png")
    os.makedirs(folder, exist_ok=True)
    width, height = 13, 11
    kinds = {
        "grey1": (GREY, 1), "grey2": (GREY, 2), "grey4": (GREY, 4), "grey8": (GREY, 8),
        "grey16": (GREY, 16), "rgb8": (RGB, 8), "rgb16": (RGB, 16),
        "palette1": (PALETTE, 1), "palette2": (PALETTE, 2), "palette4": (PALETTE, 4),
        "palette8": (PALETTE, 8), "greyalpha8": (GREY_ALPHA, 8), "greyalpha16": (GREY_ALPHA, 16),
        "rgba8": (RGB_ALPHA, 8), "rgba16": (RGB_ALPHA, 16),
    }  # fmt: skip
    files = []
    for name, (kind, depth) in kinds.items():
        for interlaced in (False, True):
            files.append((name + ("-interlaced" if interlaced else ""), kind, depth, interlaced, None))
    files.append(("palette4-transparent", PALETTE, 4, False, bytes([0, 128, 255])))
    files.append(("grey8-transparent", GREY, 8, False, struct.pack(">H", 7)))
    files.append(("rgb8-transparent", RGB, 8, True, struct.pack(">HHH", 1, 2, 3)))
    for name, kind, depth, interlaced, transparency in files:
        samples = rng.integers(0, 1 << depth, (height, width, CHANNELS[kind]))
        palette = rng.integers(0, 256, (1 << depth, 3)) if kind == PALETTE else None
        path = os.path.join(folder, name + ".png")
        with open(path, "wb") as file:
            file.write(png(samples, kind, depth, interlaced, palette, transparency))
        if kind == GREY and depth == 16:
            expected = np.repeat(samples >> 8, 3, axis=2).astype(np.uint8)
        else:
            expected = np.asarray(Image.open(path).convert("RGB"))
        tensors[f"png/{name}"] = expected


color()
blur()
crop()
chain()
pngs()
odd_crops()
planes()
with open(os.path.join(HERE, "augment.safetensors"), "wb") as out:
    frames.write(out, tensors)
