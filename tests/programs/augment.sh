#!/usr/bin/env bash
# Tests of augment: its frames, order, threads, shards, restarts, trace, and the input that it refuses.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/augment.py" "$ROOT" "$@"
}

same_text() { # FILE EXPECTED
    diff <(printf '%s\n' "$2") "$1" >&2
}

# ---- tests without Python ----
augment --data shapes --batch 24 --steps 5 --threads 1 --out one.st --trace one.jsonl
for n in 2 5; do
    augment --data shapes --batch 24 --steps 5 --threads $n --out many.st --trace many.jsonl
    check "$n threads write the same bytes as one" cmp one.st many.st
    check "$n threads write the same trace as one" cmp one.jsonl many.jsonl
done
all=crop,$(augment --help | sed -n 's/^ *--target class|//p' | tr '|' ,) # the operations on images
has_all() { # FILE: checks that the man page has every operation of --help as an entry
    local op n=0
    for op in $(augment --help | sed -n '/^Operations/,/^[AP]/s/^  \([a-z]*\)[: ].*/\1/p'); do
        grep -q "^\.It Cm $op\b" "$1" || { echo "no $op" && return 1; }
        n=$((n + 1))
    done
    [ $n -ge 18 ]
}
check "the man page has every operation" has_all "$ROOT/cmd/augment/augment.mdoc"
augment --data shapes --size 33 --batch 24 --steps 1 --ops "$all" --threads 1 --out every.st
augment --data shapes --size 33 --batch 24 --steps 1 --ops "$all" --threads 3 --out every3.st
check "with every operation: 3 threads write the same bytes as one" cmp every.st every3.st
augment --data shapes --batch 24 --steps 5 >stdout.st
check "stdout receives the same bytes as a file" cmp one.st stdout.st
augment --format shapes --batch 24 --steps 5 --policy simclr-cifar --seed 1 --out other.st
check "another seed gives other bytes" test "$(cksum <one.st)" != "$(cksum <other.st)"

# Frames of this size differ only in their numbers from step to step, so the tail can be compared.
augment --data shapes --limit 50 --batch 24 --steps 9 --out whole.st
augment --data shapes --limit 50 --batch 24 --steps 9 --start 3 --out tail.st
size=$(stat -c %s tail.st)
check "--start gives the frames of an uninterrupted run" \
    cmp tail.st <(tail -c "$size" whole.st)
check "these are six of nine frames" test $((size * 9)) -lt $(($(stat -c %s whole.st) * 6 + 3000))
augment --data shapes --batch 24 --steps 9 --start 9 --out none.st
check "--start at the last step writes only the end frame" test "$(stat -c %s none.st)" -lt 200

# ---- frames are made ahead of being written ----
for bytes in 0 1 200K 1G; do
    augment --data shapes --batch 24 --steps 5 --ahead $bytes --out ahead.st --trace ahead.jsonl
    check "--ahead $bytes writes the same bytes" cmp one.st ahead.st
    check "--ahead $bytes writes the same trace" cmp one.jsonl ahead.jsonl
done

# Threads that spin while they wait for room would take processor time as long as the reader sleeps.
seconds_taken() { # OMP_WAIT_POLICY
    local TIMEFORMAT=%U
    { time OMP_WAIT_POLICY=$1 augment --data shapes --batch 24 --steps 9 --threads 2 --ahead 0 \
        2>slow.err; } 2>slow.time | (sleep 1.5 && cat >slow.st)
    [ ! -s slow.err ] && cat slow.time
}
waits_asleep() {
    seconds_taken passive >passive.time && seconds_taken active >active.time &&
        paste active.time passive.time | awk '{ exit !($1 < $2 + 0.5) }'
}
if [[ ${BIN:-} == */tsan/bin ]]; then
    skip "waiting for a slow reader takes no processor time" "clang's OpenMP does not end there"
else
    check "waiting for a slow reader takes no processor time" waits_asleep
fi

