#!/usr/bin/env python3
"""Saves the images of a stream as PNG files, in a folder for each label.

    augment --data shapes --policy eval --batch 10 --limit 100 | python3 examples/save_images.py FOLDER

Reads x U8 [B,V,S,S,3], y and index, as augment writes them. Needs numpy and PIL.
"""

import os
import sys

import numpy as np
from ntxent import read_frame
from PIL import Image

TYPES = {"U8": "u1", "I64": "<i8"}


def array(frame, name):
    """Returns a tensor of a frame as an array."""
    header, _, data = frame
    begin, end = header[name]["data_offsets"]
    return np.frombuffer(data[begin:end], TYPES[header[name]["dtype"]]).reshape(header[name]["shape"])


def main():
    folder = sys.argv[1]
    while (frame := read_frame(sys.stdin.buffer)) and "end" not in frame[1]:
        for views, label, index in zip(*(array(frame, name) for name in ("x", "y", "index"))):
            os.makedirs(f"{folder}/{label}", exist_ok=True)
            for v, pixels in enumerate(views):
                suffix = f"-{v}" if len(views) > 1 else ""
                Image.fromarray(pixels).save(f"{folder}/{label}/{index:06}{suffix}.png")
    if not frame:
        sys.exit("save_images: the stream broke off")


main()
