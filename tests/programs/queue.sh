#!/usr/bin/env bash
# Tests of losses with state: ntxent --queue, alone and with an optimizer that keeps the queue, stopped
# and resumed, over several optimizers and workers; and a loss in Python that keeps something else.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

if ! python_has numpy; then
    skip "queue" "python3-numpy is not installed"
    done_testing
    exit
fi
py() {
    /usr/bin/python3 "$ROOT/tests/programs/loss_queue.py" "$ROOT" "$@"
}
py make

cases=()
answer() { # input, rows of the queue, temperature, FLAG...
    ntxent --queue "$2" --temperature "$3" "${@:4}" <"$1.st" >"reply${#cases[@]}.st"
    cases+=("$1.st reply${#cases[@]}.st $2 $3 ${*:4}")
}
for input in z t; do
    answer $input 7 0.5   # shorter than a batch
    answer $input 300 0.2 # of several batches
    answer $input 30 0.5 --no-normalize
    answer $input 30 0.01
done
check "NT-Xent and MoCo's loss over a stream, in float64" py judge "${cases[@]}"
threads() {
    ntxent --queue 300 --threads 1 <"$1" >one.st && ntxent --queue 300 --threads 3 <"$1" | cmp - one.st
}
check "the same bytes with one and with three threads" threads z.st
check "the same bytes with one and with three threads, z_target" threads t.st
off() {
    ntxent <t.st >plain.st && ntxent --queue 0 <t.st | cmp - plain.st && ntxent <z.st | cmp - plain.st
}
check "without a queue z_target is not read" off

# ---- an optimizer keeps the queue ----

kept() { # input: the whole stream; then in two parts; then over two optimizers
    ntxent --queue 15 <"$1.st" >alone.st &&
        ntxent --queue 15 --opt "exec:lars --state whole.state --model whole.model" <"$1.st" | cmp - alone.st &&
        py state "$1.st" whole.state 15 &&
        [ "$(inspect whole.model | grep -c 'loss')" = 0 ]
}
parts() { # input, optimizer: the second part of the stream goes on from the first one's state
    ntxent --queue 15 --opt "$2" <"$1_first.st" >first.st &&
        ntxent --queue 15 --opt "${2//lars/lars --resume}" <"$1_rest.st" >rest.st && both first.st rest.st | cmp - alone.st
}
both() { # two streams as one: an end frame has 64 bytes
    head -c -64 "$1" && cat "$2"
}
for input in z t; do
    check "$input.st: the optimizer's state has the queue, its model has not" kept $input
    check "$input.st: a resumed run goes on with the same bytes" parts $input 'exec:lars --state a.state'
    check "$input.st: and the same state" cmp a.state whole.state
    check "$input.st: over two optimizers" parts $input 'exec:shard --next "exec:lars --state s0.state,exec:lars --state s1.state"'
done
check "both optimizers have a part" cmp <(for f in s0 s1; do inspect $f.state | grep -o '^  loss[^ ]*'; done | sort) \
    <(printf '  loss.queue\n  loss.queue_rows\n')
in_python() {
    py center 'lars --state c.state' <z.st >alone.st && py center 'lars --state d.state' <z_first.st >first.st &&
        py center 'lars --state d.state --resume' <z_rest.st >rest.st && cmp c.state d.state &&
        both first.st rest.st | cmp - alone.st
}
owed() {
    py owes 'lars --state o.state --model o.model' && inspect o.state | grep -Eq '^  loss.x .* 6 +6 +6 ' &&
        inspect o.state | grep -Eq '^  step +2$' && ! inspect o.model | grep -q loss.x
}
check "a step is complete only when the loss's tensors have come" owed
check "a loss in Python goes on with the same bytes" in_python

# ---- refused ----

# The line of ntxent is what is tested; the optimizer prints the same one before.
refuses() { # what, regex, input, command
    check_fails 1 "$1" "$2" sh -c "{ $4; } <$3 2>err >out || { s=\$?; grep '^ntxent: ' err >&2; exit \$s; }"
}
refuses "a stream that does not begin at step 0, without an optimizer" \
    'of step 3, and what the loss kept is lost: give --opt LINK' z_rest.st 'ntxent --queue 15'
refuses "an optimizer at another step" \
    'the first batch is of step 0, the optimizer is at step 7: start augment with --start 7' z.st \
    'ntxent --queue 15 --opt "exec:lars --state a.state --resume"'
ntxent --queue 15 --opt "exec:lars --state t.state" <z_first.st >out
refuses "a queue of another length" \
    't.state: made with loss.queue F32 \[15,6\], and this run.s loss has F32 \[16,6\]: resume with the loss' z_rest.st \
    'ntxent --queue 16 --opt "exec:lars --state t.state --resume"'
refuses "rows of another width" 'made with loss.queue F32 \[15,6\], and this run.s loss has F32 \[15,7\]' wide.st \
    'ntxent --queue 15 --opt "exec:lars --state t.state --resume"'
