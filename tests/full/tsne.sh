#!/usr/bin/env bash
# The map of tsne keeps neighbourhoods as well as scikit-learn's does, on features of a network and on
# rows that no network made.
. "$(dirname "$0")/../lib.sh"

if ! python_has sklearn; then
    skip "maps keep neighbourhoods as scikit-learn's do" "python3-sklearn is not installed"
    done_testing
    exit
fi

cat >tsne_check.py <<END
import sys

import numpy as np
from sklearn.manifold import TSNE, trustworthiness

sys.path.insert(0, "$ROOT/tests")
import frames


def column(path, name):
    with open(path, "rb") as file:
        return np.concatenate([tensors[name] for tensors, _ in frames.read_all(file) if name in tensors])


if sys.argv[1] == "make":
    random = np.random.default_rng(7)
    centres = random.normal(size=(12, 40)) * 3
    y = random.integers(0, 12, 500)
    h = centres[y] + random.normal(size=(500, 40)) * random.uniform(0.3, 2, (500, 1))
    with open("clusters.st", "wb") as file:
        frames.write(file, {"h": h.astype(np.float32), "y": y})
        frames.write_end(file)
else:
    h = column(sys.argv[2], "h")
    h = h.reshape(len(h), -1).astype(np.float64)
    if sys.argv[1] == "cosine":
        h /= np.linalg.norm(h, axis=1, keepdims=True)
    theirs = trustworthiness(h, TSNE(init="pca", learning_rate="auto").fit_transform(h.astype(np.float32)))
    ours = trustworthiness(h, column(sys.argv[3], "map"))
    print(f"trustworthiness: {ours:.4f}, scikit-learn's {theirs:.4f}")
    assert ours > theirs - 0.03, (ours, theirs)
END
export OMP_WAIT_POLICY=passive
py() { OMP_NUM_THREADS=1 /usr/bin/python3 tsne_check.py "$@"; }
py make
augment --data shapes --policy eval --limit 500 --batch 100 | encode --width 0.25 >features.st
tsne <clusters.st >clusters-map.st
tsne --cosine <features.st >features-map.st
check "a map of clusters is as trustworthy as scikit-learn's, within 0.03" py plain clusters.st clusters-map.st
check "a map of features is as trustworthy as scikit-learn's, within 0.03" py cosine features.st features-map.st
done_testing
