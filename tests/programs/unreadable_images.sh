#!/usr/bin/env bash
# Tests with images that cannot be read. How many are tolerated depends on the data set, not on its
# batches.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/unreadable_images.py" "$ROOT" "$@"
}
if ! python_has PIL numpy; then
    skip "tolerance" "python3-pil or python3-numpy is not installed"
    done_testing
    exit
fi
fixture inputs
knn=(--on x --method knn --k 1 --bootstrap 0)
cp -r set/train one
rm one/notes.txt
: >one/bird/000.png # the first of 60
tar cf one.tar --sort=name -C one .
tar czf one.tar.gz --sort=name -C one .
sources=(one one.tar one.tar.gz 'one.tar.gz --cache 0 --shuffle 7')

# ---- evaluation: the row is left out ----
augment --data one --policy eval --batch 60 --out whole.frames 2>whole.err
check "the row of an image that cannot be read is left out" py left_out whole.frames 0 59
batches() { # B
    local i words made=()
    for i in "${!sources[@]}"; do
        read -ra words <<<"${sources[i]}"
        augment --data "${words[@]}" --policy eval --batch "$1" --out "small$i.frames" || return 1
        made+=("small$i.frames")
    done
    mv small0.frames small.frames
    py rows whole.frames small.frames "${made[@]:1}"
}
for batch in 59 7 1; do
    check "batches of $batch have the same rows" batches $batch
done
check "a batch without readable images is a frame without rows" py first_rows small.frames 0
stages() {
    encode --width 0.1 --in small.frames --out h.frames && project --in h.frames --out z.frames && py first_rows z.frames 0 &&
        augment --data one --policy eval --batch 60 | encode --width 0.1 | project --out want.frames && py same z want.frames z.frames &&
        evaluate --train want.frames --test z.frames "${knn[@]/x/z}" >score.json && grep -q '"n_test": 59,' score.json
}
check "encode, project and evaluate accept a frame without rows" stages
inspect small.frames >inspected
check "inspect prints a frame without rows" grep -q 'x  *U8  *\[0,1,48,48,3\]' inspected
check "augment reads a frame without rows" cmp <(augment --data small.frames --policy eval --batch 60) \
    <(augment --data whole.frames --policy eval --batch 60)
turns() {
    augment --data one --policy eval --batch 1 --turn 0/2 --out turn0.frames &&
        augment --data one --policy eval --batch 1 --turn 1/2 --out turn1.frames &&
        encode --width 0.1 --in 'exec:cat turn0.frames,exec:cat turn1.frames' --out turns.frames && py same h h.frames turns.frames
}
check "augmenters that take turns" turns
shards() { # BATCH
    local r parts=()
    for r in 0 1 2; do
        augment --data one --policy eval --batch "$1" --shard $r/3 --out "part$r.frames" || return 1
        parts+=("part$r.frames")
    done
    py joined whole.frames "${parts[@]}"
}
check "shards leave out the same rows" shards 12
check "shards of one row leave out the same rows" shards 3
check "a training step reports that it needs rows" grep -q 'x has no rows, and a training step needs some$' \
    <(encode --in small.frames --opt exec:lars --next exec:project 2>&1)

# ---- training: another image replaces it ----
cp -r set/train good && rm good/notes.txt
tar czf good.tar.gz --sort=name -C good .
for source in one 'one.tar.gz --cache 0'; do
    views=(--ops crop:1-1:1:1-1 --views 1 --size 16 --epochs 2) kind=indexed
    if [[ $source = *cache* ]]; then
        views+=(--shuffle 1) kind=stream # keeps the order, so the first image stays the first
    fi
    read -ra good <<<"${source/one/good}"
    read -ra hurt <<<"${source/one/hurt}"
    augment --data "${good[@]}" "${views[@]}" --batch 60 --out good.frames
    damaged=$(py first good.frames)
    cp -r good hurt
    : >"hurt/$damaged"
    tar czf hurt.tar.gz --sort=name -C hurt .
    train() {
        augment --data "${hurt[@]}" "${views[@]}" "$@"
    }
    single() {
        train --batch 1 --out train.frames && py stands_in good.frames train.frames "$damaged" "$kind" &&
            cmp train.frames <(train --batch 1 --threads 1) &&
            train --batch 1 --start 60 --out named.frames && drop_class_names named.frames >late.frames &&
            tail -c "$(wc -c <late.frames)" train.frames | cmp - late.frames
    }
    check "$source: the first image of an epoch, in batches of one" single
    shared() {
        local r parts=()
        for r in 0 1 2; do
            train --batch 3 --shard $r/3 --out "part$r.frames" || return 1
            parts+=("part$r.frames")
        done
        train --batch 3 --out train.frames && py stands_in good.frames train.frames "$damaged" "$kind" &&
            py joined train.frames "${parts[@]}"
    }
    check "$source: the same in three shards" shared
    rm -r hurt hurt.tar.gz
done
mkdir none
: >none/1.png
last_line() { # the last line that it prints
    augment --data none --batch 1 --epochs 1 --size 16 --out out.frames 2>none.err && return
    tail -n 1 none.err >&2
    return 1
}
check_fails 1 "a set without readable images" 'none/1.png: empty: and none of the 0 images before it' last_line
done_testing
