"""A CIFAR-10 folder with few images, for tests of pipelines: blocks of colour for each class.

    tiny_cifar.py FOLDER TRAIN TEST
"""

import random
import sys

folder, *counts = sys.argv[1:]
train, test = map(int, counts)
files = [(f"data_batch_{n + 1}", range(train * n // 5, train * (n + 1) // 5)) for n in range(5)]
for name, images in files + [("test_batch", range(test))]:
    draw = random.Random(name)
    with open(f"{folder}/{name}.bin", "wb") as file:
        for i in images:
            label = i % 10
            own = random.Random(label)  # 16 blocks of 8 x 8 in each channel
            blocks = [[own.randrange(256) for _ in range(16)] for _ in range(3)]
            pixels = bytearray([label])
            for channel in blocks:
                seen = [(3 * draw.randrange(256) + value) // 4 for value in channel]
                for row in range(32):
                    for block in seen[row // 8 * 4 :][:4]:
                        pixels += bytes([block]) * 8
            file.write(pixels)