# A frame that takes long to make, or input that does not come, must not keep the program from
# ending.
stopped() {
    local since=$SECONDS status=0
    augment --data shapes --size 8 --views 1024 --batch 1024 --steps 1 --threads 1 --policy simclr \
        --out large.st 2>stopped.err &
    catches_signals $! && sleep 0.5 && kill -TERM $!
    wait $! || status=$?
    [ $status = 1 ] && [ $((SECONDS - since)) -lt 50 ] && grep -q 'stopped by SIGTERM' stopped.err
}
check "SIGTERM does not wait for a frame to be made" stopped
augment --data shapes --batch 32 --steps 4 --views 1 --ops crop:1-1 --out images.st
lost_reader() {
    local since=$SECONDS writer
    mkfifo stalls
    { head -c 300000 images.st && exec sleep 100; } >stalls &
    writer=$!
    {
        augment --data - --format frames --cache 0 --shuffle 4 --batch 32 --size 256 --steps 9 \
            --views 1 <stalls 2>lost.err || echo $? >lost.status
    } | (sleep 1 && head -c 1000 >/dev/null)
    kill $writer
    grep -qx 1 lost.status && [ $((SECONDS - since)) -lt 50 ] && grep -q 'reader is gone' lost.err
}
check "a reader that goes away does not wait for input" lost_reader

# ---- wrong usage: status 2, one line, no output ----
usage() { # WHAT REGEX ARGUMENTS...
    local what=$1 regex=$2
    shift 2
    check_fails 2 "$what" "$regex" augment "$@" --out refused.st
    check "$what: no output" test ! -e refused.st
}
usage "no data" '--data is missing'
usage "an unknown flag" 'frobnicate' --data shapes --frobnicate 3
usage "an unknown operation" \
    "unknown operation 'solarise' \(there are crop, center, flip, .*cutout, rotate, noise, sobel" \
    --data shapes --ops crop,solarise:0.2
usage "an argument out of range, of other views" '--ops2: noise: 2 is not between 0 and 1' \
    --data shapes --ops2 noise:1:2
usage "operations for a view that is not there" '--ops2: there is no second view' \
    --data shapes --views 1 --ops2 crop
usage "a policy and operations" 'exclude each other' --data shapes --policy eval --ops crop
usage "grains that do not divide" '16 grains do not divide a batch of 24' \
    --data shapes --batch 24 --grains 16
usage "grains that are no power of two" '3 grains: not a power of two' \
    --data shapes --batch 24 --grains 3
usage "a shard beyond the world" '--shard 2/2' --data shapes --shard 2/2
usage "a shard that is none" '--shard 1of2' --data shapes --shard 1of2
usage "more ranks than images" 'cannot be cut for 3 ranks' --data shapes --batch 2 --shard 0/3
usage "a bound that is no size" "'some' is no number of bytes" --data shapes --ahead some
usage "a batch of nothing" '--batch' --data shapes --batch 0

# ---- bad data: status 1, one line that names the file ----
refuse() { # WHAT REGEX ARGUMENTS...
    local what=$1 regex=$2
    shift 2
    check_fails 1 "$what" "$regex" augment "$@" --out refused.st
    check "$what: no output" test ! -e refused.st
}
refuse "a missing folder" 'augment: nowhere: No such file' --data nowhere
refuse "a batch larger than the data" 'shapes: 20 images are too few for a batch of 32' \
    --data shapes --limit 20 --batch 32
refuse "a start beyond the end" '--start 4: there are 3 steps' \
    --data shapes --batch 8 --steps 3 --start 4
mkdir empty truncated labels
refuse "an empty folder" 'empty: no PNG, JPEG, WebP, TIFF, BMP or PNM file' --data empty
head -c 3000 /dev/zero >truncated/data_batch_1.bin
refuse "a truncated CIFAR-10 file" 'truncated/data_batch_1.bin: 3000 bytes' --data truncated
head -c 3073 /dev/zero | tr '\0' '\12' >labels/data_batch_1.bin
refuse "a label out of range" 'labels/data_batch_1.bin: record 0 has label 10' --data labels

