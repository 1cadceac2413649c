#!/usr/bin/env bash
# Tests of shard: the bits of one optimizer; clients, states and optimizers that fail.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

if ! python_has numpy; then
    skip "shard" "python3-numpy is not installed"
    done_testing
    exit
fi
py() {
    in_time /usr/bin/python3 "$ROOT/tests/programs/shard.py" "$ROOT" "$@"
}
optimizer_py() {
    in_time /usr/bin/python3 "$ROOT/tests/programs/optimizer.py" "$ROOT" "$@"
}
lars="lars --warmup-steps 1"
links() { # K, NAME, options: K optimizers that write NAME.k.model and NAME.k.state
    local k list=
    for k in $(seq 0 $(($1 - 1))); do
        list+="${list:+,}exec:$lars --model $2.$k.model --state $2.$k.state ${*:3}"
    done
    echo "$list"
}

# ---- the same results as with one optimizer ----

train() { # NAME, LINK of encode's optimizer, LINK of project's, options of augment; LOSS
    augment --data shapes --size 16 --batch 16 --steps 4 "${@:4}" |
        encode --width 0.125 --opt "$2" --next "exec:project --opt '$3' --next 'exec:${LOSS:-ntxent}'" >"$1.metrics"
}
check "a run with one optimizer for each stage" train alone "exec:$lars --model alone.model" "exec:$lars --model head.model"
same_metrics() { # NAME, NAME
    cmp <(inspect --meta loss "$1.metrics") <(inspect --meta loss "$2.metrics") &&
        cmp <(inspect --meta lr "$1.metrics") <(inspect --meta lr "$2.metrics") &&
        cmp <(inspect --meta grad_norm "$1.metrics") <(inspect --meta grad_norm "$2.metrics") &&
        [ "$(inspect --meta grad_norm "$1.metrics" | grep -c .)" = 4 ]
}
spread() { # K
    train "spread$1" "exec:shard --next \"$(links "$1" "spread$1")\"" "exec:$lars --model head2.model" &&
        py same alone.model "spread$1".*.model && same_metrics alone "spread$1" &&
        cmp head.model head2.model
}
for k in 1 2 3; do
    check "$k shards give the same results" spread $k
done
shared() {
    local pids=() k
    for k in 0 1; do
        $lars --listen ipc://owner$k.ipc --model shared.$k.model &
        pids+=($!)
    done
    shard --listen ipc://shared.ipc --next ipc://owner0.ipc,ipc://owner1.ipc &
    pids+=($!)
    train shared ipc://shared.ipc ipc://shared.ipc && all_end "${pids[@]}" &&
        py same alone.model,head.model shared.*.model
}
check "two clients and two optimizers over sockets" shared

