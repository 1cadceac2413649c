#!/usr/bin/env bash
# Tests of augment's inputs: every format, streams, caches, and damaged files.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/inputs.py" "$ROOT" "$@"
}
if ! python_has PIL numpy; then
    skip "inputs" "python3-pil or python3-numpy is not installed"
    done_testing
    exit
fi
fixture inputs

# ---- the same images from every kind of source ----
views=(--batch 16 --epochs 2 --seed 3)
augment --data set "${views[@]}" --out set.frames
same() { # ARGUMENTS...: succeeds if the frames are those of the folder
    augment "$@" "${views[@]}" --out other.frames && cmp set.frames other.frames
}
drop_class_names set.frames >unnamed.frames
same_unnamed() { # ARGUMENTS...: does the same for a set whose classes have no names
    augment "$@" "${views[@]}" | drop_class_names | cmp unnamed.frames -
}
check "an archive" same --data set.tar
check "a compressed archive" same --data set.tar.gz
check "shards of WebDataset, as a brace list" same_unnamed --data 'wds-{000..001}.tar'
check "compressed shards" same_unnamed --data 'wds-{000,001}.tar.gz'
check "folders of splits in an archive" same --data both.tar
check "frames in a file" same_unnamed --data set.st
check "any format by its name" same_unnamed --data set.st --format frames
check "decoded each time" same --data set --cache 0
check "decoded images are kept as far as there is room" same --data set --cache 100K
check "a budget for the bytes of an archive and for some decoded images" same --data set.tar.gz --cache 500K
zst() {
    zstd -q set.tar -o set.tar.zst && same --data set.tar.zst
}
if command -v zstd >/dev/null; then
    check "compressed by zstd" zst
else
    skip "compressed by zstd" "zstd is not installed"
fi
from_stdin() { # FILE: through a pipe, and as a file
    augment --data - "${views[@]}" <"$1" | drop_class_names | cmp unnamed.frames - &&
        tail -c +1 "$1" | augment --data - "${views[@]}" | drop_class_names | cmp unnamed.frames -
}
check "an archive on stdin" from_stdin set.tar
check "a compressed archive on stdin" from_stdin set.tar.gz
check "frames on stdin" from_stdin set.st
slow_writer() {
    { head -c 5 set.st && sleep 0.3 && tail -c +6 set.st; } | augment --data - "${views[@]}" | drop_class_names | cmp unnamed.frames -
}
check "frames on stdin whose writer is slow to begin" slow_writer
fifo() {
    augment --data <(cat set.tar.gz) "${views[@]}" | cmp set.frames -
}
check "a FIFO" fifo
command_of_frames() {
    augment --data 'exec:cat set.st' --format frames "${views[@]}" | drop_class_names | cmp unnamed.frames -
}
check "frames from a command" command_of_frames
test_split() {
    [ "$(augment --data set --split test --policy eval | inspect --meta batch)" = 3 ] &&
        [ "$(augment --data both.tar --split test --policy eval | inspect --meta batch)" = 1 ]
}
check "the split val, and images in deeper folders" test_split

# ---- IDX and CIFAR ----
for split in train test; do
    for set in idx idx.gz; do
        augment --data $set --split $split --policy eval --out grey.frames
        check "$set, $split" py grey $split grey.frames
    done
    for set in cifar-100-binary cifar-100-binary.tar.gz; do
        augment --data $set --split $split --policy eval --out fine.frames
        check "$set, $split" py fine fine.frames $split
    done
done
augment --data idx/train-images-idx3-ubyte --policy eval --out grey.frames
check "one IDX file alone" py grey train grey.frames
check "the views have the size of its images" grep -q '"shape":\[120,1,28,28,3\]' grey.frames
cifar10() { # the archive has its files in another order
    cmp <(augment --data cifar-10-batches-bin --batch 32 --epochs 2) \
        <(augment --data cifar-10-binary.tar.gz --batch 32 --epochs 2)
}
check "CIFAR-10's archive as it is distributed" cifar10
cifar10_names() {
    augment --data cifar-10-binary.tar.gz --batch 32 --steps 2 | inspect --meta class_names |
        head -n 1 | grep -q '^\["airplane","automobile",.*"truck"\]$'
}
check "CIFAR-10's class names" cifar10_names

# ---- decoding, against PIL ----
augment --data jpegs --policy eval --out jpegs.frames
check "JPEG and PNG of every kind have PIL's pixels" py pictures jpegs jpegs.frames
augment --data jpegs --policy eval --orient --out turned.frames
check "--orient turns pictures as PIL does" py pictures jpegs turned.frames turned
check "without --orient some pictures differ" test "$(cksum <jpegs.frames)" != "$(cksum <turned.frames)"
for kind in jpg png; do
    augment --data large-$kind --policy simclr --size 64 --batch 8 --steps 2 --out full.frames
    augment --data large-$kind --policy simclr --size 64 --batch 8 --steps 2 --reduced --out reduced.frames
