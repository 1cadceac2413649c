"""edit_frame.py IN OUT CODE: runs CODE on t (the tensors) and m (the metadata) of a frame in a file,
both of which are dictionaries, and writes the result."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import frames
import numpy as np

with open(sys.argv[1], "rb") as f:
    t, m = frames.read(f)
t = {k: np.array(v) for k, v in t.items()}
exec(sys.argv[3])
with open(sys.argv[2], "wb") as f:
    frames.write(f, t, **m)
