#!/usr/bin/env bash
# Tests of links and streams: peers that answer, misbehave, die, or never come.
# `project --layers 0` is a client without parameters, ntxent a server.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "links" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
peer="/usr/bin/python3 $ROOT/tests/programs/peer.py $ROOT"
py() {
    /usr/bin/python3 "$ROOT/tests/programs/peer.py" "$ROOT" "$@"
}
py make
# Sends the frames of h.st to a server. The file has an end frame before its end.
ask() { # LINK, options
    project --layers 0 --timeout 60 --next "$@" <h.st
}
gone() { # PID file: succeeds if that process ends
    local pid
    pid=$(cat "$1")
    for _ in $(seq 1200); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.05
    done
    return 1
}
appears() { # waits until a file or socket exists
    for _ in $(seq 1200); do
        [ ! -e "$1" ] || return 0
        sleep 0.05
    done
    return 1
}

# ---- coprocesses ----
halved() {
    ask "exec:$peer serve ok" >replies && py check replies 5
}
check "a coprocess answers" halved
check_fails 1 "exits at once" "^project: exec:.*: ended before it had answered" ask "exec:$peer serve early"
check_fails 1 "exits with a status" "exited with status 3" ask "exec:$peer serve three"
check_fails 1 "is killed" "was killed by SIGKILL" ask "exec:exec $peer serve kill"
check_fails 1 "is killed later" "was killed by SIGKILL" ask "exec:exec $peer serve kill-later"
check_fails 1 "does not exist" "exited with status 127" ask "exec:nonesuch-program 2>/dev/null"
check_fails 1 "never answers" "^project: exec:.*serve silent: no answer within 1 s" \
    in_time project --layers 0 --timeout 1 --next "exec:exec $peer serve silent" --in h.st
check_fails 1 "closes its output and stays" "closed its output" \
    in_time project --layers 0 --timeout 10 --next "exec:exec $peer serve closed" --in h.st
check_fails 1 "answers nonsense" "bad header" ask "exec:$peer serve damaged"
check_fails 1 "answers with an absurd length" "not a frame" ask "exec:$peer serve length"
check_fails 1 "answers with half a frame" "truncated in" ask "exec:$peer serve half"
check_fails 1 "answers with an error" "serve error: peer: it hurts\?here" ask "exec:$peer serve error"
# The coprocess has ended while encode still computes and sends.
last_words() {
    augment --data shapes --batch 64 --steps 1 2>/dev/null |
        encode --width 0.25 --opt "exec:$peer last_words" \
            --next "exec:project --layers 0 --next exec:ntxent 2>/dev/null" >metrics.st
}
check_fails 1 "fails while a step is computed" '^encode: exec:.*last_words: peer: it hurts' last_words
check_fails 1 "answers another request" "answered request 1, where 0 was next" ask "exec:$peer serve seq"
check_fails 1 "ends instead of answering" "ended before it had answered" ask "exec:$peer serve end"
check_fails 1 "fails after its last answer" "exited with status 3" ask "exec:$peer serve late-three"
check_fails 1 "stays after the end" "did not end within 8 s" \
    in_time project --layers 0 --timeout 8 --next "exec:exec $peer serve stay" --in h.st
check_fails 1 "is no link" "a link is exec:CMD" ask h.st

# ---- several requests in flight, larger than any pipe ----
train() { # --opt LINK, --next LINK
    in_time project --layers 2 --hidden 768 --dim 768 --threads 1 --opt "$1" --next "$2" <wide.st >train.out
}
lars_="lars --lr 0.1 --warmup-steps 0 --model"
check "several gradient requests in flight over a pipe" train "exec:$lars_ pipe.st" exec:ntxent
over_ipc() {
    ntxent --listen "ipc://$T/loss.ipc" &
    $lars_ ipc.st --listen "ipc://$T/opt.ipc" &
    train "ipc://$T/opt.ipc" "ipc://$T/loss.ipc" && wait && cmp pipe.st ipc.st &&
        [ ! -e loss.ipc ] && [ ! -e opt.ipc ]
}
check "over ipc: the same bits, and no socket file is left" over_ipc
over_tcp() {
    local a b
    read -r a b <<<"$(py ports 2)"
    ntxent --listen "tcp://127.0.0.1:$a" &
    $lars_ tcp.st --listen "tcp://127.0.0.1:$b" &
    train "tcp://127.0.0.1:$b" "tcp://localhost:$a" && wait && cmp pipe.st tcp.st
}
check "over tcp: the same bits" over_tcp

