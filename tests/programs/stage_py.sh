#!/usr/bin/env bash
# Tests of examples/simclr_stage.py, what a stage in Python needs: frames, links, servers, the optimizer.
# shellcheck disable=SC2016,SC2086 # commands are several words, and eval expands the texts
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "stages in Python" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/stage_py.py" "$ROOT" "$@"
}
loss="/usr/bin/python3 $ROOT/examples/ntxent.py"

# ---- frames ----
check "values of every dtype cross the languages" py types
check "it takes and rejects what the programs take and reject" py corpus

# ---- a stage with parameters, over pipes ----
py make
steps() { # OPTIMIZER, LOSS, options
    local opt=$1 next=$2
    shift 2
    py linear --opt "$opt" --next "$next" "$@" <h.st >metrics.st
}
sgd='exec:sgd --lr 0.5 --momentum 0 --schedule constant --model linear.st'
trains() {
    steps "$sgd" "$@" && py follow metrics.st linear.st
}
check "three steps of a linear stage agree with float64" trains "exec:$loss"
cp metrics.st pipes.st && cp linear.st pipes-model.st

# Compares a run in which all three listen at ADDRESS-1 and -2 with the one over pipes.
listening() { # OPTIMIZER'S ADDRESS, LOSS'S ADDRESS, options of servers ... -- options of the client
    local at=$1 loss_at=$2 servers=()
    shift 2
    while [ "$1" != -- ]; do
        servers+=("$1") && shift
    done
    shift
    in_time sgd --lr 0.5 --momentum 0 --schedule constant --model linear.st --listen "$at" "${servers[@]}" &
    local optimizer=$!
    # shellcheck disable=SC2086 # a command
    in_time $loss --listen "$loss_at" "${servers[@]}" &
    local next=$!
    steps "$at" "$loss_at" "$@" && all_end $optimizer $next && cmp metrics.st pipes.st && cmp linear.st pipes-model.st
}
wrong_wire() {
    steps "$sgd" "exec:$loss" --wire bf16 --crc && ! cmp -s metrics.st pipes.st && inspect --meta loss metrics.st |
        paste - <(inspect --meta loss pipes.st) | awk '{ d = $1 - $2; if (d * d > 1e-4) bad = 1 } END { exit bad || NR != 3 }'
}
check "with bfloat16 on the wire the losses are about the same" wrong_wire

# ---- failures: one line, status 1 ----
check "an optimizer that answers wrongly or dies is named, with what it did" py wrong_answers
next='exec:ntxent 2>/dev/null' quiet="$sgd 2>/dev/null"
check_fails 1 "a loss that fails" '^stage_py.py: exec:false: exited with status 1' \
    py linear --opt "$quiet" --next exec:false --in h.st
check_fails 1 "a stream that breaks off" '^stage_py.py: /dev/fd/63: truncated in the data, at byte [0-9]* of 384' \
    eval 'py linear --opt "$quiet" --next "$next" --in <(head -c 500 h.st) --out out'
check_fails 1 "another width" 'tensor h is F32 \[8,2,5\], not F32 \[\*,2,6\]' \
    py linear --opt "$quiet" --next "$next" --in narrow.st
reported() {
    ! py linear --opt "$quiet" --next "$next" <narrow.st >out 2>err || return 1
    inspect out 2>&1 | grep -q 'out: stage_py.py: tensor h is F32'
}
check "a failure reaches the reader" reported
check_fails 2 "an unknown option" "^ntxent.py: unknown option '--temprature' \(ntxent.py --help lists the options\)" $loss --temprature 1
check_fails 2 "no number" "^ntxent.py: argument --timeout: 'soon' is not a number" $loss --timeout soon
check_fails 1 "a link to nowhere" "here: a link is exec:CMD, tcp://host:port or ipc://path" \
    py linear --opt here --next "$next" --in h.st

# ---- sockets ----
if ! python_has zmq; then
    skip "stages in Python over sockets" "python3-zmq is not installed"
    done_testing
    exit
