"""small_sets.py ROOT PATH=N...: N PNGs of 16x16 in each ROOT/PATH, separable by colour: the last letter is the class."""
import random
import sys
from pathlib import Path

from PIL import Image

colors = {"a": (225, 30, 30), "b": (30, 225, 30), "c": (30, 30, 225)}
draw = random.Random(1)
root = Path(sys.argv[1])
for word in sys.argv[2:]:
    path, n = word.split("=")
    (root / path).mkdir(parents=True, exist_ok=True)
    for i in range(int(n)):
        image = Image.new("RGB", (16, 16))
        image.putdata([tuple(c + draw.randint(-30, 30) for c in colors[path[-1]]) for _ in range(256)])
        image.save(root / path / f"{i:04d}.png")