refuses "a batch of another width" 'z has rows of 7 values, and the queue rows of 6' wider.st 'ntxent --queue 15'
refuses "targets of another size" 'tensor z_target is F32 \[5,2,6\], not F32 \[3,2,6\]' short.st 'ntxent --queue 15'
ntxent --queue 15 --no-normalize --opt "exec:lars --state n.state" <z_first.st >out
refuses "rows that keep their lengths" 'row 0 of the queue is longer than 1: it was made with --no-normalize' z_rest.st \
    'ntxent --queue 15 --opt "exec:lars --state n.state --resume"'
if ldd "$(command -v ntxent)" | grep -q libasan; then
    skip "a queue too large for any memory" "AddressSanitizer needs more than the limit itself"
else
    refuses "a queue too large for any memory" 'out of memory for a queue of 1000000000 rows of 6 values' z.st \
        'ulimit -v 4000000; ntxent --queue 1000000000'
fi
check_fails 2 "--opt without a queue" '--opt needs --queue' ntxent --opt exec:lars
check_fails 2 "a queue below zero" '--queue: -1 is not between' ntxent --queue -1

# ---- runs ----

augment --data shapes --size 8 --batch 8 --steps 4 >views_whole.st
py split views_whole.st views_first.st views_rest.st 2

# A run of one encoder.
run() { # name, loss, options of lars, which views
    local pid status=0
    in_time lars --warmup-steps 1 --listen "ipc://$T/$1" --state "$1.state" --model "$1.model" ${3:+"$3"} 2>"$1.err" &
    pid=$!
    encode --width 0.0625 --opt "ipc://$T/$1" --next "exec:project --dim 8 --opt 'ipc://$T/$1' --next 'exec:$2'" \
        <"views_$4.st" >"$1.out" 2>"$1.messages" || status=1
    wait $pid || status=1
    return $status
}
whole() {
    run "$1" "ntxent --queue 20 --opt ipc://$T/$1" '' whole
}
stopped() {
    run two "ntxent --queue 20 --opt ipc://$T/two" '' first && run two "ntxent --queue 20 --opt ipc://$T/two" --resume rest &&
        cmp two.model one.model && cmp two.state one.state
}
check "a run with a queue" whole one
check "stopped and resumed, it ends in the same bits" stopped
has_not() {
    inspect one.state | grep -q loss.queue && inspect one.model | grep -q projector.0.weight &&
        ! inspect one.model | grep -q loss.queue
}
check "its state has the queue, its model has not" has_not
other() { # name, loss, regex: the resumed run fails, and its optimizer says why in one line
    run "$1" "ntxent --queue 20 --opt ipc://$T/$1" '' first || return 1
    ! run "$1" "$2" --resume rest && cat "$1.err" && grep -qE "$3" "$1.err"
}
check "a state with a queue and a loss without one" other less ntxent \
    'less.state: has loss.queue[a-z_]*, which this run.s loss does not keep: resume with the loss that it was made with'
more() {
    run more ntxent '' first || return 1
    ! run more "ntxent --queue 20 --opt ipc://$T/more" --resume rest && cat more.err &&
        grep -q 'more.state: has no loss.queue, which this run.s loss keeps: resume with the loss' more.err
}
check "a state without a queue and a loss with one" more

sharded() { # options of lars, which views: the optimizers have parameters and parts of the queue
    local pid status=0 each="exec:lars --warmup-steps 1 $1"
    in_time shard --listen "ipc://$T/shard" --next "$each --state p0.state,$each --state p1.state,$each --state p2.state" &
    pid=$!
    encode --width 0.0625 --opt "ipc://$T/shard" \
        --next "exec:project --dim 8 --opt 'ipc://$T/shard' --next 'exec:ntxent --queue 20 --opt ipc://$T/shard'" \
        <"views_$2.st" >>sharded.out || status=1
    wait $pid || status=1
    return $status
}
shards_resume() {
    sharded '' first && sharded --resume rest &&
        cmp <(inspect --meta loss sharded.out) <(inspect --meta loss one.out)
}
check "over three optimizers, stopped and resumed, it has the same losses" shards_resume

workers() { # their number
    local r n=$1 pids=()
    lars --warmup-steps 1 --listen "ipc://$T/opt$n" --model "world$n.model" --state "world$n.state" &
    pids+=($!)
    reduce --world "$n" --listen "ipc://$T/reduce$n" --next "ipc://$T/opt$n" &
    pids+=($!)
    reduce --world "$n" --listen "ipc://$T/sync$n" &
    pids+=($!)
    gather --world "$n" --listen "ipc://$T/gather$n" \
        --next "exec:project --dim 8 --opt 'ipc://$T/opt$n' --next 'exec:ntxent --queue 20 --opt ipc://$T/opt$n'" &
    pids+=($!)
    for ((r = 0; r < n; r++)); do
        augment --data shapes --size 8 --batch 8 --steps 4 --grains 4 --shard $r/"$n" |
            encode --width 0.0625 --opt "ipc://$T/reduce$n" --sync "ipc://$T/sync$n" --next "ipc://$T/gather$n" >"w$r.out" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
same_bits() {
    workers "$1" && cmp "world$1.model" world1.model && cmp "world$1.state" world1.state
}
check "one worker" workers 1
check "two workers end in the same bits" same_bits 2
check "four workers end in the same bits" same_bits 4
done_testing