# ---- a folder of PNG ----
mkdir -p set/a set/b
cp "$ROOT"/tests/data/png/*.png set/a
cp "$ROOT"/tests/data/png/grey*.png set/b
check "augment reads PNG files of every kind" augment --data set --size 24 --batch 16 --epochs 1 --out png.st
head -c 60 "$ROOT/tests/data/png/rgb8.png" >set/b/zz.png
check_fails 1 "a damaged PNG" 'set/b/zz.png: damaged PNG' \
    augment --data set --size 24 --policy eval --threads 3 --on-error stop --out damaged.st

# ---- failures and signals, with frames made ahead ----
mkdir -p late/a
for i in 1 2 3 4 5 6; do
    cp "$ROOT/tests/data/png/rgb8.png" late/a/$i.png
done
head -c 60 late/a/1.png >late/a/z.png
fails_late() {
    ! augment --data late --size 24 --policy eval --batch 2 --on-error stop 2>late.txt |
        inspect >late.frames 2>late.broken || return 1
    [ "$(grep -c '^frame ' late.frames)" = 3 ] && grep -q '^augment: late/a/z.png: ' late.txt
}
check "a failure while making frames ahead is reported after the frames before it" fails_late
mkfifo unread broken-off
stops() { # ARGUMENTS: SIGTERM must end augment while its reader and its input wait
    local reader writer status=0 since=$SECONDS
    { exec sleep 100; } <unread &
    reader=$!
    { tar cf - late | head -c 3000 && exec sleep 100; } >broken-off &
    writer=$!
    augment --batch 4 --steps 100000 "$@" <broken-off >unread 2>stopped.txt &
    catches_signals $! && sleep 0.5 && kill -TERM $!
    wait $! || status=$?
    kill $reader $writer
    [ $status = 1 ] && [ $((SECONDS - since)) -lt 50 ] &&
        [ "$(cat stopped.txt)" = 'augment: stopped by SIGTERM' ]
}
check "SIGTERM ends it while nobody reads" stops --data shapes --ahead 2M
check "SIGTERM ends it while it waits for images" stops --data - --cache 0 --size 24

# ---- a reader that goes away ----
{
    set +e
    augment --data shapes --batch 64 --epochs 100 2>broken.txt
    echo $? >broken.status
    set -e
} | head -c 1000 >first.bytes
check "when its reader goes away, it fails" grep -qx 1 broken.status
check "it reports that in a line" grep -q '^augment: ' broken.txt
check "it reports that in one line only" test "$(wc -l <broken.txt)" = 1
check_fails 1 "a full disk" 'No space left' augment --data shapes --batch 8 --steps 3 --out /dev/full

if ! py describe one.st >describe.txt 2>/dev/null; then
    skip "frames, shards, labels" "python3-numpy is not installed"
    done_testing
    exit
fi

# ---- the contents of frames ----
augment --data shapes --limit 50 --batch 24 --epochs 2 --out train.st
py describe train.st >train.txt
check "frames of training have the expected tensors" same_text train.txt \
    'index[24] x[24,2,32,32,3] y[24] batch=24 classes=10 epoch=0 grains=8 images=50 step=0 steps=4 steps_per_epoch=2
index[24] x[24,2,32,32,3] y[24] batch=24 classes=10 epoch=0 grains=8 images=50 step=1 steps=4 steps_per_epoch=2
index[24] x[24,2,32,32,3] y[24] batch=24 classes=10 epoch=1 grains=8 images=50 step=2 steps=4 steps_per_epoch=2
index[24] x[24,2,32,32,3] y[24] batch=24 classes=10 epoch=1 grains=8 images=50 step=3 steps=4 steps_per_epoch=2'
mkdir cifar
py data cifar
augment --data cifar --split test --policy eval --batch 20 --grains 4 --out eval.st
py describe eval.st >eval.txt
check "evaluation keeps the partial batch" same_text eval.txt \
    'index[20] x[20,1,32,32,3] y[20] batch=20 classes=10 epoch=0 grains=4 images=50 step=0 steps=3 steps_per_epoch=3
index[20] x[20,1,32,32,3] y[20] batch=20 classes=10 epoch=0 grains=4 images=50 step=1 steps=3 steps_per_epoch=3
index[10] x[10,1,32,32,3] y[10] batch=10 classes=10 epoch=0 grains=2 images=50 step=2 steps=3 steps_per_epoch=3'
check "evaluation keeps the order and labels" py rows eval.st 0 49
for limit in 10 25 49; do
    augment --data cifar --split test --ops center --limit $limit --out limit.st
    check "--limit $limit takes images of each class in proportion" py sample limit.st $limit
    check "--limit $limit takes the same images with any seed and number of threads" cmp limit.st \
        <(augment --data cifar --split test --ops center --limit $limit --seed 5 --threads 3)
done
augment --data shapes --size 40 --views 3 --batch 6 --steps 1 --shard 1/4 --out big.st
py describe big.st >big.txt
check "the frames have the given size, views and uneven shards" same_text big.txt \
    'index[2] x[2,3,40,40,3] y[2] batch=6 classes=10 epoch=0 grains=2 images=10000 rank=1 step=0 steps=1 steps_per_epoch=1666 world=4'

# ---- shards ----
for world in 2 3; do
    parts=()
    for ((rank = 0; rank < world; rank++)); do
        augment --data cifar --batch 16 --epochs 2 --shard "$rank/$world" --out "part$rank.st"
        parts+=("part$rank.st")
    done
    augment --data cifar --batch 16 --epochs 2 --out whole.st
    check "$world shards together are the whole batch" py join whole.st "${parts[@]}"
done

# ---- the trace ----
if ! python_has torchvision PIL; then
    skip "views redone from the trace" "python3-torchvision or python3-pil is not installed"
else
    redone() { # WHAT FOLDER SIZE BATCH LIST LIST2 KIND...: one Python process checks them all
        local what=$1 folder=$2 size=$3 batch=$4 list=$5 list2=$6 n=${#redone[@]}
        shift 6
        augment --data "$folder" --size "$size" --batch "$batch" --steps 4 --ops "$list" \
            --ops2 "$list2" --out "redo$n.st" --trace "redo$n.jsonl"
        echo redo "$folder" "redo$n.st" "redo$n.jsonl" "$@" >>redo.list
        redone+=("$what")
    }
    redone_as_told() { # NUMBER: succeeds if Python found the view right
        grep -qx "ok $1" redo.results || { cat redo.results && return 1; }
    }
    redone=()
    places=crop:0.08-1,flip:0.5,rotate,cutout:0.5:0.1-0.9
    colors=flip:0.5,jitter:0.8:0.5,gray:0.2,blur:0.5:0.1-2
    rest=jitter:0.5,solarize:0.5,noise:0.5:0-0.2,sobel:0.5,blur:0.3
    redone "what moves pixels, redone by PIL from the trace" cifar 32 32 $places $places \
        crop flip rotate cutout
    redone "colours and blur, redone by torchvision from the trace" cifar 32 32 $colors $colors \
        crop flip jitter gray blur
    redone "--ops2: solarize, noise, sobel, redone by torchvision and numpy" cifar 32 32 gray:0 $rest \
        crop jitter solarize noise sobel blur
    check "--ops2 does not change the first view" \
        test "$(grep '"view":0' redo2.jsonl | grep -cv '"ops":\[{"op":"crop",[^{]*}\]}')" = 0
    mkdir pictures squares
    py pictures pictures 500x375 301x203 97x150 1x1 3x40 224x224 33x34 640x31
    py pictures squares 97x97 97x97 97x97 97x97
    redone "images of any size at 224 pixels" pictures 224 8 $places crop crop flip rotate cutout
    redone "images of any size at 33 pixels" pictures 33 8 crop:0.2-1:0.5:0.5-2 $places \
        crop flip rotate cutout
    redone "every operation at 97 pixels" squares 97 4 flip,rotate,cutout,$colors $rest \
        crop flip rotate cutout jitter gray blur solarize noise sobel
    py spectra spectra 5 500x375 31x203 97x150 1x1 3x40 224x224 33x34 64x31
    py spectra spectra7 7 33x33 33x33 33x33 33x33
    redone "every operation on 5 channels of 16 bits" spectra 33 8 $places \
        noise:0.5:0-0.2,sobel:0.5,blur:0.5:0.1-2 crop flip rotate cutout blur noise sobel
    redone "every operation on 7 channels of 16 bits" spectra7 33 4 flip,rotate,cutout,blur \
        solarize:0.5,noise:1:0.1,blur crop flip rotate cutout blur solarize noise
    py each redo.list >redo.results 2>&1 || true
    for n in "${!redone[@]}"; do
        check "${redone[n]}" redone_as_told "$n"
    done
    augment --data cifar --batch 8 --steps 1 --policy eval --trace eval.jsonl --out eval.st
    check "center is in the trace, with its box" grep -q \
        '{"epoch":0,"index":3,"view":0,"ops":\[{"op":"center","x":0,"y":0,"w":32,"h":32}\]}' eval.jsonl
fi
done_testing
