#!/usr/bin/env bash
# Tests of augment --labels, which keeps the same number of images of each class, and the same
# images in every run; and of the number of classes.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export PYTHONDONTWRITEBYTECODE=1
some() { # options
    augment --data shapes --policy eval --batch 100 --limit 1000 "$@"
}
cat >labels.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import collections, numpy as np, frames
def pairs(name):
    with open(name, "rb") as f:
        return [(int(y), int(i)) for t, _ in frames.read_all(f) for y, i in zip(t["y"], t["index"])]
def balanced(name, each, classes=10):
    p = pairs(name)
    assert len(set(i for _, i in p)) == len(p), "an image twice"
    counts = collections.Counter(y for y, _ in p)
    assert counts == {c: int(each) for c in range(int(classes))}, counts
def same(a, *others):
    assert all(sorted(pairs(a)) == sorted(sum((pairs(o) for o in o.split("+")), [])) for o in others)
def differ(a, b):
    assert sorted(pairs(a)) != sorted(pairs(b))
def within(small, large):
    assert set(pairs(small)) < set(pairs(large))
def skewed(name, *counts):
    c = collections.Counter(y for y, _ in pairs(name))
    assert c == {i: int(n) for i, n in enumerate(counts) if int(n)}, c
def images(name, unlabelled=None):
    # Classes of 2, 5 and 9 images, and four images without a label. An image's pixels tell its
    # number.
    y = np.array([0] * 2 + [1] * 5 + [2] * 9 + [-1] * 4)
    x = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 8, 8, 3))
    with open(name, "wb") as f:
        frames.write(f, {"x": np.ascontiguousarray(x)} | ({} if unlabelled else {"y": y}))
        frames.write_end(f)
def shown(name):
    with open(name, "rb") as f:
        for t, _ in frames.read_all(f):
            assert np.array_equal(t["x"][:, 0, 0, 0, 0], t["index"]), t["index"]
globals()[sys.argv[2]](*sys.argv[3:])
P
py() {
    /usr/bin/python3 labels.py "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "labels" "python3-numpy is not installed"
    done_testing
    exit
fi

some --labels 0.05 >five.st
check "5 % of 1000 images are five of each class" py balanced five.st 5
some --labels 0.0001 >one.st
check "at least one image of each class is kept" py balanced one.st 1
some --labels 0.044 >four.st
check "4.4 images of each class are rounded to four" py balanced four.st 4
some --labels-per-class 4 >four2.st
check "--labels-per-class gives the same images" cmp four.st four2.st
check "a smaller share is a subset of a larger one" py within one.st five.st
some --labels 1 >all.st
some >plain.st
check "--labels 1 keeps all images in their order" cmp all.st plain.st

some --labels 0.05 --threads 3 --seed 9 >threads.st
check "neither threads nor the seed of the views change the choice" py same five.st threads.st
some --labels 0.05 --labels-seed 1 >other.st
check "--labels-seed changes the choice" py differ five.st other.st
check "another choice is balanced too" py balanced other.st 5
train="augment --data shapes --limit 1000 --labels 0.04 --batch 8 --epochs 1 --ops flip --views 1"
for rank in 0 1; do
    $train --shard $rank/2 >shard$rank.st
done
$train >shuffled.st
check "shuffled and in shards, the images are the same" py same four.st shuffled.st shard0.st+shard1.st

py images few.st
shares() { # share, images of each class
    local share=$1
    shift
    augment --data few.st --policy eval --batch 20 --labels "$share" >out.st && py skewed out.st "$@" && py shown out.st
}
check "a class with fewer images gives all of them; images without labels are left out" shares 0.9 2 5 5
check "the share is one of all labelled images" shares 0.5 2 3 3
check_fails 1 "a stream" 'few.st: labels cannot be chosen from a stream' \
    augment --data few.st --cache 10 --batch 4 --steps 1 --labels 0.5 --out out.st
py images none.st unlabelled
check_fails 1 "no labels at all" 'none.st: none of the images has a label' \
    augment --data none.st --batch 1 --labels 0.5 --out out.st
check_fails 2 "a share of 0" 'labels' some --labels 0
check_fails 2 "--labels and --labels-per-class together" 'exclude each other' some --labels 0.5 --labels-per-class 3

# The number of classes, for each format that knows it.
check "shapes have 10 classes" [ "$(inspect --meta classes one.st | sort -u)" = 10 ]
check "frames have as many as their labels say" [ "$(augment --data few.st --policy eval --batch 20 | inspect --meta classes)" = 3 ]
check "without labels there is no number of classes" [ -z "$(augment --data none.st --policy eval --batch 20 | inspect --meta classes)" ]
done_testing