# ---- no process or file is left ----
mkfifo in
start_with_child() { # leaves $client running, and the number of its coprocess in the file child
    rm -f child
    project --layers 0 --next "exec:echo \$\$ >child; exec sleep 1000" <in >out 2>err &
    client=$!
    exec 9>in
    appears child
}
stop_by() { # signal, expected status
    local status=0
    start_with_child
    kill "-$1" $client
    wait $client 2>/dev/null || status=$?
    exec 9>&-
    [ $status = "$2" ] && gone child
}
check "SIGTERM ends the client and its coprocess" stop_by TERM 1
one_line() {
    [ "$(cat err)" = "project: stopped by SIGTERM" ]
}
check "after SIGTERM the client prints one line" one_line
check "SIGKILL of the client ends its coprocess, too" stop_by KILL 137
stop_server() {
    local status=0
    ntxent --listen "ipc://$T/stop.ipc" 2>err &
    appears stop.ipc && kill $! && { wait $! || status=$?; } && [ $status = 1 ] &&
        grep -q 'stopped by SIGTERM' err && [ ! -e stop.ipc ]
}
check "a server that is stopped leaves no socket file" stop_server

# ---- streams on pipes and files ----
loss() {
    ntxent "$@"
}
unended() {
    sh -c 'cat noend.st | ntxent >broken.st'
}
check_fails 1 "end of file without an end frame" 'stdin: ended without an end frame' unended
no_end_frame() {
    [ "$(inspect broken.st 2>&1 | grep -c '^frame')" = 2 ] && ! grep -q '"end"' broken.st
}
check "a failure reaches the reader as a stream without an end frame" no_end_frame
check_fails 1 "and as an error to the next" 'ntxent: stdin: ended without' \
    sh -c 'cat broken.st | inspect >inspected'
joined() {
    [ "$(cat z.st z.st | ntxent | inspect | grep -c '^frame')" = 40 ]
}
check "streams can be concatenated" joined
regular() {
    ntxent <noend.st >two.st && [ "$(inspect two.st | grep -c '^frame')" = 2 ]
}
check "a file needs no end frame" regular
fifo() {
    mkfifo pipe
    ntxent --in z.st --out pipe &
    [ "$(inspect pipe | grep -c '^frame')" = 20 ] && wait
}
check "a FIFO for input and for output" fifo
reader_gone() {
    { ntxent <large.st 2>err; echo $? >status; } | head -c 100 >/dev/null
    [ "$(cat status)" = 1 ] && [ "$(cat err)" = "ntxent: stdout: its reader is gone" ]
}
check "a reader that goes away ends the writer" reader_gone
check_fails 1 "a reading coprocess that goes away" "ntxent: exec:exit 5: exited with status 5" \
    ntxent --in large.st --out "exec:exit 5"
check_fails 1 "a closed stdout" "stdout: Bad file descriptor" sh -c 'ntxent <z.st >&-'
check_fails 1 "a full disk" "stdout: No space left" sh -c 'ntxent <z.st >/dev/full'
sums() {
    ntxent --crc <z.st >crc.st && inspect crc.st >/dev/null && grep -q crc32 crc.st
}
check "--crc writes checksums" sums
size=$(stat -c %s crc.st)
at=$(($(od -An -tu8 -N8 crc.st) + 8 + 10)) # a byte in the data of the first frame
{
    head -c $at crc.st
    printf '\377\376'
    tail -c +$((at + 3)) crc.st
} >damaged.st
check "the damaged copy has the same length" test "$(stat -c %s damaged.st)" = "$size"
check_fails 1 "a damaged byte" "damaged.st: the data's CRC-32 is" inspect damaged.st
check_fails 1 "--max-frame" "over the limit of 100 |longer than 100" inspect --max-frame 100 z.st

if ! python_has zmq; then
    skip "peers over ZeroMQ" "python3-zmq is not installed"
    done_testing
    exit
fi

# ---- ZeroMQ ----
server_later() { # address
    { sleep 0.4 && exec ntxent --timeout 60 --listen "$1"; } &
    py ask "$1" well && wait $!
}
check "over ipc, a client that starts before its server" server_later "ipc://$T/later.ipc"
read -r p1 p2 p3 p4 <<<"$(py ports 4)"
check "over tcp, a client that starts before its server" server_later "tcp://127.0.0.1:$p1"
over_ipv6() {
    ntxent --listen "tcp://[::1]:$p1" &
    ask "tcp://[::1]:$p1" >replies && wait $!
}
if grep -q '^00000000000000000000000000000001' /proc/net/if_inet6 2>/dev/null; then
    check "over IPv6, a client that starts before its server" over_ipv6
