#!/usr/bin/env bash
# Batch norm over all workers (--sync): 1, 2, 4 and 8 workers end in the same bits as one process.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive
steps=4 network=ipc sync=1 # network: ipc, tcp or pipes
encoder=(encode --width 0.125 --threads 1)
head='project --threads 1'
optimizer=(lars --save-every 0 --warmup-steps 2 --lr 0.5)

address() { # the address of a filter
    if [ $network = tcp ]; then
        echo "tcp://$LOOPBACK:$((7000 + $1))"
    else
        echo "ipc://link$1.ipc"
    fi
}
views() {
    augment --data shapes --size 16 --batch 16 --steps $steps --threads 1 "$@"
}
projector() { # OPTIMIZER
    echo "exec:$head --opt '$1' --next 'exec:ntxent --threads 1'"
}
# How a worker reaches a filter: with pipes, through a reduce or gather of its own that serves only
# this worker.
via() { # FILTER, its number
    if [ $network = pipes ]; then
        echo "exec:$1 --world 1 --next $(address "$2")"
    else
        address "$2"
    fi
}
# A run without gather and reduce; one optimizer serves both networks.
alone() { # NAME, more for augment
    local name=$1
    shift
    "${optimizer[@]}" --listen "$(address 0)" --model "$name.st" &
    local server=$!
    views "$@" | "${encoder[@]}" --opt "$(address 0)" --next "$(projector "$(address 0)")" >"$name.0.metrics" &&
        wait $server
}
spread() { # NAME, WORLD, more for the optimizer; the variable START sets the first step
    local name=$1 world=$2 rank pids=() extra=()
    shift 2
    "${optimizer[@]}" --listen "$(address 0)" --model "$name.st" "$@" &
    pids+=($!)
    reduce --world "$world" --listen "$(address 1)" --next "$(address 0)" &
    pids+=($!)
    gather --world "$world" --listen "$(address 2)" --next "$(projector "$(address 0)")" &
    pids+=($!)
    if [ $sync = 1 ]; then
        reduce --world "$world" --listen "$(address 3)" &
        pids+=($!)
        extra=(--sync "$(via reduce 3)")
    fi
    for rank in $(seq 0 $((world - 1))); do
        views --shard "$rank/$world" --start "${START:-0}" |
            "${encoder[@]}" --opt "$(via reduce 1)" --next "$(via gather 2)" "${extra[@]}" >"$name.$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
losses() {
    inspect --meta loss "$1.0.metrics"
}
same() { # NAME, WORLD
    spread "$@" && cmp "$1.st" alone.st && cmp <(losses "$1") <(losses alone) &&
        [ "$(losses "$1" | wc -l)" = $steps ]
}

check "float32, one process" alone alone
for world in 1 2 4; do
    check "float32: $world workers end in the same bits" same "f$world" $world
done
network=tcp
check "float32: 2 workers over tcp" same ftcp 2
network=pipes
check "float32: 2 workers over pipes" same fpipes 2
network=ipc

# A run of 4 workers is stopped after the second step and resumed with 2.
stopped_and_resumed() {
    local saved=(--state part.state --save-every 2) well=("${encoder[@]}")
    local encoder=("$ROOT/tests/programs/fail-after" 2 "${well[@]}" --timeout 20)
    spread part 4 "${saved[@]}" 2>part.err && return 1
    encoder=("${well[@]}")
    [ "$(inspect --meta step part.state)" = 2 ] &&
        START=2 spread rest 2 "${saved[@]}" --resume && cmp rest.st alone.st
}
check "float32: stopped at 4 workers, resumed at 2" stopped_and_resumed

same_bf16() {
    local encoder=("${encoder[@]}" --precision bf16) head="$head --precision bf16"
    alone bf16 && spread "b$1" "$1" && cmp "b$1.st" bf16.st
}
check "bf16: 2 workers end in the same bits as one process" same_bf16 2
check "bf16: 8 workers end in the same bits as one process" same_bf16 8
check_fails 1 "bf16 and float32 give different bits" '' sh -c 'cmp bf16.st alone.st >&2'

# Selective kernels have norms with one value for each image.
same_sk() {
    local steps=3 encoder=(encode --arch resnet50 --sk --width 0.0625 --threads 1)
    alone sk && spread sk2 2 && cmp sk2.st sk.st && [ "$(inspect sk.st | grep -c 'sk\.1\.running_var')" = 16 ]
}
check "--sk: 2 workers end in the same bits as one process" same_sk

# Without --sync each worker normalizes its rows by its own statistics.
apart() { # NAME, FIRST, LATER: bounds for the differences of its losses from those of one process
    paste <(losses "$1") <(losses alone) | awk -v first="$2" -v later="$3" '
        { d = $1 - $2; if (d < 0) d = -d; sum += d; n++; if (n == 1) start = d }
        END { print start, sum / n; exit !(start <= first && sum / n <= later) }'
}
sync=0
check "a run of 2 workers without --sync" spread unsynced 2
sync=1
check_fails 1 "without --sync the first loss differs" '' bash -c "steps=$steps; $(declare -f apart losses)
    apart unsynced 1e-3 10 >&2"

# Three workers do not have whole grains, so sums are rounded differently; nothing else may differ.
check "a run of 3 workers with unequal shards" spread three 3
check "3 workers: the first loss agrees to 1e-5, later ones approximately" apart three 1e-5 0.05
first_change() { # of weights, compared with that of one process
    local steps=1 optimizer=(lars --save-every 0 --warmup-steps 0 --lr 0)
    alone start || return 1
    optimizer=(lars --save-every 0 --warmup-steps 0 --lr 1)
    alone one && spread third 3 &&
        /usr/bin/python3 "$ROOT/tests/programs/first_change.py" "$ROOT" start.st one.st third.st
}
if python_has numpy; then
    check "3 workers: the first change of the weights agrees to 2e-2" first_change
else
    skip "3 workers: the first change of weights" "no numpy"
fi
# The head is at the workers: gather collects projections, and only the loss receives all of them.
head_at_workers() {
    local rank pids=() to
    "${optimizer[@]}" --listen "$(address 0)" --model own.st &
    pids+=($!)
    for to in 1 4; do # gradients of the encoders, of the heads
        reduce --world 2 --listen "$(address $to)" --next "$(address 0)" &
        pids+=($!)
    done
    for to in 3 5; do
        reduce --world 2 --listen "$(address $to)" &
        pids+=($!)
    done
    gather --world 2 --listen "$(address 2)" --next 'exec:ntxent --threads 1' &
    pids+=($!)
    to="exec:$head --opt $(address 4) --sync $(address 5) --next $(address 2)"
    for rank in 0 1; do
        views --shard $rank/2 |
            "${encoder[@]}" --opt "$(address 1)" --sync "$(address 3)" --next "$to" >own.$rank.metrics &
        pids+=($!)
    done
    all_end "${pids[@]}" && cmp own.st alone.st && cmp <(losses own) <(losses alone)
}
check "2 workers with a head each" head_at_workers
# Gradients and weights have half the bytes, and are rounded once more.
halved() {
    local encoder=("${encoder[@]}" --wire bf16)
    spread halved 2 && apart halved 1e-5 0.2
}
check "--wire bf16: losses agree approximately" halved
check_fails 1 "--wire bf16 gives other bits" '' sh -c 'cmp halved.st alone.st >&2'

# The chunks of a batch share their statistics with the chunks of the other workers.
in_chunks() {
    local encoder=("${encoder[@]}" --chunk 4)
    spread chunks 2 && [ "$(losses chunks | wc -l)" = $steps ]
}
check "--sync with --chunk" in_chunks
check_fails 2 "--sync without --next" '--sync needs --next' encode --sync ipc://x
done_testing
