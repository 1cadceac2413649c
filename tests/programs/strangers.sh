#!/usr/bin/env bash
# Strangers connect to the address of a run that has neither an ID nor keys. The run must go on as if
# they had not come. (A run with an ID knows its clients by their first message.)
set -eu
. "$(dirname "$0")/../lib.sh"
if ! python_has numpy zmq; then
    skip "strangers" "python3-numpy or python3-zmq is not installed"
    done_testing
    exit
fi
unset SIMCLR_RUN
export PYTHONDONTWRITEBYTECODE=1
come() { # WHAT ADDRESS...
    in_time /usr/bin/python3 "$ROOT/tests/programs/strangers.py" "$ROOT" "$@"
}
augment --data shapes --size 8 --batch 4 --steps 2 >x.st
tiny='encode --width 0.0625 --threads 1'
train() { # ADDRESS
    $tiny --in x.st --opt "$1" --next "exec:project --threads 1 --dim 4 --opt $1 --next exec:ntxent" >metrics.st
}
lars --listen "ipc://$T/alone" --model alone.st --state alone.state &
server=$!
train "ipc://$T/alone" && wait $server

beside() { # the file of the model, FLAG...: strangers connect before the run begins
    lars --listen "ipc://$T/opt" --model "$1" --state "$1.state" "${@:2}" 2>told &
    server=$!
    come end "ipc://$T/opt" && come nonsense "ipc://$T/opt" && come garbage "ipc://$T/opt" &&
        come gradients "ipc://$T/opt" && come join "ipc://$T/opt" && train "ipc://$T/opt" && wait $server && cat told
}
check "an optimizer to which strangers connect before its clients" beside beside.st
check "it ends with the same model" cmp beside.st alone.st
check "it ends with the same state" cmp beside.st.state alone.state
lines() {
    grep -q 'refused a peer: client . sent gradients and has not joined' told &&
        grep -q 'refused a peer: a message: ' told &&
        grep -q 'client . went away without an end frame: forgotten, having sent nothing but its join' told &&
        [ "$(wc -l <told)" = 4 ]
}
check "each stranger is reported, except those that send nothing" lines
augment --data shapes --size 8 --batch 4 --steps 4 --start 2 >rest.st
resumed() {
    cp alone.state "$1"
    lars --listen "ipc://$T/opt" --resume --state "$1" 2>/dev/null &
    server=$!
    ${2:-:} && cp x.st first.st && cp rest.st x.st && train "ipc://$T/opt" && wait $server && mv first.st x.st
}
resumed undisturbed.state
visited() { # no stranger's tensors fit the state, so one that joins is refused
    ! come join "ipc://$T/opt" 2>/dev/null && come end "ipc://$T/opt"
}
resumed_beside() {
    resumed visited.state visited && cmp visited.state undisturbed.state
}
check "an optimizer that resumes" resumed_beside

loss() { # the loss, like other servers, first receives a meaningless request of a stranger
    ntxent --listen "ipc://$T/loss" 2>told &
    server=$!
    come end "ipc://$T/loss" && come nonsense "ipc://$T/loss" && come garbage "ipc://$T/loss" &&
        $tiny <x.st | project --layers 0 --next "ipc://$T/loss" >z.st && wait $server &&
        grep -q 'refused a peer: the frame has no tensor z' told
}
check "a loss to which strangers connect" loss
stage() {
    $tiny --listen "ipc://$T/stage" 2>told &
    server=$!
    come nonsense "ipc://$T/stage" &&
        /usr/bin/python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import frames, zmq, io
s = zmq.Context().socket(zmq.DEALER); s.connect(sys.argv[2])
t, m = frames.read(open("x.st", "rb")); s.send(frames.pack(t, **m))
assert "h" in frames.read(io.BytesIO(s.recv()))[0]
s.send(frames.pack(end=1)); s.close(5000); zmq.Context.instance().term()' "$ROOT/tests" "ipc://$T/stage" && wait $server
}
check "an encoder to which strangers connect" stage

only_end() { # nobody else connects: these clients had no request, which is not a failure
    ntxent --timeout 12 --listen "ipc://$T/none" &
    server=$!
    come end "ipc://$T/none" && wait $server
}
check "only end frames: it ends if nobody else comes within the timeout" only_end
of_the_run() { # with an ID it ends at once
    in_time ntxent --timeout 1000 --run mine --listen "ipc://$T/mine" 2>/dev/null &
    server=$!
    come end "ipc://$T/mine" && come end "ipc://$T/mine" mine && wait $server
}
check "with an ID a client may have nothing to ask" of_the_run
left() {
    lars --run mine --listen "ipc://$T/left" --model left.st &
    server=$!
    come join "ipc://$T/left" mine && wait $server
}
check_fails 1 "with an ID a client that joins and leaves ends the run" 'left: client 0 went away without an end frame' left

if [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 300 ]; then
    crowd() { # [LIBRARY to preload]
        (
            ulimit -n 300
            LD_PRELOAD=${1:-} exec lars --listen "tcp://$LOOPBACK:7000" --state crowd.st --save-every 1 2>/dev/null
        ) &
        server=$!
        come crowd "tcp://$LOOPBACK:7000" 300 $server && wait $server && [ "$(inspect --meta step crowd.st)" = 3 ]
    }
    check "idle connections do not use up the descriptors that a save needs" crowd
    if grep -q __asan_init "$(command -v lars)"; then
        skip "peers that take the reserve" "this build cannot preload a library"
    elif ${CC:-cc} -shared -fPIC -O1 -o late_save.so "$ROOT/tests/programs/late_save.c"; then
        check "nor do those that connect while it takes one of the reserve" crowd "$PWD/late_save.so"
    fi
fi
if grep -q __asan_init "$(command -v ntxent)"; then
    skip "memory of clients that went" "freed memory is kept back in this build"
else
    flow() {
        ntxent --listen "ipc://$T/flow" &
        server=$!
        come flow "ipc://$T/flow" $server && wait $server
    }
    check "a client that has left costs the server less than 3 kB" flow
fi
read -r port < <(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
localhost() {
    ntxent --listen "tcp://localhost:$port" &
    server=$!
    $tiny <x.st | project --layers 0 --next "tcp://localhost:$port" >z.st && wait $server
}
check "--listen on localhost" localhost
check_fails 1 "--listen on an unknown host" 'tcp://nowhere.invalid:7000: there is no device or host nowhere.invalid' \
    ntxent --insecure --timeout 5 --listen tcp://nowhere.invalid:7000
done_testing