else
    skip "over IPv6" "no ::1 on this machine"
fi
by_req() {
    ntxent --listen "ipc://$T/req.ipc" &
    py ask "ipc://$T/req.ipc" req && wait $!
}
check "a REQ socket receives its empty part again" by_req
bound() { # address
    $peer bind "$1" ok &
    ask "$1" >replies && wait $! && py check replies 5
}
check "a server in Python, over ipc" bound "ipc://$T/python.ipc"
check "a server in Python, over tcp" bound "tcp://127.0.0.1:$p2"
server_dies() {
    ($peer bind "ipc://$T/dies.ipc" kill-later &)
    in_time project --layers 0 --next "ipc://$T/dies.ipc" --in h.st
}
check_fails 1 "a server that is killed" "ipc://.*/dies.ipc: the connection was lost" server_dies
bind_error() { # how it fails, seconds until the client gives up
    $peer bind "ipc://$T/$1.ipc" "$1" &
    local status=0
    in_time project --layers 0 --timeout "${2:-60}" --next "ipc://$T/$1.ipc" --in h.st || status=$?
    kill $!
    return $status
}
check_fails 1 "an error frame over ipc" "error.ipc: peer: it hurts" bind_error error
check_fails 1 "a wrong seq over ipc" "seq.ipc: answered request 1" bind_error seq
check_fails 1 "nonsense over ipc" "damaged.ipc: .*header" bind_error damaged
check_fails 1 "silence over ipc" "silent.ipc: no answer within 5 s" bind_error silent 5
serve_to() { # the behaviour of a client
    ($peer ask "ipc://$T/$1.ipc" "$1" 2>/dev/null &)
    in_time ntxent --listen "ipc://$T/$1.ipc"
}
check_fails 1 "a client that is killed" "killed.ipc: client 0 went away without an end frame" serve_to killed
serve_beside() { # a stranger connects first, then a client
    ntxent --timeout 60 --listen "ipc://$T/$1.ipc" 2>beside.err &
    $peer ask "ipc://$T/$1.ipc" "$1" && $peer ask "ipc://$T/$1.ipc" well && wait $! && cat beside.err
}
check "a client after a peer that sends nothing" serve_beside mute
check "the peer that sends nothing is not reported" test ! -s beside.err
check "a client after a peer that sends nonsense" serve_beside garbage
check "the peer that sends nonsense is reported" grep -qE 'garbage.ipc: refused a peer: a message: ' beside.err
check_fails 1 "no server" "none.ipc: nobody answered within 0.5 s" \
    in_time project --layers 0 --timeout 0.5 --next "ipc://$T/none.ipc" --in h.st
check_fails 1 "no client" "none.ipc: no client came within 0.5 s" \
    in_time ntxent --timeout 0.5 --listen "ipc://$T/none.ipc"
listens() { # address: waits until a process listens there
    local at=${1#*://}
    case $1 in
    ipc:*) appears "$at" ;;
    *) for _ in $(seq 1200); do
        (exec 3<>"/dev/tcp/${at%:*}/${at##*:}") 2>/dev/null && return
        sleep 0.05
    done ;;
    esac
}
in_use() { # address
    ntxent --listen "$1" 2>/dev/null &
    listens "$1"
    ntxent --timeout 1 --listen "$1"
    local status=$?
    kill $!
    return $status
}
check_fails 1 "an address in use, tcp" "Address already in use" in_use "tcp://127.0.0.1:$p3"
check_fails 1 "an address in use, ipc" "Address already in use" in_use "ipc://$T/used.ipc"
echo precious >file
check_fails 1 "a file where the socket should be" "a file that is no socket is in the way" \
    ntxent --listen "ipc://$T/file"
check "the file still exists" grep -q precious file
check_fails 1 "--listen on a file" "only tcp://addr:port, ipc://path and shm://name" ntxent --listen file
stale() {
    rm -f stale.ipc
    ntxent --listen "ipc://$T/stale.ipc" &
    appears stale.ipc && kill -9 $! && ! wait $! && [ -e stale.ipc ] && server_later "ipc://$T/stale.ipc"
}
check "a server replaces the socket file of a killed one" stale

