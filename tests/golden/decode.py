#!/usr/bin/python3
"""Writes what the tests of decoding compare with: tests/data/jpeg/*.jpg and
tests/golden/decode.safetensors.

    /usr/bin/python3 tests/golden/decode.py

Needs Debian's python3-pil and python3-numpy (made with Pillow 9.4.0, numpy 1.24.2, libjpeg-turbo
2.1.5). Tensors:
    jpeg/NAME     U8 [H,W,3]   PIL's convert("RGB") of tests/data/jpeg/NAME.jpg
    turned/NAME   U8 [H,W,3]   the same after exif_transpose
The PNG files are augment.py's."""

import os
import sys

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import frames  # noqa: E402

FOLDER = os.path.join(os.path.dirname(HERE), "data", "jpeg")
KINDS = {
    "ycc420": ("RGB", {"subsampling": 2}),
    "ycc444": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "grey": ("L", {}),
    "cmyk": ("CMYK", {}),
    **{f"turned{k}": ("RGB", {"orientation": k}) for k in range(2, 9)},
}

os.makedirs(FOLDER, exist_ok=True)
tensors = {}
y, x = np.mgrid[:11, :13]
for number, (name, (mode, settings)) in enumerate(KINDS.items()):
    waves = np.stack([np.sin(x * (0.3 + 0.2 * c) + y * (0.5 - 0.1 * c) + number) for c in range(3)], -1)
    if orientation := settings.pop("orientation", None):
        settings["exif"] = Image.Exif()
        settings["exif"][0x112] = orientation
    path = os.path.join(FOLDER, name + ".jpg")
    Image.fromarray((128 + 120 * waves).astype(np.uint8)).convert(mode).save(path, quality=80, **settings)
    image = Image.open(path)
    tensors["jpeg/" + name] = np.array(image.convert("RGB"))
    tensors["turned/" + name] = np.array(ImageOps.exif_transpose(image).convert("RGB"))
with open(os.path.join(HERE, "decode.safetensors"), "wb") as out:
    frames.write(out, tensors)
