#!/usr/bin/env bash
# Several augmenters take turns (--turn), and programs read their streams in turn (a list for --in):
# the frames must be those of a single augmenter.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
steps=7

py() { # runs augment.py
    in_time /usr/bin/python3 "$ROOT/tests/programs/augment.py" "$ROOT" "$@"
}
peer="/usr/bin/python3 $ROOT/tests/programs/peer.py $ROOT"
python='' zmq=''
! python_has numpy || python=1
! python_has numpy zmq || zmq=1
address() { # the address for a number
    if [ "${network:-ipc}" = tcp ]; then
        echo "tcp://$LOOPBACK:$((7000 + $1))"
    else
        echo "ipc://$T/$1.ipc"
    fi
}
addresses() { # the addresses of K augmenters
    local i list=
    for ((i = 0; i < $1; i++)); do
        list+=${list:+,}$(address "$i")
    done
    echo "$list"
}
views="augment --data shapes --batch 16 --steps $steps --threads 1"
commands() { # K, options of augment: a list of commands
    local i list=
    for ((i = 0; i < $1; i++)); do
        list+="${list:+, }exec:$views --turn $i/$1 ${*:2}"
    done
    echo "$list"
}
# `progress` passes a stream on unchanged.
copy() { # options
    progress "$@" 2>/dev/null
}

# ---- the same frames as those of one augmenter ----
$views --out whole.st
merged() { # K
    copy --in "$(commands "$1")" --out merged.st && cmp merged.st whole.st
}
for k in 1 2 3 $((steps + 2)); do
    check "$k augmenters in turn give the bytes of one" merged $k
done
shares() {
    $views --turn 2/3 --out share.st && [ "$(inspect --meta step share.st | tr '\n' ' ')" = "2 5 " ]
}
check "each augmenter makes only its own steps" shares
# A run that is resumed must have the frames of one that was never stopped, with any number of
# augmenters.
resumed() { # K
    $views --start 3 --out rest.st && copy --in "$(commands "$1" --start 3)" --out merged.st && cmp merged.st rest.st
}
for k in 2 3; do
    check "$k augmenters in turn from a later step on" resumed $k
done
sharded() {
    $views --shard 1/3 --out part.st && copy --in "$(commands 2 --shard 1/3)" --out merged.st &&
        cmp merged.st part.st && ! cmp -s part.st whole.st
}
check "turns of a shard" sharded
commas() {
    $views --ops crop,flip --out few.st && copy --in "$(commands 2 --ops crop,flip)" --out merged.st &&
        cmp merged.st few.st
}
check "a comma in a command" commas
beside_stdin() {
    $views --turn 0/2 | copy --in "-, exec:$views --turn 1/2" --out merged.st && cmp merged.st whole.st
}
check "stdin and a command" beside_stdin
files() {
    $views --turn 0/2 --out 0.st && $views --turn 1/2 --out 1.st &&
        copy --in "0.st,exec:cat 1.st" --out merged.st && cmp merged.st whole.st
}
check "a file and a command" files
concatenated() {
    $views --steps 6 --turn 0/2 --out even.st && $views --steps 6 --turn 1/2 --out odd.st &&
        inspect --meta step --in "exec:cat even.st even.st,exec:cat odd.st odd.st" >steps.read &&
        [ "$(tr '\n' ' ' <steps.read)" = "0 1 2 3 4 5 0 1 2 3 4 5 " ]
}
check "streams one after the other" concatenated

