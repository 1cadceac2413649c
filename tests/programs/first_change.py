#!/usr/bin/python3
"""first_change.py ROOT START A B: compares B's change of all weights from START with A's. Fails if the
relative difference is above 2e-2, as a flipped ReLU would make it, or if nothing changed."""
import sys

import numpy as np

sys.path.insert(0, sys.argv[1] + "/tests")
import frames  # noqa: E402

start, a, b = ({n: v for n, v in frames.read(open(path, "rb"))[0].items() if v.ndim > 1}
               for path in sys.argv[2:])
assert set(start) == set(a) == set(b) and start
worst = 0
for name in start:
    change = np.linalg.norm(a[name] - start[name])
    assert change > 0, name
    worst = max(worst, np.linalg.norm(b[name] - a[name]) / change)
print("relative difference of the first change:", worst)
sys.exit(0 if worst <= 2e-2 else 1)
