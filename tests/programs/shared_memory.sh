#!/usr/bin/env bash
# Tests of shared memory on links: it changes no bit, gives way to whole frames, and leaves nothing.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive SIMCLR_EDGES=1

augment --data shapes --batch 32 --steps 2 --threads 1 >views.st 2>/dev/null
# Trains, with options for the encoder; writes NAME.model, NAME.state, NAME.head and NAME.err.
train() { # NAME, --opt of the encoder, loss, option...
    local name=$1 opt=$2 loss=$3
    shift 3
    encode --width 0.25 --threads 1 "$@" --opt "$opt" \
        --next "exec:project --threads 1 --opt 'exec:lars --model $name.head' --next 'exec:$loss'" \
        <views.st 2>"$name.err" >"$name.st"
}
opt() { # NAME, option...
    local name=$1
    shift
    echo "exec:lars --model $name.model --state $name.state $*"
}
same() { # NAME, NAME
    local part
    for part in model state head; do
        cmp "$1.$part" "$2.$part" || return 1
    done
}
# The bytes that went through shared memory, of an edge that the regex describes.
shared() { # NAME, regex
    grep "^$2" "$1.err" | sed -n 's/.*: shared memory of .*: [a-z]* [0-9]* out \([0-9]*\) in \([0-9]*\)$/\1 \2/p'
}

# ---- bits ----
whole() {
    SIMCLR_SHARED_MEMORY=0 train whole "$(opt whole)" ntxent && ! grep 'shared memory' whole.err
}
check "with SIMCLR_SHARED_MEMORY=0 all goes through pipes" whole
in_memory() {
    train memory "$(opt memory)" ntxent && same memory whole
}
check "a run whose links share memory ends in the same bits" in_memory
both_ways() {
    local out in
    read -r out in <<<"$(shared memory 'encode: shared memory of exec:lars')"
    [ "$out" -gt 4000000 ] && [ "$in" -gt 4000000 ] &&
        [ -n "$(shared memory 'lars: shared memory of stdin')" ] &&
        [ -n "$(shared memory 'encode: shared memory of exec:project')" ]
}
check "its lines say what went through shared memory" both_ways
same_edges() { # the edges' bytes are those of whole frames
    local name
    for name in whole memory; do
        sed -n "s/^\(.*: edge [a-z]*\).*\(: [a-z]* [0-9]*\) .* waited.*/\1\2/p" $name.err | sort >$name.edges
        sed -n "s/^encode: edge exec:project.* out \([0-9]* in [0-9]*\) .*/\1/p" $name.err >>$name.edges
    done
    cmp whole.edges memory.edges && [ "$(wc -l <whole.edges)" -ge 9 ]
}
check "frames and bytes of the edges are those of whole frames" same_edges
for side in client server; do
    off=--no-shared-memory
    one_side() {
        if [ "$side" = client ]; then
            train "$side" "$(opt "$side")" ntxent "$off"
        else
            train "$side" "$(opt "$side" "$off")" ntxent
        fi && same "$side" whole && ! grep 'shared memory of exec:lars .*state' "$side.err"
    }
    check "--no-shared-memory on the side of the $side" one_side
done
with_crc() {
    train crc "$(opt crc --crc)" ntxent --crc && same crc whole && [ -n "$(shared crc encode)" ]
}
check "with --crc" with_crc
rounded() {
    SIMCLR_SHARED_MEMORY=0 train round "$(opt round)" ntxent --wire bf16 &&
        train bf16 "$(opt bf16)" ntxent --wire bf16 && same bf16 round && ! cmp -s round.model whole.model &&
        [ -n "$(shared bf16 encode)" ]
}
check "--wire bf16 ends in the same bits" rounded
slow() {
    local v
    for v in 0 1; do
        SIMCLR_SHARED_MEMORY=$v encode --width 0.25 --threads 1 --ema 0.9 --opt "exec:adam --state slow$v.state" \
            --next 'exec:project --layers 0 --ema 0 --next exec:byol' <views.st >/dev/null 2>slow.err || return 1
    done
    cmp slow0.state slow1.state && grep -q '^encode: shared memory of exec:adam' slow.err
}
check "adam and --ema end in the same bits" slow