# ---- training ----
network=ipc
encoder=(encode --width 0.25 --threads 1)
optimizer=(lars --warmup-steps 2 --lr 0.5)
projector() {
    echo "exec:project --threads 1 --opt '$1' --next 'exec:ntxent --threads 1'"
}
train() { # NAME, options of encode; its frames come on stdin or by --in
    local name=$1
    shift
    "${optimizer[@]}" --listen "ipc://$T/opt.ipc" --model "$name.model" &
    local server=$!
    "${encoder[@]}" --opt "ipc://$T/opt.ipc" --next "$(projector "ipc://$T/opt.ipc")" "$@" >"$name.metrics" &&
        wait $server
}
alone() {
    $views | train alone
}
metrics() { # NAME: all metrics except times
    inspect --tsv "$1.metrics" | awk -F '\t' '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == "views_per_s") clock = i }
        { $clock = ""; print }'
}
as_alone() { # NAME: succeeds if the run has the results of the one with one augmenter
    cmp "$1.model" alone.model && diff <(metrics "$1") <(metrics alone) &&
        [ "$(inspect --meta loss "$1.metrics" | wc -l)" = $steps ]
}
check "a run with one augmenter" alone
over_sockets() { # NAME, K
    local i pids=()
    for ((i = $2 - 1; i >= 0; i--)); do
        $views --turn "$i/$2" --out "$(address "$i")" &
        pids+=($!)
    done
    train "$1" --in "$(addresses "$2")" && all_end "${pids[@]}" && as_alone "$1"
}
check "2 augmenters and 1 encoder over ipc: the same bits" over_sockets ipc 2
network=tcp
check "over tcp: the same bits" over_sockets tcp 2
network=ipc
by_commands() {
    train exec --in "$(commands 3)" && as_alone exec
}
check "3 augmenters as commands: the same bits" by_commands
# On each of two machines there is an augmenter for each of two encoders.
two_by_two() {
    local i rank pids=()
    "${optimizer[@]}" --listen "$(address 10)" --model both.model &
    pids+=($!)
    reduce --world 2 --listen "$(address 11)" --next "$(address 10)" &
    pids+=($!)
    gather --world 2 --listen "$(address 12)" --next "$(projector "$(address 10)")" &
    pids+=($!)
    reduce --world 2 --listen "$(address 13)" &
    pids+=($!)
    for rank in 0 1; do
        for i in 0 1; do
            $views --shard "$rank/2" --turn "$i/2" --out "$(address $((2 * rank + i)))" &
            pids+=($!)
        done
        "${encoder[@]}" --in "$(address $((2 * rank))),$(address $((2 * rank + 1)))" --opt "$(address 11)" \
            --next "$(address 12)" --sync "$(address 13)" >"both$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}" && cmp both.model alone.model &&
        cmp <(inspect --meta loss both0.metrics) <(inspect --meta loss alone.metrics) &&
        cmp <(inspect --meta loss both1.metrics) <(inspect --meta loss alone.metrics)
}
network=tcp
check "2 augmenters and 2 encoders over tcp: the same bits" two_by_two
network=ipc
swapped() {
    in_time "${encoder[@]}" --in "exec:$views --turn 1/2 2>/dev/null,exec:$views --turn 0/2 2>/dev/null" \
        --opt "exec:lars 2>/dev/null" --next "exec:project --opt 'exec:lars' --next exec:ntxent 2>/dev/null" >swapped
}
check_fails 1 "a list in the wrong order" '^encode: augment starts at step 1, the optimizer is at step 0' swapped

# ---- other readers ----
judged() {
    local views="augment --data shapes --policy eval --batch 16 --limit 64 --threads 1" judge="evaluate --method knn --k 3"
    local features="encode --width 0.25 --threads 1 --seed 1"
    $views | $features >features.st
    $judge --train features.st --test features.st >one.json &&
        $judge --train "exec:$views --turn 0/2 | $features,exec:$views --turn 1/2 | $features" --test features.st >two.json &&
        cmp one.json two.json
}
check "evaluate takes a list" judged
first() {
    [ "$(in_time inspect --limit 3 --meta step --in "$(commands 2 --epochs 100)" | tr '\n' ' ')" = "0 1 2 " ]
}
check "a reader that reads only the first few frames" first
# A server answers the end soon, although its clients keep their pipes open. The reader waits for
# all of them at once.
held_open() {
    local i list=
    for i in 0 1 2 3; do
        augment --data shapes --policy eval --batch 4 --limit 16 --turn $i/4 |
            encode --width 0.25 --threads 1 >held$i.st
        list+="${list:+,}exec:cat held$i.st; sleep 100"
    done
    in_time project --layers 0 --in "$list" >held.st && [ "$(inspect --meta step held.st | wc -l)" = 4 ]
}
check "writers that end without closing their pipes" held_open

# ---- writers that are slow or fail ----
late() { # A starts a second after B
    { sleep 1 && exec $views --turn 0/2 --out "$(address 0)"; } &
    local pids=($!)
    $views --turn 1/2 --out "$(address 1)" &
    pids+=($!)
    [ "$(in_time inspect --meta step --in "$(addresses 2)" | tr '\n' ' ')" = "$(seq -s' ' 0 $((steps - 1))) " ] &&
        all_end "${pids[@]}"
}
check "a writer that starts late" late
over_ipc() { # reads K streams, and nothing from stdin
    in_time inspect --meta step --in "$(addresses "$1")" "${@:2}" >steps.read
}
ends_early() {
    ($views --turn 0/2 --out "$(address 0)" 2>/dev/null &)
    $views --turn 1/2 --steps 3 --out "$(address 1)" &
    over_ipc 2
}
check_fails 1 "a writer that ends early" "^inspect: ipc://$T/1.ipc: ended, and ipc://$T/0.ipc goes on\$" ends_early
check "the frames before its end were read" test "$(tr '\n' ' ' <steps.read)" = "0 1 2 "
ends_early_by_command() {
    over_ipc 0 --in "exec:$views --turn 0/2 --steps 1,exec:$views --turn 1/2 2>/dev/null"
}
check_fails 1 "a command that ends early" \
    '^inspect: exec:.* --turn 0/2 --steps 1: ended, and exec:.* --turn 1/2 2>/dev/null goes on$' ends_early_by_command
