#!/usr/bin/python3
"""Measures numpy and scikit-learn beside evaluate, for tests/bench/run.

    features.py write FOLDER ROWS TESTS WIDTH CLASSES
        writes FOLDER/train.st, FOLDER/test.st, and the same as arrays of numpy
    features.py linear|sweep|knn FOLDER
        prints `ready`, and then for each line on stdin the seconds of a round: multinomial logistic
        regression by lbfgs at its usual tolerance, on standardized float64; the same with l2 chosen among
        the nine values that evaluate tries, on every tenth row of each class; or the product of unit
        rows in float32 and the 200 nearest rows by argpartition

The features are like those of an encoder: not negative, correlated, two in five above zero."""
import sys
import time
import warnings

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, __file__.rpartition("/")[0] + "/..")
import frames


def make(seed, n, width, classes, latent=128):
    fixed, own = np.random.default_rng(1), np.random.default_rng(seed)
    mix = fixed.normal(size=(latent, width)).astype(np.float32) / latent**0.5
    means = 0.25 * fixed.normal(size=(classes, latent))
    bias = 0.5 * fixed.normal(size=width) - 0.3
    y = own.integers(0, classes, n)
    z = (means[y] + own.normal(size=(n, latent))).astype(np.float32)
    x = z @ mix + bias + 0.3 * own.normal(size=(n, width))
    return np.maximum(x, 0).astype(np.float32), y


def write(folder, rows, tests, width, classes):
    for name, seed, n in (("train", 2, rows), ("test", 3, tests)):
        x, y = make(seed, int(n), int(width), int(classes))
        np.savez(f"{folder}/{name}.npz", x=x, y=y)
        with open(f"{folder}/{name}.st", "wb") as file:
            for at in range(0, len(x), 256):
                frames.write(file, {"h": x[at : at + 256, None, :], "y": y[at : at + 256]})
            frames.write_end(file)


def linear(x, y, xt, yt, l2=1e-3):
    from sklearn.linear_model import LogisticRegression

    warnings.simplefilter("ignore")
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    std[std == 0] = np.inf
    model = LogisticRegression(C=1 / (len(x) * l2), max_iter=1000)
    return model.fit((x - mean) / std, y).score((xt - mean) / std, yt)


def sweep(x, y, xt, yt):
    place = np.empty(len(y), int)  # of each row among those of its class
    for c in np.unique(y):
        place[y == c] = np.arange((y == c).sum())
    held = place % 10 == 9

    def accuracy(l2):
        return linear(x[~held], y[~held], x[held], y[held], l2)

    tried = {l2: accuracy(l2) for l2 in (10.0**-i for i in range(7))}
    best = max(tried, key=lambda l2: (tried[l2], l2))
    tried.update({l2: accuracy(l2) for l2 in (best * 10**0.5, best / 10**0.5)})
    return linear(x, y, xt, yt, max(tried, key=lambda l2: (tried[l2], l2)))


def knn(x, _, xt, __, k=200):
    x, xt = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (x, xt))
    return np.argpartition(-(xt @ x.T), min(k, len(x) - 1), axis=1)[:, :k]


def answer(method, folder):
    train, test = (np.load(f"{folder}/{name}.npz") for name in ("train", "test"))
    data = [train["x"], train["y"], test["x"], test["y"]]
    print("ready\t0", flush=True)
    for _ in sys.stdin:
        since = time.perf_counter()
        method(*data)
        print(time.perf_counter() - since, flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "write":
        write(*arguments)
    else:
        answer({"linear": linear, "sweep": sweep, "knn": knn}[command], *arguments)
