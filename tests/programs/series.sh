#!/usr/bin/env bash
# Tests of time series: how they are read, their views, and their network.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

if ! python_has numpy; then
    skip "series" "python3-numpy is not installed"
    done_testing
    exit 0
fi
py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/series.py" "$ROOT" "$@"
}
py make

# ---- views ----
all=crop:0.3-1:0.8,scaling:0.8:0.5-1.5,trend:0.8:1,jitter:0.8:0-0.3,mask:0.5:0.1-0.4,permutation:0.7:2-5
kinds=(crop scaling trend jitter mask permutation)
for set in three double flat; do
    augment --data $set.npy --ops $all --batch 10 --steps 6 --views 3 --threads 1 --out $set.st --trace $set.jsonl
    check "$set.npy: numpy makes the same views" py redo $set.st $set.jsonl $set "${kinds[@]}"
done
augment --data three.npy --ops $all --size 100 --batch 10 --steps 3 --out long.st --trace long.jsonl
check "longer views" py redo long.st long.jsonl three "${kinds[@]}"
augment --data three.npy --ops scaling:1 --size 1 --batch 10 --steps 3 --out one.st --trace one.jsonl
check "views of one step" py redo one.st one.jsonl three crop scaling
augment --data three.npy --policy simclr-series --batch 10 --steps 12 --out policy.st --trace policy.jsonl
check "the policy" py redo policy.st policy.jsonl three crop scaling trend jitter
augment --data three.npy --batch 10 --steps 12 --out default.st
check "the policy is the default" cmp policy.st default.st
augment --data three.npy --ops crop --ops2 mask:1 --batch 10 --steps 3 --out two.st --trace two.jsonl
check "other operations for the second view" py redo two.st two.jsonl three crop mask
for n in 2 5; do
    augment --data three.npy --ops $all --batch 10 --steps 6 --views 3 --threads $n --ahead 0 --out many.st --trace many.jsonl
    check "$n threads write the same bytes as one" cmp three.st many.st
    check "$n threads write the same trace as one" cmp three.jsonl many.jsonl
done
augment --data three.npy --batch 10 --steps 6 --out whole.st
for r in 0 1 2; do
    augment --data three.npy --batch 10 --steps 6 --shard $r/3 --out shard$r.st
done
check "--shard: together the ranks have the rows of one process" py join whole.st shard0.st shard1.st shard2.st
augment --data three.npy --batch 10 --steps 6 --start 4 --out tail.st
drop_class_names tail.st >bare.st
size=$(stat -c %s bare.st)
check "--start gives the frames of an uninterrupted run" cmp bare.st <(tail -c "$size" whole.st)
for t in 0 1; do
    augment --data three.npy --batch 10 --steps 6 --turn $t/2 --out turn$t.st
done
check "--turn gives alternate steps" test "$(inspect --meta step turn1.st | tr '\n' ' ')" = '1 3 5 '
check "waves are the same for any number of threads" cmp \
    <(augment --data waves --batch 50 --steps 4 --threads 1) \
    <(augment --format series --data waves --batch 50 --steps 4 --threads 3)
augment --data waves --policy eval --steps 1 --batch 20 --out waves.st
check "waves have ten classes in turn" py labels waves.st {0..9} {0..9}
augment --data waves --split test --policy eval --steps 1 --batch 20 --out waves-test.st
check_fails 1 "waves: the test series differ from the training series" differ sh -c 'cmp waves.st waves-test.st >&2'

# ---- files ----
for name in three double flat; do
    augment --data $name.npy --policy eval --batch 7 --out eval.st
    check "$name.npy: an evaluation has all values unchanged" py whole eval.st $name
done
augment --data three.npy --policy eval --batch 8 --steps 1 --out eval.st
check "labels are in a file beside the array" py labels eval.st 0 1 2 3 0 1 2 3
augment --data double.npy --policy eval --batch 3 --steps 1 --out eval.st
check "an array without labels has labels of -1" py labels eval.st -1 -1 -1
for file in flat.csv flat.tsv crlf.csv; do
    augment --data $file --policy eval --batch 7 --out eval.st
    check "$file: the same values" py whole eval.st flat
done
augment --data Ucr --format series --policy eval --batch 8 --out eval.st
check "a folder of the UCR archive: labels become classes" py labels eval.st 0 2 1 3 2
augment --data Ucr --format series --split test --policy eval --batch 8 --out eval.st
check "the test set has the same classes" py labels eval.st 3 0 3
augment --data arrays --format series --split test --policy eval --batch 3 --steps 1 --out eval.st
check "a folder of arrays is read" py labels eval.st 0 1 2