fails() {
    over_ipc 0 --in "exec:$views --turn 0/2; exit 3,exec:$views --turn 1/2 2>/dev/null"
}
check_fails 1 "a command that fails at its end" '^inspect: exec:.*--turn 0/2; exit 3: exited with status 3$' fails
breaks_off() {
    over_ipc 0 --in "exec:$views --turn 0/2 2>/dev/null,exec:$views --turn 1/2 2>/dev/null | head -c 150000"
}
check_fails 1 "a truncated stream" '^inspect: exec:.*head -c 150000: truncated in the data' breaks_off
never() {
    ($views --turn 0/2 --out "$(address 0)" 2>/dev/null &)
    over_ipc 2 --timeout 5
}
check_fails 1 "a writer that never starts" "^inspect: ipc://$T/1.ipc: nobody sent anything within 5 s\$" never
in_use() { # an address of its own, since writers of the cases before may still try theirs
    over_ipc 0 --in "$(address 9),$(address 9)"
}
check_fails 1 "one address twice" "^inspect: ipc://$T/9.ipc: stands twice among the streams\$" in_use
check_fails 1 "a list with too many streams" '^inspect: a list of more than 64 streams$' inspect --in "$(addresses 65)"
if [ -z "$zmq" ]; then
    skip "one that dies" "python3-zmq is not installed"
else
    dies() {
        ($views --turn 0/2 --out "$(address 0)" 2>/dev/null &)
        $peer push "$(address 1)" 0 1 &
        over_ipc 2
    }
    check_fails 1 "a writer that dies" "^inspect: ipc://$T/1.ipc: ended without an end frame: its producer died\$" dies
fi
if [ -z "$python" ]; then
    skip "over sockets, frame by frame" "python3-numpy is not installed"
    skip "one that is slow" "python3-numpy is not installed"
else
    frames_over() {
        $views --turn 0/2 --out "$(address 0)" &
        local pids=($!)
        $views --turn 1/2 --out "$(address 1)" &
        pids+=($!)
        copy --in "$(addresses 2)" --out merged.st && all_end "${pids[@]}" && py same whole.st merged.st
    }
    check "over ipc, frame by frame" frames_over
    # The trace, which has a line for each view, shows how far the quick writer is ahead.
    slow() {
        local views="augment --data shapes --batch 64 --steps 24 --threads 1 --ahead 0" pids=() step lines
        $views --turn 0/2 --trace quick.jsonl --out "$(address 0)" &
        pids+=($!)
        $views --turn 1/2 | $peer slowly 0.2 | copy --out "$(address 1)" &
        pids+=($!)
        in_time inspect --meta step --in "$(addresses 2)" | while read -r step; do
            lines=$(wc -l <quick.jsonl)
            echo "$step $((lines / 128 - step / 2))"
        done >ahead
        cat ahead
        all_end "${pids[@]}" && [ "$(cut -d' ' -f1 ahead)" = "$(seq 0 23)" ]
    }
    check "a writer that is slow" slow
    # In addition to what the sockets hold, one frame is made ahead and one is being written.
    not_ahead() {
        awk '$2 > 9 { bad = 1; print } END { exit bad || NR != 24 }' ahead
    }
    check "the other writer waits for it instead of filling memory" not_ahead
fi

# ---- wrong usage ----
for turn in 2/2 -1/2 0/0 1of2 1/2/3 1/ /2 0/65537; do
    check_fails 2 "--turn $turn" "^augment: --turn $turn: should be I/K, with I from 0 to K - 1" \
        augment --data shapes --turn "$turn" --out refused.st
done
check "a wrong --turn makes no output" test ! -e refused.st

nothing_left() {
    local i
    for i in $(seq 40); do
        [ -n "$(find . -type s)" ] || pgrep -f "$T/" >/dev/null || return 0
        sleep 0.05
    done
    find . -type s
    pgrep -af "$T/"
    return 1
}
check "no socket and no process is left" nothing_left
done_testing
