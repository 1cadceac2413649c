#!/usr/bin/env bash
# Tests of gather and reduce: their sums and rows, workers that misbehave, and whole runs.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

worker() { # ADDRESS, HOW it behaves
    in_time /usr/bin/python3 "$ROOT/tests/programs/workers.py" "$ROOT" "$@"
}
serves() { # HOW, command of a server: both must end with 0
    local how=$1 server status=0
    shift
    "$@" --listen ipc://server.ipc 2>server.err &
    server=$!
    worker ipc://server.ipc "$how" || status=1
    wait "$server" || status=1
    [ $status = 0 ] || cat server.err
    return $status
}
# The message names the rank, and the correct worker receives it.
refuses() { # HOW, regex, command of a server
    local how=$1 regex=$2 server status=0
    shift 2
    "$@" --timeout "${PATIENCE:-60}" --listen ipc://server.ipc 2>server.err &
    server=$!
    worker ipc://server.ipc "$how" || return 1
    wait "$server" || status=$?
    cat server.err
    [ $status = 1 ] && [ "$(wc -l <server.err)" = 1 ] && grep -qE "$regex" server.err
}

if python_has numpy zmq; then
    for world in 1 2 3 4 8; do
        export WORLD=$world
        check "reduce: sums over $world workers are those of the tree" serves sums reduce --world $world
    done
    export WORLD=4
    through_another() {
        serves sums reduce --world 4 --next "exec:cat"
    }
    check "reduce: the answer of --next goes to all workers" through_another
    tree_of_reduces() { # one for ranks 0 and 1, one for 2 and 3, and one for these two
        local pids=()
        reduce --world 2 --listen ipc://top.ipc &
        pids+=($!)
        reduce --world 2 --listen ipc://half0.ipc --next ipc://top.ipc &
        pids+=($!)
        reduce --world 2 --listen ipc://half1.ipc --next ipc://top.ipc &
        pids+=($!)
        worker 'ipc://half{}.ipc' sums && all_end "${pids[@]}"
    }
    check "reduce: a tree of reduces gives the same sums" tree_of_reduces
    check "gather: rows are in the order of ranks, and answers are split again" serves rows \
        gather --world 3 --next 'exec:tee joined.st'
    two=(reduce --world 2)
    check "a rank that is ahead of the others is reported" refuses ahead "^reduce: rank 0 is at step 3, rank 1 at step 4" "${two[@]}"
    check "a frame of another kind is reported" refuses kind "rank 0 is at kind none, rank 1 at kind join" "${two[@]}"
    check "a tensor of another shape is reported" refuses shape "g has not the same shape" "${two[@]}"
    check "rows of another shape are reported" refuses shape "rows of g differ between workers 0 and 1" gather --world 2
    check "a rank that ends before the others is reported" refuses ends "rank 1 has ended, rank 0 goes on" "${two[@]}"
    check "a rank whose step is not a number is reported" refuses step "step.*many" "${two[@]}"
    # The timeout is long enough for both clients to connect on any machine; the test is that the
    # server ends.
    PATIENCE=8 check "a rank that falls silent" refuses silent "rank 1 sent nothing within 7.2 s" "${two[@]}"
    PATIENCE=8 check "a rank that does not come" refuses missing "(1 of 2 clients came within 8 s|rank 1 sent nothing within 7.2 s)" "${two[@]}"

    # Peers that do not belong to the run must be reported, and must not change the sums.
    beside() { # HOW, regex, lines, ADDRESS
        local server status=0
        "${two[@]}" --timeout 60 --listen "$4" 2>server.err &
        server=$!
        worker "$4" beside "$1" || status=1
        wait $server || status=1
        cat server.err
        [ $status = 0 ] && [ "$(grep -cE "$2" server.err)" = "$3" ] && [ "$(wc -l <server.err)" = "$3" ]
    }
    port=7000
    of_its_own() { # HOW, regex, lines: uses an address that no other case has used
        port=$((port + 1))
        case $of in
        ipc) beside "$@" "ipc://server$port.ipc" ;;
        *) beside "$@" "tcp://$LOOPBACK:$port" ;;
        esac
    }
    for of in ipc tcp; do
        check "$of: a rank that came twice" of_its_own twice "refused a peer: rank 0 came twice" 1
        check "$of: a rank of another world" of_its_own unknown "refused a peer: .* rank 5 of 4" 1
        check "$of: a frame of no rank" of_its_own nobody "refused a peer: a frame without .rank." 1
        check "$of: a late frame" of_its_own late "refused a peer: rank 1 sent step [0-2] again" 3
        check "$of: nonsense" of_its_own garbage "refused a peer: a message: " 1
        check "$of: an error frame" of_its_own error "refused a peer: an error frame" 1
        check "$of: a peer that says nothing" of_its_own mute . 0
        check "$of: a port scanner" of_its_own scanner "refused a peer: not ZeroMQ" 2
        export SIMCLR_RUN=ours
        check "$of: another run" of_its_own run "refused a peer: a frame of run theirs, not of ours" 1
        check "$of: no run" of_its_own norun "refused a peer: a frame of no run, not of ours" 1
        unset SIMCLR_RUN
    done
else
    skip "gather and reduce" "python3-numpy and python3-zmq are not installed"
fi

# Workers with a gather for the loss and a reduce for the gradients.
run() { # NAME, WORLD
    local rank pids=()
    reduce --world "$2" --listen ipc://reduce.ipc --next "exec:lars --warmup-steps 1 --model $1.st" &
    pids+=($!)
    gather --world "$2" --listen ipc://gather.ipc \
        --next 'exec:project --opt "exec:lars --warmup-steps 1 --model /dev/null" --next exec:ntxent' &
    pids+=($!)
    for rank in $(seq 0 $(($2 - 1))); do
        augment --data shapes --batch 16 --steps 3 --shard "$rank/$2" |
            encode --width 0.25 --opt ipc://reduce.ipc --next ipc://gather.ipc >"$1.$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
alone() {
    augment --data shapes --batch 16 --steps 3 |
        encode --width 0.25 --opt 'exec:lars --warmup-steps 1 --model alone.st' \
            --next 'exec:project --opt "exec:lars --warmup-steps 1 --model /dev/null" --next exec:ntxent' \
            >alone.metrics
}
same_model() {
    run one 1 && alone && cmp one.st alone.st
}
check "one worker with gather and reduce gives the same model as one process" same_model
two_workers() {
    run two 2 && inspect --meta loss two.0.metrics >a && inspect --meta loss two.1.metrics >b &&
        cmp a b && [ "$(wc -l <a)" = 3 ]
}
check "two workers report one loss" two_workers
# Each worker's batch norm uses only its own rows, so this loss differs. The losses over the first
# batch agree approximately.
another_loss() {
    paste <(inspect --meta loss two.0.metrics) <(inspect --meta loss alone.metrics) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-4) different++; if (d > 1) far++ }
            END { exit !(different && !far) }'
}
check "without shared statistics the loss differs from that of one process" another_loss
done_testing
