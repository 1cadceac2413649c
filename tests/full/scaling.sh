#!/usr/bin/env bash
# Tests of the simulator of many workers: its bytes must be those of the programs, and its times those
# computed by hand for simple cases.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive
scaling=$ROOT/tests/bench/scaling

# A ResNet-18 has 11176512 - 9600 values outside norms and 9600 in norms, of 4 bytes each.
weights=11159232 norms=9600

predict() { # options
    /usr/bin/python3 "$scaling" "$@" --tsv out.tsv >table
}
# Fields of out.tsv: title, workers, step, computing, in, out, waits for loss, statistics, parameters
column() { # NUMBER, workers
    awk -F '\t' -v workers="$2" -v n="$1" '$2 == workers { print $n }' out.tsv
}
near() { # number, number, relative
    awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN {
        print a, "is not", b; d = a - b; exit !((d < 0 ? -d : d) <= by * (b < 0 ? -b : b)) }'
}

star() {
    local n
    predict --workers 1,2,8,32 --images 32 || return 1
    for n in 1 2 8 32; do # all gradients, and the buffers of rank 0: 2 floats a channel
        near "$(column 5 $n)" "$(awk -v n=$n -v w=$weights -v c=$norms \
            'BEGIN { print n * 4 * (w + c) / 1e6 + 4 * c / 1e6 }')" 2e-3 || return 1
    done
}
check "the root of a star receives N times the gradients" star
halved() {
    predict --workers 8 --wire bf16 &&
        near "$(column 5 8)" "$(awk -v w=$weights -v c=$norms 'BEGIN { print 8 * (2 * w + 4 * c) / 1e6 }')" 2e-3
}
check "--wire bf16 halves the bytes of the weights" halved
tree() {
    predict --workers 64 --fan-in 8 &&
        near "$(column 5 64)" "$(awk -v w=$weights -v c=$norms 'BEGIN { print 8 * 4 * (w + c) / 1e6 }')" 2e-3
}
check "the root of a tree receives F times the gradients" tree
bound_by_the_card() { # both directions at once: a step takes at least as long as its bytes
    local a b
    predict --workers 64 --gbit 1 && a=$(column 3 64) &&
        awk -v a="$a" -v mb="$(column 5 64)" 'BEGIN { print a, mb; exit !(a >= mb / 125 && a < 2.5 * mb / 125) }' &&
        predict --workers 64 --gbit 100 && b=$(column 3 64) &&
        awk -v a="$a" -v b="$b" 'BEGIN { print a, b; exit !(b < a / 3) }'
}
check "a slow card bounds the step" bound_by_the_card
alone() { # only the head to wait for: 4 ms + 37 us an image and 27 ns a pair, on 2 cores
    predict --workers 1 --gbit 100000 --latency 0 --images 64 --views-per-s 12.8 &&
        near "$(column 3 1)" 10.04 5e-3
}
check "one worker takes the time of its computation" alone
latency() { # 20 norms, two passes, both directions
    local with
    predict --workers 2 --sync --latency 10000 --gbit 100000 && with=$(column 8 2) &&
        predict --workers 2 --sync --latency 0 --gbit 100000 &&
        near "$(awk -v a="$with" -v b="$(column 8 2)" 'BEGIN { print a - b }')" 0.8 1e-2
}
check "--sync waits for 40 round trips" latency
cheaper() { # without costs there must be no waiting
    local name
    for name in reduce gather io client; do
        printf '"%s message": 0, "%s byte": 0, ' $name $name
    done | sed 's/.*/{&"lars byte": 0}/' >free.json
    predict --workers 32 --costs free.json --gbit 1e9 --latency 0 && awk -v s="$(column 9 32)" 'BEGIN { exit !(s < 1e-6) }'
}
check "without costs no worker waits for parameters" cheaper
check_fails 1 "the comparison fails where it should" '' bash -c "$(declare -f near); near 1 1.01 2e-3 >&2"
no_workers() {
    local status=0
    /usr/bin/python3 "$scaling" --workers 0 2>error || status=$?
    [ $status = 2 ] && grep -q 'at least one worker' error
}
check "zero workers are refused" no_workers

# ---- comparison with real edges ----
predicted() { # predicted bytes of an edge, of the first worker and of the others, out and in
    /usr/bin/python3 "$scaling" bytes --images 8 --tsv bytes.tsv "$@" >table
}
step() { # RANK, edge: bytes out and in of one step, which is two steps less one
    local one two
    one=$(sed -n "s#^encode: edge $2: .* out \([0-9]*\) in \([0-9]*\) .*#\1 \2#p" "worker$1.1.err")
    two=$(sed -n "s#^encode: edge $2: .* out \([0-9]*\) in \([0-9]*\) .*#\1 \2#p" "worker$1.2.err")
    awk -v one="$one" -v two="$two" 'BEGIN { split(one, a); split(two, b); print b[1] - a[1], b[2] - a[2] }'
}
real() { # steps, options of encode
    local pids=() rank
    reduce --world 2 --listen ipc://reduce.ipc --next 'exec:lars --model /dev/null --save-every 0' &
    pids+=($!)
    reduce --world 2 --listen ipc://sync.ipc &
    pids+=($!)
    gather --world 2 --listen ipc://gather.ipc \
        --next 'exec:project --threads 1 --opt "exec:lars --model /dev/null" --next exec:ntxent' &
    pids+=($!)
    for rank in 0 1; do
        augment --data shapes --batch 16 --steps "$1" --shard $rank/2 | SIMCLR_EDGES=1 encode --threads 1 \
            --opt ipc://reduce.ipc --sync ipc://sync.ipc --next ipc://gather.ipc "${@:2}" \
            2>"worker$rank.$1.err" >/dev/null &
        pids+=($!)
    done
    wait "${pids[@]}"
}
same_bytes() { # options of encode and of the simulator
    local rank edge name out others in a b
    real 1 "$@" && real 2 "$@" && predicted --sync "$@" || return 1
    for rank in 0 1; do
        for edge in parameters:reduce statistics:sync features:gather; do
            IFS=$'\t' read -r _ name out others in < <(grep -P "\t${edge%:*}\t" bytes.tsv)
            [ $rank = 0 ] || out=$others
            read -r a b <<<"$(step $rank "ipc://${edge#*:}.ipc")"
            echo "rank $rank, $name: $a out, $b in; predicted $out and $in"
            near "$a" "$out" 1e-2 && near "$b" "$in" 1e-2 || return 1
        done
        [ "$edge" != parameters ] || near "$a" "$out" 2e-4 || return 1
    done
}
check "the edges of a ResNet-18 have the predicted bytes" same_bytes
check "also with --wire bf16" same_bytes --wire bf16
done_testing