# ---- programs in the middle ----
recorded() {
    train tee "exec:tee log.st | lars --model tee.model --state tee.state | tee back.st" ntxent &&
        same tee whole && ! grep 'shared memory of exec:tee' tee.err || return 1
    inspect log.st >log.txt 2>log.err && inspect back.st >back.txt 2>back.err
    grep -q 'layer4.1.conv2.weight' log.txt && grep -q 'layer4.1.conv2.weight' back.txt &&
        [ "$(wc -c <log.st)" -gt 4000000 ] && [ "$(wc -c <back.st)" -gt 4000000 ]
}
check "tee in the middle sees whole frames" recorded
check "tee before the server alone, and after it alone" eval '
    train before "exec:tee log.st | lars --model before.model --state before.state" ntxent && same before whole &&
    train after "exec:lars --model after.model --state after.state | tee back.st" ntxent && same after whole &&
    ! grep "shared memory of exec:tee" before.err && ! grep "shared memory of exec:lars.*tee" after.err'
wrapped() {
    printf '#!/bin/sh\nnice env A=b lars "$@"\n' >wrapper && chmod +x wrapper &&
        train wrap "exec:./wrapper --model wrap.model --state wrap.state" ntxent && same wrap whole &&
        [ -n "$(shared wrap 'encode: shared memory of exec:./wrapper')" ]
}
check "a command that ends in the server shares memory" wrapped
elsewhere() { # the variable is inherited by programs whose stdin is another one
    train inner "exec:cat | lars --model inner.model --state inner.state" \
        'sh -c "sleep 0 | cat >/dev/null; exec ntxent"' && same inner whole &&
        ! grep 'shared memory of exec:cat' inner.err
}
check "a program that inherits an offer for another one does not take it" elsewhere
if python_has numpy; then
    in_python() {
        train python "$(opt python)" "/usr/bin/python3 $ROOT/examples/ntxent.py" &&
            ! grep 'shared memory of exec:/usr/bin/python3' python.err &&
            [ -n "$(shared python 'encode: shared memory of exec:lars')" ]
    }
    check "a loss in Python gets whole frames" in_python
else
    skip "a loss in Python" "python3-numpy is not installed"
fi

# ---- ipc:// ----
# Two stages that share an optimizer, or two workers with a reduce before it.
stages() { # NAME, address of the optimizer, command before encode
    local name=$1 at=$2
    shift 2
    lars --listen "$at" --state "$name.state" 2>"$name.lars" &
    env "$@" encode --width 0.25 --threads 1 --opt "$at" \
        --next "exec:project --threads 1 --opt $at --next exec:ntxent" \
        <views.st 2>"$name.err" >"$name.st" && wait $!
}
workers() { # NAME
    local name=$1 rank
    lars --listen "ipc://$name.ipc" --state "$name.state" 2>"$name.lars" &
    reduce --world 2 --listen "ipc://$name.reduce.ipc" --next "ipc://$name.ipc" 2>"$name.reduce" &
    gather --world 2 --listen "ipc://$name.gather.ipc" \
        --next "exec:project --layers 0 --next exec:ntxent" 2>"$name.gather" &
    reduce --world 2 --listen "ipc://$name.sync.ipc" 2>/dev/null &
    for rank in 0 1; do
        augment --data shapes --batch 32 --steps 2 --threads 1 --shard $rank/2 2>/dev/null |
            encode --width 0.25 --threads 1 --opt "ipc://$name.reduce.ipc" --sync "ipc://$name.sync.ipc" \
                --next "ipc://$name.gather.ipc" 2>"$name.$rank.err" >/dev/null &
    done
    wait
    [ -s "$name.state" ]
}
over_ipc() {
    SIMCLR_SHARED_MEMORY=0 stages plain ipc://plain.ipc A=b && stages ipc ipc://ipc.ipc A=b && cmp plain.state ipc.state &&
        ! grep 'shared memory of ipc' plain.err plain.lars && [ -n "$(shared ipc 'encode: shared memory of ipc')" ] &&
        [ -n "$(shared ipc 'project: shared memory of ipc')" ] && grep '^lars: shared memory of ipc' ipc.lars
}
check "links over ipc:// end in the same bits" over_ipc
check "a client over ipc:// with SIMCLR_SHARED_MEMORY=0 gets whole frames" eval \
    'stages off ipc://off.ipc SIMCLR_SHARED_MEMORY=0 && cmp plain.state off.state && ! grep "shared memory of ipc" off.err off.lars'