for address in "tcp://0.0.0.0:$p4" "tcp://*:$p4"; do
    check_fails 1 "$address without keys" "is not on this machine" ntxent --listen "$address"
done
for address in tcp://example.org:9 tcp://127.example.org:9 tcp://10.0.0.1:9; do
    check_fails 1 "a client of $address without keys" "is not on this machine" ask "$address"
done
check_fails 1 "--insecure allows it" "no client came" \
    ntxent --insecure --timeout 0.3 --listen "tcp://0.0.0.0:$p4"

py keys
curve() { # port, client's options
    local port=$1 status=0
    shift
    in_time ntxent --timeout 6 --curve-key server.key --listen "tcp://127.0.0.1:$port" 2>server.err &
    project --layers 0 --next "tcp://127.0.0.1:$port" --in h.st --out replies "$@" || status=$?
    wait $! || status=$?
    return $status
}
check "keys on both sides are accepted" curve "$p4" --curve-key client.key --curve-server-key server.pub
check_fails 1 "a wrong key of the server" "refused the handshake" \
    curve "$p4" --timeout 5 --curve-key client.key --curve-server-key other.pub
check_fails 1 "no keys at all" "nobody answered|refused the handshake" curve "$p4" --timeout 5
check "the server served neither of them" grep -q 'no client came' server.err
check_fails 1 "only the client's key" "curve-server-key is missing" \
    project --layers 0 --curve-key client.key --next "tcp://127.0.0.1:$p4" --in h.st
chmod 644 client.key
check_fails 1 "a secret key that others can read" "client.key: .*chmod 600" \
    ntxent --curve-key client.key --listen "tcp://127.0.0.1:$p4"
chmod 600 other.key && echo short >other.key
check_fails 1 "a file that is not a key" "other.key: not a CURVE key" \
    ntxent --curve-key other.key --listen "tcp://127.0.0.1:$p4"

# ---- streams over ZeroMQ ----
stream() { # address
    ntxent --in z.st --out "$1" &
    inspect --in "$1" >there && wait $! && ntxent <z.st | inspect | grep -v seq >here &&
        grep -v seq there | cmp - here
}
check "a stream over ipc" stream "ipc://$T/stream.ipc"
check "a stream over tcp" stream "tcp://127.0.0.1:$p1"
slow_reader() { # address
    rm -f bound
    $peer pull "$1" 0.2 >steps &
    while [ ! -e bound ] && kill -0 $!; do
        sleep 0.01
    done
    ntxent --timeout 2 --in z.st --out "$1" && wait $! && [ "$(cat steps)" = "$(seq -s' ' 0 19)" ]
}
check "over ipc, a reader that is slower than the timeout" slow_reader "ipc://$T/slow.ipc"
check "over tcp, a reader that is slower than the timeout" slow_reader "tcp://127.0.0.1:$p2"
order() {
    $peer push "ipc://$T/order.ipc" 2 0 3 1 end &
    inspect --in "ipc://$T/order.ipc" | grep step >steps && wait $! &&
        [ "$(tr -dc '0-3' <steps)" = 0123 ]
}
check "frames that arrive out of order are put in order" order
pushed() { # seqs
    $peer push "ipc://$T/pushed.ipc" "$@" &
    in_time inspect --in "ipc://$T/pushed.ipc" >/dev/null
}
check_fails 1 "a writer that dies" "pushed.ipc: ended without an end frame" pushed 0 1
check_fails 1 "a frame that comes twice" "pushed.ipc: frame 0 came twice" pushed 0 0 1
check_fails 1 "no writer" "nobody sent anything within 0.5 s" \
    in_time inspect --timeout 0.5 --in "ipc://$T/nobody.ipc"
check_fails 1 "no reader" "nobody answered within 0.5 s" \
    in_time ntxent --timeout 0.5 --in z.st --out "ipc://$T/nobody.ipc"
reader_dies() {
    inspect --limit 1 --in "ipc://$T/limit.ipc" >/dev/null &
    in_time ntxent --in large.st --out "ipc://$T/limit.ipc"
}
check_fails 1 "a reader that goes away" "limit.ipc: the connection was lost" reader_dies

nothing_left() {
    [ -z "$(find . -type s ! -name stale.ipc)" ] && ! pgrep -f "$T/" >/dev/null
}
rm -f dies.ipc error.ipc seq.ipc damaged.ipc silent.ipc python.ipc slow.ipc # Python's
check "no socket and no process is left" nothing_left
done_testing