done
check "--reduced does not change PNG" cmp full.frames reduced.frames
augment --data large-jpg --policy simclr --size 64 --batch 8 --steps 2 --out full.frames
augment --data large-jpg --policy simclr --size 64 --batch 8 --steps 2 --reduced --out reduced.frames
check "--reduced changes JPEG" test "$(cksum <full.frames)" != "$(cksum <reduced.frames)"
reduced_views() {
    augment --data large-jpg --ops crop --size 64 --batch 16 --steps 3 --reduced --trace reduced.jsonl --out crops.frames
    py reduced large-jpg crops.frames reduced.jsonl
}
check "PIL's draft mode makes the same views from the trace" reduced_views
check "reduced views differ only slightly" py near full.frames reduced.frames 2

# ---- streams: sets that do not fit into --cache ----
stream=(--data 'wds-{000..001}.tar.gz' --cache 0 --shuffle 20 --batch 12 --epochs 3)
augment "${stream[@]}" --out stream.frames
check "each epoch has each image once, in its own order" py epochs stream.frames 60
for n in 1 2 5; do
    check "$n threads give the same bytes" cmp stream.frames <(augment "${stream[@]}" --threads $n)
done
size=$(($(augment "${stream[@]}" --start 8 | wc -c) - $(augment "${stream[@]}" --start 9 | wc -c)))
restarted() { # STEP
    cmp <(augment "${stream[@]}" --start "$1") <(tail -c +$((size * $1 + 1)) stream.frames)
}
for step in 3 7 15; do
    check "a stream that is started at step $step" restarted $step
done
shards() { # WORLD
    local r parts=()
    for ((r = 0; r < $1; r++)); do
        augment "${stream[@]}" --shard "$r/$1" --out "part$r.frames"
        parts+=("part$r.frames")
    done
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/augment.py" "$ROOT" join stream.frames "${parts[@]}"
}
check "2 shards of a stream" shards 2
check "5 shards of a stream" shards 5
check "a small shuffle buffer gives another order" \
    test "$(augment "${stream[@]}" --shuffle 4 | cksum)" != "$(cksum <stream.frames)"
ordered() {
    cmp <(augment --data set --policy eval --batch 7) <(augment --data set.tar.gz --cache 0 --policy eval --batch 7)
}
check "evaluation keeps the order of a stream" ordered
once() {
    augment --data - --cache 0 --batch 12 --steps 5 <set.tar.gz >once.frames &&
        [ "$(inspect --meta step once.frames | tr '\n' ' ')" = "0 1 2 3 4 " ] &&
        augment --data - --cache 0 --batch 12 --limit 60 <set.st | inspect --meta step | tail -n 1 | grep -qx 4
}
check "stdin that does not fit is read once" once
from() { # FILE ARGUMENTS...
    local file=$1
    shift
    augment "$@" <"$file" >/dev/null
}
stopped() { # while it waits for a writer that sends nothing
    local writer augment status=0
    [ -p says-nothing ] || mkfifo says-nothing
    sleep 100 >says-nothing &
    writer=$!
    augment --data - "$@" --out stopped.frames <says-nothing 2>stopped.err &
    augment=$!
    catches_signals $augment && sleep 0.2 && kill -TERM $augment
    wait $augment || status=$?
    kill $writer
    [ $status = 1 ] && grep -q 'stopped by SIGTERM' stopped.err
}
check "SIGTERM ends it while it waits for the first bytes" stopped
check "SIGTERM ends it while the reader of archives waits" stopped --format tar
check_fails 1 "stdin that does not fit, without --limit and --steps" 'to say how much of it' \
    from set.tar --data - --cache 0 --batch 12
check_fails 1 "stdin that does not fit, for several epochs" 'comes once' \
    from set.tar --data - --cache 0 --batch 12 --epochs 2
check_fails 1 "stdin that ends too soon" 'ended after 60 images, and step 5 needs more' \
    from set.tar --data - --cache 0 --batch 12 --steps 6

# ---- damage ----
rows() { # FRAMES: prints the number of rows
    local n sum=0
    for n in $(inspect --meta batch "$1"); do
        sum=$((sum + n))
    done
    echo $sum
}
cp bad/* many
check_fails 1 "one unreadable image, and --on-error stop" 'many/[a-z]*\.(png|jpg): ' \
    augment --data many --size 16 --batch 50 --epochs 1 --on-error stop --out stopped.frames
skipping() {
    augment --data many --size 16 --batch 50 --policy eval --out skipped.frames 2>skipped.err &&
        [ "$(rows skipped.frames)" = 701 ] &&
        [ "$(grep -cE ': skipped( \(.*\))?$' skipped.err)" = 5 ] &&
        grep -q 'skipped images that cannot be read: 6$' skipped.err
}
check "six damaged images of 707 are skipped, five of them named, all counted" skipping
check "their rows are left out of an evaluation" py distinct skipped.frames 701
if [[ ${BIN:-} == */san/bin ]]; then
    skip "memory stays bounded" "sanitizers need some of their own"
