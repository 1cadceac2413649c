#!/usr/bin/env bash
# tsne, neighbours and pick: against numpy in float64, for any number of threads, and with bad input.
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "maps and neighbours" "python3-numpy is not installed"
    done_testing
    exit
fi
cat >map_check.py <<END
import sys

import numpy as np

sys.path.insert(0, "$ROOT/tests")
import frames


def write(path, *tensors, **meta):
    with open(path, "wb") as file:
        for i, t in enumerate(tensors):
            frames.write(file, t, **(meta if i == 0 else {}))
        frames.write_end(file)


def read(path, name):
    with open(path, "rb") as file:
        return np.concatenate([t[name] for t, _ in frames.read_all(file) if name in t])


def meta(path):
    with open(path, "rb") as file:
        return next(iter(frames.read_all(file)))[1]


def rows(seed, n, first):
    random = np.random.default_rng(seed)
    y = random.integers(0, 5, n)
    h = np.eye(5)[y] @ np.random.default_rng(1).normal(size=(5, 24)) * 4 + random.normal(size=(n, 24))
    h[3] = h[2]
    h[5] = 0
    return {"h": h.astype(np.float32).reshape(n, 1, 24), "y": y, "index": np.arange(first, first + n) * 3}


def cut(t, at):
    return [{k: v[:at] for k, v in t.items()}, {k: v[at:] for k, v in t.items()}]


def make():
    names = '["a","b","c","d","e"]'
    write("train.st", *cut(rows(2, 300, 1000), 130), class_names=names)
    write("test.st", *cut(rows(3, 120, 0), 50), class_names=names)
    write("unlabelled.st", {"h": rows(3, 60, 0)["h"]})
    bad = rows(3, 40, 0)
    bad["h"][7, 0, 3] = np.nan
    write("nan.st", bad)
    write("one.st", {"h": np.ones((1, 8), np.float32)})
    write("two.st", {"h": np.eye(2, 8, dtype=np.float32)})
    write("none.st")
    write("equal.st", {"h": np.ones((50, 8), np.float32)})
    write("huge.st", {"h": np.float32(1e37) * rows(3, 40, 0)["h"] / 30})
    write("many.st", {"h": np.zeros((10001, 1), np.float32)})
    write("wide.st", {"h": np.zeros((4, 9), np.float32)})
    write("no-index.st", {"h": np.zeros((4, 9), np.float32)})


def trustworthiness(h, m, k):  # Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", 2001
    def order(a):
        d = ((a[:, None] - a[None]) ** 2).sum(2)
        np.fill_diagonal(d, np.inf)
        return np.argsort(d, axis=1, kind="stable")

    n = len(h)
    rank = np.empty((n, n), int)
    rank[np.arange(n)[:, None], order(h)] = np.arange(1, n + 1)
    far = np.maximum(0, rank[np.arange(n)[:, None], order(m)[:, :k]] - k)
    return 1 - 2 * far.sum() / (n * k * (2 * n - 3 * k - 1))


def neighbours():
    a, b = read("test.st", "h")[:, 0].astype(float), read("train.st", "h")[:, 0].astype(float)
    unit = lambda h: h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-30)
    s = unit(a) @ unit(b).T
    best = np.argsort(-s, axis=1, kind="stable")[:, :4]
    best[5] = range(4)  # a row of zeros has the similarity 0 to all
    assert (read("near.st", "neighbour") == read("train.st", "index")[best]).all()
    assert (read("near.st", "neighbour_y") == read("train.st", "y")[best]).all()
    assert np.abs(read("near.st", "similarity") - np.take_along_axis(s, best, 1)).max() < 1e-6
    for name in "index", "y":
        assert (read("near.st", name) == read("test.st", name)).all()
    assert meta("near.st")["class_names"] == '["a","b","c","d","e"]'


