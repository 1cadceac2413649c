"""Writes small sets for the tests of recipes: CIFAR-10's files, STL-10's files and a folder as ImageNet's.

    recipe_data.py ROOT FOLDER
    recipe_data.py ROOT step BATCH        prints a step of an optimizer, of a batch of that size
"""

import os
import random
import sys

root, folder, *arguments = sys.argv[1:]
if folder == "step":
    sys.path.insert(0, root + "/tests")
    import frames
    import numpy as np

    w = {"w": np.ones((2, 2), np.float32)}
    about = dict(step=0, steps=9, steps_per_epoch=3, batch=arguments[0])
    frames.write(sys.stdout.buffer, w, kind="join", **about)
    frames.write(sys.stdout.buffer, w, kind="gradients", seq=1, **about)
    frames.write_end(sys.stdout.buffer)
    sys.exit()

from PIL import Image  # noqa: E402

os.chdir(folder)
draw = random.Random(3)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


for part in [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]:
    rows = [bytes([i % 10]) + draw.randbytes(3072) for i in range(4)]
    write(f"cifar-10-batches-bin/{part}.bin", b"".join(rows))

names = "airplane bird car cat deer dog horse monkey ship truck".split()
write("stl10_binary/class_names.txt", "\n".join(names).encode() + b"\n")
for part, images in (("train", 10), ("test", 10), ("unlabeled", 16)):
    write(f"stl10_binary/{part}_X.bin", draw.randbytes(images * 3 * 96 * 96))
    if part != "unlabeled":
        write(f"stl10_binary/{part}_y.bin", bytes(1 + i % 10 for i in range(images)))

for part, images in (("train", 3), ("val", 1)):
    for synset in ("n01440764", "n02102040", "n03000684"):
        for i in range(images):
            path = f"imagenet/{part}/{synset}/ILSVRC2012_{part}_{i:08}.JPEG"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            size = (500 - 30 * i, 375 + 20 * i)
            Image.frombytes("RGB", (50, 40), draw.randbytes(6000)).resize(size).save(path, "JPEG")