else # a picture of 8000 x 8000 pixels is 192 MB
    check "memory stays bounded" py memory 300000000 "$(command -v augment)" \
        --data many --size 16 --batch 50 --epochs 1 --threads 1 --out /dev/null
fi
rm many/bomb.png # reading it takes a second each time
training() { # THREADS
    augment --data many --size 16 --batch 50 --epochs 2 --threads "$1" 2>/dev/null
}
training 1 >trained.frames
for n in 2 5; do
    check "$n threads replace damaged images by the same ones" cmp trained.frames <(training $n)
done
damaged_shards() {
    local r parts=()
    for r in 0 1 2; do
        augment --data many --size 16 --batch 50 --epochs 2 --shard $r/3 --out "part$r.frames" 2>/dev/null
        parts+=("part$r.frames")
    done
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/augment.py" "$ROOT" join trained.frames "${parts[@]}"
}
check "3 shards replace damaged images by the same ones" damaged_shards
tar cf many.tar --sort=name -C many .
check "an archive's damaged images are replaced by the same ones" cmp trained.frames \
    <(augment --data many.tar --size 16 --batch 50 --epochs 2 2>/dev/null)
cp many/00* bad
too_many() {
    augment --data bad --size 16 --batch 4 --epochs 1 --threads 1 --out refused.frames 2>refused.err && return 1
    tail -n 1 refused.err | grep -q 'unreadable one of [0-9]* images, and more than 1 %' || return 1
}
check "more than 1 % damaged images end the run" too_many

head -c 100000 set.tar >cut.tar
head -c 60000 set.tar.gz >cut.tar.gz
for archive in cut.tar cut.tar.gz; do
    cut() {
        augment --data "$archive" --policy eval --out cut.frames 2>cut.err &&
            grep -q "$archive: .*damaged archive: .*: the rest is skipped" cut.err
    }
    check "$archive: the complete entries are read" cut
    check_fails 1 "$archive with --on-error stop" "augment: $archive: " \
        augment --data "$archive" --policy eval --on-error stop --out stopped.frames
done
check_fails 1 "an archive without images" 'empty.tar: no PNG, JPEG, WebP, TIFF, BMP or PNM file in it' \
    bash -c 'tar cf empty.tar -T /dev/null && augment --format tar --data empty.tar --out stopped.frames'
absolute() {
    mkdir -p absolute/cat && cp set/train/cat/020.png absolute/cat
    tar cPf absolute.tar --transform "s,^,$T/../../../," absolute/cat/020.png &&
        [ "$(augment --data absolute.tar --policy eval | inspect --meta batch)" = 1 ]
}
check "absolute paths are only names" absolute
endless() {
    /usr/bin/python3 - <<'END' | in_time augment --data - --format tar --on-error stop --out stopped.frames
import sys
block = open("header", "rb").read() * 4096
try:
    while True:
        sys.stdout.buffer.write(block)
except BrokenPipeError:
    sys.stderr.close()
END
}
mkdir -p folder && tar cf one.tar folder && head -c 512 one.tar >header
check_fails 1 "an archive of folders without an end" 'entries in a row are no files$' endless
check_fails 1 "labels that are not numbers" 'bad.tar: a.cls: not a number' \
    bash -c 'echo cat >a.cls && cp set/train/cat/020.png a.png && tar cf bad.tar a.png a.cls && augment --data bad.tar --on-error stop --out stopped.frames'
check_fails 1 "an IDX file that ends early" 'truncated: 1[0-9] of 120 items' \
    bash -c 'head -c 10000 idx/train-images-idx3-ubyte >short-images-idx3 && augment --data short-images-idx3 --out stopped.frames'
check_fails 1 "an empty IDX file" 'short-images-idx3: ' \
    bash -c 'printf "\0\0\10\3\177\377\377\377\177\377\377\377\177\377\377\377" >short-images-idx3 && augment --data short-images-idx3 --out stopped.frames'
check_fails 1 "frames without images" 'without x U8' \
    bash -c '(augment --data shapes --batch 4 --steps 1 | encode --width 0.25) 2>/dev/null | augment --data - --out stopped.frames'
check_fails 1 "frames of two views" 'x has 2 views' \
    bash -c 'augment --data shapes --batch 4 --steps 1 2>/dev/null | augment --data - --out stopped.frames'
check_fails 1 "truncated frames" 'truncated' \
    bash -c 'head -c 20000 set.st | augment --data - --out stopped.frames'
check_fails 1 "a brace that does not close" 'a brace does not close' augment --data 'x{1..3.tar'
check_fails 1 "a brace list with a shard that does not exist" 'wds-002.tar: No such file' augment --data 'wds-{000..002}.tar'
check_fails 1 "a file in an unknown format" 'notes.txt: no folder, archive, IDX file or frames' \
    augment --data set/train/notes.txt
done_testing