def map_():
    h, m = read("train.st", "h")[:, 0].astype(float), read("map.st", "map")
    t = trustworthiness(h, m.astype(float), 5)
    print("trustworthiness", t)
    assert m.shape == (300, 2) and np.isfinite(m).all() and np.ptp(m) > 5 and t > 0.93, t
    assert np.abs(m.mean(0)).max() < 1e-3
    for name in "index", "y":
        assert (read("map.st", name) == read("train.st", name)).all()


def finite(path, n):
    m = read(path, "map")
    assert m.shape == (int(n), 2) and np.isfinite(m).all(), m


def picked():
    wanted = [0, 6, 9, 27, 150, 357]
    keep = np.isin(read("test.st", "index"), wanted)
    for name in "h", "y", "index":
        assert (read("picked.st", name) == read("test.st", name)[keep]).all()
    assert meta("picked.st")["class_names"] == '["a","b","c","d","e"]'


{"make": make, "neighbours": neighbours, "map": map_, "finite": finite, "picked": picked}[sys.argv[1]](*sys.argv[2:])
END
py() { /usr/bin/python3 map_check.py "$@"; }
py make

neighbours --train train.st --test test.st --k 4 >near.st
check "neighbours are those of float64, ties in the order of the rows" py neighbours
check "neighbours: the same bits from one thread" cmp near.st <(neighbours --train train.st --test test.st --k 4 --threads 1)
check "neighbours: all rows if there are fewer than k" \
    test "$(neighbours --train two.st --test one.st --k 5 | inspect --rows neighbour)" = $'0\t1'
check_fails 1 "neighbours: other widths" 'training rows have 8 features, test rows 9' neighbours --train two.st --test wide.st
check_fails 1 "neighbours: NaN" "nan.st: row 7 of 'h' holds NaN or infinity" neighbours --train train.st --test nan.st
check_fails 2 "neighbours without --train" '--train is needed' neighbours

tsne <train.st >map.st
check "a map keeps neighbourhoods" py map
check "a map has the same bits from one and from three threads" \
    cmp <(tsne --threads 1 --iterations 60 <test.st) <(tsne --threads 3 --iterations 60 <test.st)
check "rows need no labels" test "$(tsne --iterations 5 <unlabelled.st | inspect --rows y | sort -u)" = -1
for case in one:1 two:2 equal:50 huge:40; do
    tsne --cosine --iterations 50 <"${case%:*}.st" >cosine.st
    tsne --iterations 300 <"${case%:*}.st" >plain.st
    check "a map of ${case%:*} ($case)" py finite plain.st "${case#*:}"
    check "a map of ${case%:*}, by directions" py finite cosine.st "${case#*:}"
done
# shellcheck disable=SC2016 # sh expands it
nothing_written() { ! tsne <"$1" >half.st 2>said && test ! -s half.st; }
check_fails 1 "tsne: NaN" "stdin: row 7 of 'h' holds NaN or infinity" sh -c 'tsne <nan.st'
check "tsne: nothing is half-written" nothing_written nan.st
check_fails 1 "tsne: no rows" 'stdin: holds no rows' sh -c 'tsne <none.st'
check_fails 1 "tsne: too many rows" '10001 rows are too many for a map, which takes up to 10000; augment --limit' sh -c 'tsne <many.st'
check_fails 2 "tsne: another tensor" "--on is h, z or x, not 'y'" tsne --on y

echo "0 6 9 27
150 357 5" >wanted
pick --index wanted <test.st >picked.st
check "pick passes on the rows of the list, with the names of the classes" py picked
: >nothing
check "pick: an empty list" test "$(pick --index nothing <test.st | inspect)" = ''
echo 3x >letters
check_fails 1 "pick: no number" "letters: '3x' is no number" sh -c 'pick --index letters <test.st'
check_fails 1 "pick: frames without index" 'stdin: the frame has no tensor index' sh -c 'pick --index wanted <no-index.st'
check_fails 2 "pick without a list" '--index FILE is missing' pick
done_testing