reduced() { # NAME, LINK of the optimizer
    local pids=() rank
    reduce --world 2 --listen ipc://reduce.ipc --next "$2" &
    pids+=($!)
    gather --world 2 --listen ipc://gather.ipc \
        --next "exec:project --opt 'exec:lars --model /dev/null' --next exec:ntxent" &
    pids+=($!)
    for rank in 0 1; do
        augment --data shapes --size 16 --batch 16 --steps 3 --shard $rank/2 |
            encode --width 0.125 --opt ipc://reduce.ipc --next ipc://gather.ipc >"$1.$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
behind_reduce() {
    reduced one "exec:$lars --model one.model" &&
        reduced two "exec:shard --next \"$(links 2 two)\"" && py same one.model two.*.model
}
check "after reduce, for two workers" behind_reduce

optimizer_py run 0 6 6 >all.st
same_replies() {
    $lars --model plain.model <all.st >plain.replies &&
        shard --next "$(links 2 replies)" <all.st >shard.replies && cmp plain.replies shard.replies
}
check "shard answers with the bytes of one optimizer" same_replies
commas() {
    shard --next "exec:$lars --model a,b.model --state x,y.state,
        exec:$lars --model c,d.model" <all.st >out && py same plain.model a,b.model c,d.model && [ -e x,y.state ]
}
check "commas within a command, and blanks after a separating comma" commas
meet() { # each optimizer answers only after the other has its request
    local peer="exec /usr/bin/python3 $ROOT/tests/programs/shard.py $ROOT answer meet"
    py large >large.st && shard --next "exec:$peer met0 met1,exec:$peer met1 met0" <large.st >out &&
        cmp large.st out
}
check "the optimizers work at the same time, with more bytes than a pipe holds" meet

if python_has zmq; then
    ahead() {
        shard --listen "ipc://$T/ahead.ipc" --next "$(links 2 ahead)" &
        local server=$! one
        optimizer_py share "ipc://$T/ahead.ipc" 0 6 0.02 &
        one=$!
        optimizer_py share "ipc://$T/ahead.ipc" 1 6 0 && all_end $one $server && py same plain.model ahead.*.model
    }
    check "two clients, one of which is a step ahead" ahead
    far_ahead() {
        shard --listen "ipc://$T/far.ipc" --next "$(links 2 far '2>/dev/null')" &
        local server=$!
        (py far "ipc://$T/far.ipc" >/dev/null 2>&1 &)
        wait $server
    }
    check_fails 1 "a client that is two steps ahead" \
        '^shard: client 1 sent step 2, where step 0 is under way' far_ahead
    brings_nothing() {
        shard --listen "ipc://$T/rank.ipc" --next "$(links 3 rank)" &
        local server=$!
        py rank "ipc://$T/rank.ipc" && wait $server
    }
    check "a rank that sends no parameters receives all of them" brings_nothing
else
    skip "clients over ZeroMQ" "python3-zmq is not installed"
fi

# ---- states ----

resumed() {
    LOSS="$ROOT/tests/programs/fail-after 3 ntxent" train half "exec:shard --next \"$(links 2 half --save-every 2)\"" \
        "exec:$lars --state half-head.state --save-every 2" 2>half.err && return 1
    grep -q 'exited with status 9' half.err && [ "$(inspect --meta step half.0.state)" = 2 ] &&
        [ "$(inspect --meta step half.1.state)" = 2 ] && cp half.0.state half.0.kept && cp half.1.state half.1.kept &&
        train half "exec:shard --next \"$(links 2 half --resume)\"" \
            "exec:$lars --resume --state half-head.state --model half-head.model" --start 2 &&
        py same alone.model half.*.model && cmp head.model half-head.model &&
        cmp half.0.state spread2.0.state && cmp half.1.state spread2.1.state
}
check "stopped and resumed, the run has the same bits" resumed
refuses() { # regex, NAME of the run
    local status=0
    train "$2" "exec:shard --next \"$(links 2 "$2" --resume)\"" "exec:$lars --model none.model" --start 2 \
        2>"$2.err" || status=$?
    cat "$2.err"
    [ $status = 1 ] && grep -qE "^shard: $1" "$2.err" && grep -qE "^encode: .*shard: $1" "$2.err"
}
different_steps() {
    cp half.0.kept apart.0.state && cp half.1.state apart.1.state &&
        refuses 'exec:.* apart\.0\.state .* is at step 2, exec:.* apart\.1\.state .* at step 4: the states belong to different steps' apart &&
        cmp half.0.kept apart.0.state && cmp half.1.state apart.1.state
}
check "states of different steps are refused and unchanged" different_steps
another_order() {
    cp half.0.kept order.1.state && cp half.1.kept order.0.state &&
        refuses 'exec:.*order\.[01]\.state.*: lars: order\.[01]\.state has no tensor .*, which a client joined with' order
}
check "states in another order are refused and unchanged" another_order

# A shard for each worker, and a reduce before each optimizer, must compute the same as one reduce
# and one optimizer.
workers() { # NAME, optimizers
    local k rank pids=() list='' head="exec:project --opt 'exec:$lars --model $1.head' --next exec:ntxent"
    for k in $(seq 0 $(($2 - 1))); do
        reduce --world 2 --listen "ipc://sum$k.ipc" --next "exec:$lars --model $1.$k.model" &
        pids+=($!)
        list+="${list:+,}ipc://sum$k.ipc"
    done
    reduce --world 2 --listen ipc://sync.ipc &
    pids+=($!)
    gather --world 2 --listen ipc://rows.ipc --next "$head" &
    pids+=($!)
    for rank in 0 1; do
        augment --data shapes --size 16 --batch 16 --steps 3 --shard $rank/2 |
            encode --width 0.125 --opt "exec:shard --next $list" --sync ipc://sync.ipc \
                --next ipc://rows.ipc >"$1.$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
check "two workers, one reduce, one optimizer" workers one 1
same_by_workers() { # K
    workers "by$1" "$1" && py same one.0.model "by$1".*.model && cmp one.head "by$1.head"
}
check "two workers with a shard each, three reduces and three optimizers" same_by_workers 3

# ---- failures ----

dies() {
    local status=0
    train dead "exec:shard --next \"exec:$lars --model dead.0.model,exec:$ROOT/tests/programs/fail-after 3 $lars --model dead.1.model\"" \
        "exec:$lars --model none.model" 2>dead.err || status=$?
    cat dead.err
    [ $status = 1 ] && grep -qE '^shard: exec:.*fail-after 3 .*: exited with status 9' dead.err &&
        grep -qE '^encode: exec:shard.*: shard: exec:.*fail-after.*: exited with status 9' dead.err &&
        [ ! -e dead.0.model ] && [ ! -e dead.1.model ]
}
check "an optimizer that dies ends the run, and the message names it" dies
wrong() { # HOW: the misbehaviour of the second of two optimizers
    local peer="exec /usr/bin/python3 $ROOT/tests/programs/shard.py $ROOT answer"
    shard --timeout 60 --next "exec:$peer ok,exec:$peer $*" --in all.st --out out
}
named='^shard: exec:exec .* answer'
check_fails 1 "an answer that lacks a tensor" "$named drop: its answer: the frame has no tensor bn1" wrong drop
check_fails 1 "an answer with one more tensor" "$named more: answered with more.weight, which it was not sent" wrong more
check_fails 1 "an answer of another shape" "$named shape: its answer: tensor .* is .*, not " wrong shape
check_fails 1 "an answer of another dtype" "$named dtype: its answer: tensor .* is I32 .*, not F32" wrong dtype
check_fails 1 "an answer that is an error" "$named error: it hurts" wrong error
check_fails 1 "an answer to a join at another step" \
    "answer ok is at step 0, exec:.* at step 7: the states belong to different steps" wrong step 7
check_fails 1 "an answer that does not come" "exec:sleep 60: no answer within 5 s" \
    shard --timeout 5 --next "exec:cat,exec:sleep 60" --in all.st --out out
optimizer_py run 0 2 6 noend >noend.st
check_fails 1 "a stream without an end frame" '^shard: stdin: ended without an end frame' \
    sh -c 'cat noend.st | shard --next exec:cat,exec:cat >out'

check_fails 2 "no --next" "^shard: --next: '' is no link" shard
check_fails 2 "a list whose first entry is not a link" "'model.st' is no link" shard --next 'model.st,exec:lars'
check_fails 2 "a link that is empty" "'exec:lars,' is no link" shard --next 'exec:lars,,exec:lars'
check_fails 2 "a comma at the end" "'exec:lars,' is no link" shard --next 'exec:lars,'
# shellcheck disable=SC2046 # one word
check_fails 2 "too many links" "more than 64 links" shard --next $(yes exec:lars | head -n 65 | paste -sd ,)
check_fails 2 "an unknown option" "unknown option '--world'" shard --world 2
check "--help" shard --help
done_testing