parallel() {
    SIMCLR_SHARED_MEMORY=0 workers two && workers both && cmp two.state both.state &&
        [ -n "$(shared both.0 'encode: shared memory of ipc://both.reduce')" ] &&
        [ -n "$(shared both.1 'encode: shared memory of ipc://both.reduce')" ] &&
        grep '^reduce: shared memory of ipc://both.ipc' both.reduce
}
check "two workers end in the same bits" parallel
cat >proxy.py <<'END_OF_PROXY'
"""Stands between a client at ipc://front.ipc and a server at ipc://middle.ipc, and counts bytes."""
import sys
import zmq

context = zmq.Context()
front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
front.bind("ipc://front.ipc")
back.connect("ipc://middle.ipc")
poller = zmq.Poller()
poller.register(front)
poller.register(back)
total, ends = 0, 0
while ends < 1:
    for socket, other in ((front, back), (back, front)):
        if socket.poll(20):
            parts = socket.recv_multipart()
            if len(parts) != 2:
                sys.exit(f"{len(parts)} parts")
            total += len(parts[-1])
            ends += b'"end"' in parts[-1][:200]
            other.send_multipart(parts)
print(total)
END_OF_PROXY
if python_has zmq; then
    proxied() {
        lars --listen ipc://middle.ipc --state middle.state 2>middle.lars &
        local server=$!
        in_time /usr/bin/python3 proxy.py >proxy.out &
        encode --width 0.25 --threads 1 --opt ipc://front.ipc \
            --next "exec:project --threads 1 --layers 0 --next exec:ntxent" <views.st 2>middle.err >/dev/null &&
            wait $! && wait $server && rm front.ipc && ! grep 'shared memory of ipc' middle.err middle.lars &&
            [ "$(cat proxy.out)" -gt 8000000 ]
    }
    check "a proxy between client and server sees whole frames" proxied
else
    skip "a proxy between client and server" "python3-zmq is not installed"
fi
check "no socket is left" eval '! find . -name "*.ipc*" | grep .'