fi
check "the same bits over ipc://" listening ipc://opt.ipc ipc://loss.ipc --
keygen server && keygen one && keygen other && cp one.pub clients
keys=(--curve-key server.key --curve-clients clients)
check "the same bits over tcp:// with keys and run IDs" listening "tcp://$LOOPBACK:7001" "tcp://$LOOPBACK:7002" "${keys[@]}" --run a \
    -- --curve-key one.key --curve-server-key server.pub --run a
stranger() { # a client with another key, and one of another run; then the right one
    in_time $loss --listen "tcp://$LOOPBACK:7003" "${keys[@]}" --run a 2>server.err &
    server=$!
    project --layers 0 --next "tcp://$LOOPBACK:7003" --curve-key other.key --curve-server-key server.pub --run a --in h.st --out out 2>err &&
        return 1
    grep -q "refused this program's key" err || return 1
    project --layers 0 --next "tcp://$LOOPBACK:7003" --curve-key one.key --curve-server-key server.pub --run b --timeout 2 \
        --in h.st --out out 2>err && return 1
    project --layers 0 --next "tcp://$LOOPBACK:7003" --curve-key one.key --curve-server-key server.pub --run a --in h.st --out out &&
        wait $server && cat server.err && [ "$(wc -l <server.err)" = 2 ] &&
        grep -qF "refused a client whose key is not in clients ($(cat other.pub))" server.err &&
        grep -q "refused a peer: a frame of run b, not of a" server.err
}
check "strangers do not disturb it" stranger
check_fails 1 "nobody listens" "ipc://nobody: nobody answered within 1 s" \
    py linear --opt ipc://nobody --next "$next" --timeout 1 --in h.st
check_fails 1 "tcp beyond this machine without keys" "tcp://example.org:7000 is not on this machine: give keys" \
    py linear --opt tcp://example.org:7000 --next "$next" --in h.st
check_fails 1 "a secret key that others can read" "loose.key: a secret key that others can read" eval \
    'cp one.key loose.key && chmod 644 loose.key && py linear --opt tcp://localhost:7004 --curve-key loose.key --curve-server-key server.pub --next "$next" --in h.st'
check_fails 1 "a host's name to listen at" "^ntxent.py: tcp://localhost:0: no client came within 0.1 s" \
    $loss --listen tcp://localhost:0 --timeout 0.1
in_use() { # its file stays
    python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); sys.stdin.read()' used.ipc < <(sleep 60) &
    local other=$!
    until [ -S used.ipc ]; do sleep 0.1; done
    $loss --listen ipc://used.ipc || { local status=$? && [ -S used.ipc ] && kill $other && return $status; }
}
check_fails 1 "an address in use" "^ntxent.py: ipc://used.ipc: Address already in use" in_use
float64() {
    printf 'import sys\nsys.path.insert(0, "%s/examples")\nimport simclr_stage as s\ns.run(lambda t, m: ({"dz": t["h"] * 2.0 ** s.np.arange(6.0)}, m))\n' \
        "$ROOT" >double.py && /usr/bin/python3 double.py <h.st >out
}
check_fails 1 "a reply of a type that frames have not" "^double.py: tensor dz is float64, which frames have not: take F32" float64
dying() { # a client that vanishes
    in_time $loss --listen ipc://dying.ipc &
    server=$!
    sh -c "/usr/bin/python3 $ROOT/tests/programs/peer.py $ROOT ask ipc://dying.ipc killed; :" >/dev/null 2>&1
    wait $server
}
check_fails 1 "a client that dies" "^ntxent.py: ipc://dying.ipc: client 0 went away without an end frame" dying
check "its socket is removed" test ! -e dying.ipc
served() { # a dead server
    sh -c "/usr/bin/python3 $ROOT/tests/programs/peer.py $ROOT bind ipc://dead.ipc kill; :" >/dev/null 2>&1 &
    py linear --opt "$quiet" --next ipc://dead.ipc --in h.st
}
check_fails 1 "a server that dies" "ipc://dead.ipc: the connection was lost" served
stops() {
    mkfifo quiet
    in_time $loss --in quiet --out /dev/null &
    server=$!
    exec 7>quiet
    catches_signals $server && sleep 1 && kill -TERM "$(pgrep -P $server)"
    status=0
    wait $server || status=$?
    exec 7>&-
    return $status
}
check_fails 1 "SIGTERM" "^ntxent.py: stopped by SIGTERM" stops
done_testing
