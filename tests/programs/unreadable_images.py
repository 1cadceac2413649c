"""Checks for unreadable_images.sh, in numpy: python3 unreadable_images.py ROOT COMMAND ARGUMENTS...

    left_out STREAM IMAGE ROWS    fails unless it has ROWS rows, in order, without that image
    rows STREAM OTHER...  fails unless all have the same rows, whatever frames they are in
    same NAME STREAM OTHER        fails unless that tensor is the same
    first_rows STREAM N   fails unless the first frame has N rows
    joined WHOLE PART...  fails unless the rows of the parts, step by step, are those of WHOLE
    first STREAM          prints the file of the first row's image
    stands_in WHOLE STREAM IMAGE KIND     fails unless WHOLE becomes STREAM where IMAGE is damaged"""

import sys

import numpy as np

root, command, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

NAMES = ("x", "y", "index")


def stream(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def column(parts, name):
    return np.concatenate([tensors[name] for tensors, _ in parts])


def left_out(path, image, n):
    index = column(stream(path), "index").tolist()
    assert index == [i for i in range(int(n) + 1) if i != int(image)], index


def same(name, path, other):
    a, b = column(stream(path), name), column(stream(other), name)
    assert np.array_equal(a, b), (name, len(a), len(b))


def rows(path, *others):
    for other in others:
        for name in NAMES:
            same(name, path, other)


def first_rows(path, n):
    assert all(len(value) == int(n) for value in stream(path)[0][0].values())


def joined(whole, *parts):
    steps = list(zip(*map(stream, parts)))
    for name in NAMES:
        want = column(stream(whole), name)
        have = np.concatenate([column(step, name) for step in steps])
        assert np.array_equal(have, want), name


def first(path):
    image = int(column(stream(path), "index")[0])
    print(f"{('bird', 'cat', 'dog')[image // 20]}/{image:03}.png")


def stands_in(whole, path, damaged, kind):
    """The image before it in the epoch is shown: before the first one, an indexed set's last one in
    that epoch; where a stream begins, the one after it."""
    whole, found = stream(whole), stream(path)
    epochs = {meta["epoch"] for _, meta in whole}
    places = set()
    for epoch in epochs:
        want, shown = ({name: column([f for f in parts if f[1]["epoch"] == epoch], name)
                        for name in NAMES} for parts in (whole, found))
        (place,) = np.flatnonzero(want["index"] == int(damaged[-7:-4]))
        other = place - 1 if place or kind == "indexed" else 1
        for name in NAMES:
            want[name][place] = want[name][other]
            assert np.array_equal(shown[name], want[name]), (epoch, name)
        places.add(int(place))
    assert 0 in places and len(epochs) == 2, places


globals()[command](*arguments)