# ---- shm:// ----
name=test.$$.$RANDOM # other programs of this user have the same names to choose from
over_shm() {
    stages shm "shm://$name" A=b && cmp plain.state shm.state &&
        [ -n "$(shared shm "encode: shared memory of shm://$name")" ] &&
        [ -n "$(shared shm "project: shared memory of shm://$name")" ] && grep "^lars: shared memory of shm://$name" shm.lars
}
check "links over shm:// end in the same bits" over_shm
whole_shm() { # command before encode
    stages none "shm://$name" "$@" && cmp plain.state none.state && ! grep "shared memory of shm" none.err none.lars
}
check "with SIMCLR_SHARED_MEMORY=0 at one end frames are whole" whole_shm SIMCLR_SHARED_MEMORY=0
check "at the other end as well" eval 'SIMCLR_SHARED_MEMORY=0 whole_shm SIMCLR_SHARED_MEMORY=1'
too_little() {
    local status=0
    lars --listen "shm://$name" --state little.state 2>/dev/null &
    in_time encode --width 0.25 --threads 1 --max-frame 4000000 --opt "shm://$name" \
        --next 'exec:project --layers 0 --next exec:ntxent 2>/dev/null' <views.st || status=$?
    wait
    return $status
}
check_fails 1 "if there is no memory, there is no run" \
    "^encode: shm://$name: its [0-9]* bytes of shared memory in [0-9]* segments are as many as --max-frame 4000000 allows" too_little
for bad in '' a/b 'a b' @a ä "$(printf 'x%.0s' {1..65})"; do
    check_fails 1 "no name: '$bad'" "^[a-z]*: shm://.*: the name must have 1 to 64 letters" lars --state a.state --listen "shm://$bad"
done
check_fails 1 "no name for a link" "the name must have" project --layers 0 --next shm://a/b --out project.st
check_fails 1 "no name in a list" "the name must have" inspect --in "shm://$name,shm://a:b"
same_name() {
    inspect --timeout 5 --in "shm://$name" 2>/dev/null &
    listens "$name"
    inspect --in "shm://$name" || { kill $! && return 1; }
}
listens() { # NAME
    for _ in $(seq 1200); do
        grep -q "@simclr-$(id -u)-$1\$" /proc/net/unix && return
        sleep 0.05
    done
    return 1
}
check_fails 1 "two programs at one name" "shm://$name: Address already in use" same_name
streamed() { # the writer comes first
    augment --data shapes --batch 8 --steps 3 --turn 0/2 --out "shm://$name.0" 2>/dev/null &
    augment --data shapes --batch 8 --steps 3 --turn 1/2 --out "shm://$name.1" 2>/dev/null &
    sleep 0.2
    in_time inspect --in "shm://$name.0,shm://$name.1" | grep -v ' seq ' >there && wait &&
        augment --data shapes --batch 8 --steps 3 2>/dev/null | inspect | grep -v ' seq ' | cmp - there
}
check "a stream over shm://, and a list" streamed
check_fails 1 "no writer" "shm://$name: nobody sent anything within 0.2 s" inspect --timeout 0.2 --in "shm://$name"
check_fails 1 "no reader" "shm://$name: nobody answered within 0.2 s" augment --data shapes --timeout 0.2 --out "shm://$name"
hung_up() { # a server that dies before it has said anything is none: the writer waits for the next one
    python3 -c '
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind("\0simclr-" + sys.argv[1])
server.listen()
client, _ = server.accept()
server.close()
client.close()' "$(id -u)-$name" &
    local dies=$!
    listens "$name"
    augment --data shapes --batch 8 --steps 3 --out "shm://$name" &
    wait $dies && in_time inspect --in "shm://$name" >there && wait $!
}
check "a server that dies before it has answered" hung_up
reader_goes() {
    inspect --limit 1 --in "shm://$name" >/dev/null &
    in_time augment --data shapes --batch 8 --out "shm://$name"
}
check_fails 1 "a reader that goes away" "shm://$name: the connection was lost" reader_goes
# ---- what is left ----
segments() { # of a process
    grep -c 'memfd:simclr' "/proc/$1/maps" || true
}
descriptors() {
    find "/proc/$1/fd" -mindepth 1 -printf '%l\n' 2>/dev/null | grep -c memfd || true
}
# Starts a run that reads its views from a fifo, over exec:, ipc:// or shm://. Sets the numbers of its processes.
start() {
    rm -f in.fifo out.fifo lars.pid kill.ipc
    mkfifo in.fifo out.fifo
    local opt='exec:echo $$ >lars.pid; exec lars --model kill.model 2>lars.err'
    if [ "$1" != exec ]; then
        opt=$1://kill.ipc
        [ "$1" = ipc ] || opt=shm://$name
        lars --listen "$opt" --model kill.model 2>lars.err &
        echo $! >lars.pid
    fi
    encode --width 0.25 --threads 1 --opt "$opt" --next 'exec:project --layers 0 --next exec:ntxent 2>/dev/null' \
        <in.fifo >out.fifo 2>encode.err &
    encode=$!
    exec 8>in.fifo 9<out.fifo
    augment --data shapes --batch 8 --steps 100000 --threads 1 >&8 8>&- 9<&- 2>/dev/null &
    augment=$!
    step 2 || return 1 # buckets are known, and both sets of segments made
    lars=$(cat lars.pid)
}
cat >answers.py <<'END_OF_ANSWERS'
"""Reads N frames without data from descriptor 9."""
import struct
import sys

with open(9, "rb", buffering=0, closefd=False) as f:
    def exactly(n):
        data = b""
        while len(data) < n:
            more = f.read(n - len(data))
            if not more:
                sys.exit("no more answers")
            data += more
        return data
    for _ in range(int(sys.argv[1])):
        exactly(struct.unpack("<Q", exactly(8))[0])
END_OF_ANSWERS
step() {
    in_time python3 answers.py "$1"
}
stop() {
    exec 8>&- 9<&-
    wait "$augment" "$encode" "$lars" 2>/dev/null || true
}
counts() {
    echo "$(segments "$encode") $(segments "$lars") $(descriptors "$encode") $(descriptors "$lars")"
}
bounded() { # exec|ipc|shm
    local first second status=0
    start "$1" || return 1
    first=$(counts)
    step 6 || return 1
    second=$(counts)
    echo "segments and descriptors: $first, then $second"
    [[ $first = "$second" && $first =~ ^[1-9][0-9]*\ [1-9][0-9]*\ 0\ 0$ ]] || status=1
    stop
    return $status
}
killed_server() {
    start "$1" || return 1
    kill -9 "$lars"
    cat <&9 >/dev/null
    stop
    cat encode.err
    [ "$(grep -c . encode.err)" = 1 ] && grep -Eq "^encode: $2\$" encode.err
}
killed_client() {
    start "$1" || return 1
    kill -9 $encode
    stop
    in_time tail --pid="$lars" -f /dev/null
    cat lars.err
    [ "$(grep -c . lars.err)" = 1 ] && grep -Eq "^lars: $2\$" lars.err
}
unset SIMCLR_EDGES
for kind in exec ipc shm; do
    check "over $kind the number of segments does not grow, and no descriptor stays open" bounded $kind
done
check "an optimizer at exec: that is killed is one line" killed_server exec 'exec:echo .* was killed by SIGKILL'
check "one at ipc:// as well" killed_server ipc 'ipc://kill.ipc: the connection was lost'
# The system tells a command that its parent has died (child.c). It may hear that before its stdin ends.
check "a stage that is killed is one line to its command" \
    killed_client exec '(stdin: (ended without an end frame: its producer died( after [0-9]+ steps)?|truncated .*)|stopped by SIGTERM( after [0-9]+ steps)?)'
check "and to a server at ipc://" killed_client ipc 'ipc://kill.ipc: client 0 went away without an end frame'
nothing_left() {
    ! grep "$name" /proc/net/unix && ! find . /dev/shm -name "*$name*" | grep .
}
check "an optimizer at shm:// that is killed" killed_server shm "shm://$name: the connection was lost"
check "leaves nothing" nothing_left
check "a stage that is killed" killed_client shm "shm://$name: client 0 went away without an end frame"
check "leaves nothing, either" nothing_left

# ---- other users ----
nobody() { # runs Python as another user
    exec setpriv --reuid 65534 --clear-groups /usr/bin/python3 -c "$@"
}
if [ "$(id -u)" = 0 ] && (nobody '') 2>/dev/null; then
    # Another user connects to both sockets of an optimizer at work, and is hung up on.
    knocks() {
        local status=0
        start shm || return 1
        (nobody '
import socket, sys
sockets = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for each, address in zip(sockets, sys.argv[1:]):
    each.settimeout(60)
    each.connect("\0" + address)
print("connected", flush=True)
for each in sockets:
    try:
        if each.type == socket.SOCK_SEQPACKET:
            each.send(b"simclr1:0123456789abcdef")
        assert not each.recv(1)
    except (ConnectionResetError, BrokenPipeError): # it hung up before it was asked
        pass
' "simclr-0-$name" "simclr-shm-1-0-$name" >knocks.out) &
        local knocks=$!
        for _ in $(seq 1200); do
            [ ! -s knocks.out ] || break
            sleep 0.05
        done
        step 1 && wait $knocks && step 1 || status=1
        stop
        return $status
    }
    check "a server hangs up on other users" knocks
    if python_has zmq; then
        occupied() { # another user has the name, and takes what comes
            local status=0
            (nobody '
import sys, zmq
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind("ipc://@simclr-0-" + sys.argv[1])
input()
if socket.poll(100):
    print(socket.recv_multipart())
' "$name" <in.fifo >taken) &
            exec 8>in.fifo
            listens "$name"
            in_time encode --width 0.25 --threads 1 --opt "shm://$name" \
                --next 'exec:project --layers 0 --next exec:ntxent 2>/dev/null' <views.st 8>&- || status=1
            echo >&8
            exec 8>&-
            wait $! && [ ! -s taken ] && return $status
        }
        check_fails 1 "a client sends nothing to another user" "^encode: shm://$name: a process of another user has this name" occupied
    else
        skip "a client of another user" "python3-zmq is not installed"
    fi
else
    skip "other users" "this needs root, and setpriv"
fi
done_testing