refuses() { # FILE, REGEX
    check_fails 1 "$1" "^augment: $1: $2" augment --data "$1" --batch 2 --steps 1 --out refused.st
}
refuses unequal.csv 'line 3: 1 values, and the lines before have 2$'
refuses nan.csv 'line 2: nan is no value$'
refuses huge.csv 'line 2: 1e\+39 is no value$'
refuses word.csv "line 1: 'label' is not a number; a line with the columns' names has to be taken out$"
refuses words.csv "line 2: '4x' is not a number$"
refuses hole.csv "line 2: '' is not a number$"
refuses comma.csv 'line 1 ends with a comma$'
refuses blank.csv "line 2 is blank, and line 3 is not$"
printf '\377\3761\0,\0002\0\n\0' >utf16.csv
printf '\376\377\0001\0,\0002\0\n' >utf16be.csv
refuses utf16.csv 'text in UTF-16; save it as UTF-8$'
refuses utf16be.csv 'text in UTF-16; save it as UTF-8$'
printf '1,2,3\r2,3,4\r' >mac.csv
refuses mac.csv 'line 1: a carriage return inside; '
printf '\n\n\n' >blanks.csv
refuses blanks.csv 'no series in it$'
augment --data flat.csv --policy eval --batch 8 --out plain.frames
variant() { # FORMAT of printf for the beginning, SED SCRIPT, FORMAT for the end: must give the same series
    # shellcheck disable=SC2059 # formats
    { printf "$1" && sed "$2" flat.csv && printf "$3"; } >variant.csv &&
        augment --data variant.csv --policy eval --batch 8 | cmp - plain.frames
}
check "a byte-order mark is ignored" variant '\357\273\277' '' ''
check "Windows line endings are accepted" variant '' 's/$/\r/' ''
check "blank lines at the end are ignored" variant '' '' '\n\n'
check "all of these together, with blanks, are accepted" variant '\357\273\277' 's/$/ \r/' ' \r\n\t\r\n'
marked() { # also in the test part, from which the classes are read
    mkdir -p marked && cp flat.csv marked/test.csv && { printf '\357\273\277' && cat flat.csv && echo; } >marked/train.csv &&
        augment --data marked --format series --split test --policy eval --batch 8 | cmp - plain.frames
}
check "the same in the test part" marked
refuses lone.csv 'line 1: a label and no values$'
refuses zero.csv "line 2: '4' is not a number$"
refuses empty.csv 'no series in it$'
refuses fortran.npy 'not in C order$'
refuses big.npy "values of type '>f4'"
refuses object.npy "values of type '\\|O'"
refuses ints.npy 'not series: <f4 or <f8'
refuses vector.npy 'not series: <f4 or <f8'
refuses none.npy 'no series in it$'
refuses nan.npy 'series 3: nan is no value$'
refuses short.npy '4919 bytes of values, and its header claims 4920$'
refuses long.npy '4921 bytes of values, and its header claims 4920$'
refuses overflow.npy 'its shape overflows$'
refuses negative.npy 'its shape is not made of'
refuses deep.npy 'its shape is not made of'
refuses twice.npy 'cannot make sense of its header$'
refuses cut.npy '(cannot make sense of its header|its header is|its shape)'
refuses version.npy 'version 4.0 of the format$'
refuses few.npy '4 series, and 3 labels beside it$'
check_fails 1 "labels that are not integers" 'mixed-labels.npy: not labels' augment --data mixed.npy --steps 1 --batch 2
check_fails 1 "a folder without the split" 'half has no test part \(train, test, val\); --hold 0.1' \
    sh -c 'mkdir half && cp flat.csv half/train.csv && augment --format series --data half --split test'
check_fails 1 "a missing file" 'nowhere.npy: No such file' augment --format series --data nowhere.npy
check_fails 2 "an operation on images" "unknown operation 'blur' \(there are crop, center, jitter" \
    augment --data waves --ops crop,blur
check_fails 2 "a policy for images" '--policy simclr: not for series' augment --data waves --policy simclr
check_fails 2 "a policy for series" '--policy simclr-series: not for images' augment --data shapes --policy simclr-series
check_fails 2 "a number of segments that is not whole" 'permutation: 2.5-3: not whole numbers' augment --data waves --ops permutation:1:2.5-3
check_fails 2 "too many segments" 'permutation: 17 is not between 1 and 16' augment --data waves --ops permutation:1:17

# ---- the network ----
augment --data three.npy --batch 8 --steps 2 --out x.st
for precision in fp32 bf16; do
    encode --arch resnet1d --width 0.25 --precision $precision --threads 1 <x.st >h1.st
    encode --arch resnet1d --width 0.25 --precision $precision --threads 3 <x.st >h3.st
    check "$precision: the number of threads changes nothing" cmp h1.st h3.st
done
py bytes
check_fails 1 "bytes" 'x is U8: resnet1d takes F32' encode --arch resnet1d --in u8.st
check_fails 1 "two rows" 'a series has one row, not 2' encode --arch resnet1d --in tall.st
check_fails 1 "bytes after floats" 'x has 5 channels of bytes' encode --arch resnet1d --in turns.st --out turned.st
check_fails 1 "a network for images" 'x is a series of 128 steps, and resnet18 takes images: --arch resnet1d' \
    encode --in waves.st

alone() {
    lars --listen ipc://opt.ipc --lr 0.5 --model alone.st &
    augment --data three.npy --batch 8 --steps 8 |
        encode --arch resnet1d --width 0.25 --threads 2 --opt ipc://opt.ipc \
            --next 'exec:project --opt ipc://opt.ipc --next exec:ntxent' >alone.metrics && wait $!
}
two_workers() {
    local rank pids=()
    lars --listen ipc://opt.ipc --lr 0.5 --model two.st &
    pids+=($!)
    reduce --world 2 --listen ipc://reduce.ipc --next ipc://opt.ipc &
    pids+=($!)
    reduce --world 2 --listen ipc://sync.ipc &
    pids+=($!)
    gather --world 2 --listen ipc://gather.ipc --next 'exec:project --opt ipc://opt.ipc --next exec:ntxent' &
    pids+=($!)
    for rank in 0 1; do
        augment --data three.npy --batch 8 --steps 8 --shard $rank/2 |
            encode --arch resnet1d --width 0.25 --threads 1 --opt ipc://reduce.ipc --sync ipc://sync.ipc \
                --next ipc://gather.ipc >two.$rank.metrics &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
check "one process trains" alone
check "2 workers train" two_workers
check "2 workers give the same bits as one process" cmp alone.st two.st

# ---- the contact sheet of series ----
check "inspect draws series" inspect --png sheet.png three.st
py plots
inspect --png plots.png plots.st >plots.txt
if python_has PIL; then
    check "the plots are lines over time" py plots plots.png
else
    skip "as lines over time" "python3-pil is not installed"
fi
done_testing
