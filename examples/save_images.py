#!/usr/bin/env python3
"""Saves the images of a stream as PNG files, in a folder for each label.

    augment --data shapes --policy eval --batch 10 --limit 100 | python3 examples/save_images.py FOLDER

Reads x U8 [B,V,S,S,3], y and index, as augment writes them. Needs numpy and PIL.
"""

import os
import sys

from PIL import Image
from simclr_stage import read_frame


def main():
    folder = sys.argv[1]
    while (frame := read_frame(sys.stdin.buffer)) and not frame.is_end:
        tensors = frame.tensors
        for views, label, index in zip(tensors["x"], tensors["y"], tensors["index"]):
            os.makedirs(f"{folder}/{label}", exist_ok=True)
            for v, pixels in enumerate(views):
                suffix = f"-{v}" if len(views) > 1 else ""
                Image.fromarray(pixels).save(f"{folder}/{label}/{index:06}{suffix}.png")
    if not frame:
        sys.exit("save_images: the stream broke off")


main()
