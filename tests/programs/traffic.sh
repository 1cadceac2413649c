#!/usr/bin/env bash
# Tests of SIMCLR_EDGES: programs must report exactly the bytes and messages that they exchanged.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive SIMCLR_EDGES=1

views() {
    augment --data shapes --batch 8 --steps 3 --threads 1 "$@"
}
encoder=(encode --width 0.25 --threads 1)
head='project --threads 1'
# A line has: program, edge, what is counted, 3 out 7 in 8 waited 0.123
edge() { # FILE, regex of program and edge, what is counted
    sed -n "s#^$2: $3 \([0-9]* out [0-9]* in [0-9]* waited [0-9]*\.[0-9]\{3\}\)\$#\1#p" "$1"
}
is() { # FILE, regex, what, count, bytes out, bytes in
    local count out in
    read -r count _ out _ in _ <<<"$(edge "$1" "$2" "$3")"
    echo "$2: $count $3, $out out, $in in, wanted: $4, $5, $6"
    [ "$count $out $in" = "$4 $5 $6" ]
}
size() {
    wc -c <"$1"
}
frames() {
    inspect "$1" 2>/dev/null | grep -c '^frame'
}

# ---- streams ----
stream() {
    views 2>augment.err | tee views.st | "${encoder[@]}" 2>encode.err >h.st &&
        inspect h.st 2>inspect.err >/dev/null
}
check "a stream" stream
check "its writer reports its bytes" is augment.err 'augment: edge stdout' frames 3 "$(size views.st)" 0
check "its reader reports its bytes" is encode.err 'encode: edge stdin' frames 3 0 "$(size views.st)"
check "what the reader writes is reported" is encode.err 'encode: edge stdout' frames 3 "$(size h.st)" 0
check "the reader of a file reports its bytes" is inspect.err 'inspect: edge h.st' frames 3 0 "$(size h.st)"
check "there are no other lines" test "$(cat ./*.err | wc -l)" = 4
to_files() {
    views --out copy.st 2>copy.err && is copy.err 'augment: edge copy.st' frames 3 "$(size copy.st)" 0 &&
        views --out /dev/null 2>null.err &&
        is null.err 'augment: edge /dev/null' frames 3 "$(size copy.st)" 0
}
check "streams to a file and to /dev/null" to_files
over_a_socket() { # each frame has the key `seq` there, for which its header may have room or not
    local count out
    "${encoder[@]}" --in ipc://views.ipc 2>pull.err >/dev/null &
    views --out ipc://views.ipc 2>push.err && wait $! || return 1
    read -r count _ out _ <<<"$(edge push.err 'augment: edge ipc://views.ipc' frames)"
    [ "$count" = 3 ] && [ "$out" -ge "$(size views.st)" ] && [ "$out" -le $(($(size views.st) + 4 * 64)) ] &&
        is pull.err 'encode: edge ipc://views.ipc' frames 3 0 "$out"
}
check "a stream over a socket" over_a_socket

# ---- links ----
link() {
    "${encoder[@]}" --opt 'exec:tee out.st | lars --model model.st 2>lars.err | tee in.st' \
        --next "exec:$head --opt exec:lars --next exec:ntxent 2>others.err" \
        <views.st >metrics.st 2>client.err
}
check "a link by exec" link
link='encode: edge exec:tee out.st | lars .*'
check "a client of a link by exec" is client.err "$link" requests "$(frames out.st)" "$(size out.st)" "$(size in.st)"
check "the requests of its server" is lars.err 'lars: edge stdin' frames "$(frames out.st)" 0 "$(size out.st)"
check "the replies of its server" is lars.err 'lars: edge stdout' frames "$(frames in.st)" "$(size in.st)" 0
two_lines() {
    project --layers 0 --next $'exec:true\nexec ntxent' <h.st >/dev/null 2>lines.err
    grep -q '^project: edge exec:true?exec ntxent: requests 3 ' lines.err
}
check "a command of two lines is reported in one line" two_lines

cat >proxy.py <<'END_OF_PROXY'
"""Between one client and one server: prints bytes of requests and of replies, ends included."""
import sys

import zmq

front, back = (zmq.Context.instance().socket(kind) for kind in (zmq.ROUTER, zmq.DEALER))
front.bind(sys.argv[1])
back.connect(sys.argv[2])
out = into = waiting = 0
while True:
    client, request = front.recv_multipart()
    out += len(request)
    back.send(request)
    if b'"end":"1"' in request:
        break
    reply = back.recv()
    into += len(reply)
    front.send_multipart([client, reply])
back.close()
print(out, into)
END_OF_PROXY
through_a_proxy() {
    local pids=()
    ntxent --listen ipc://loss.ipc 2>loss.err &
    pids+=($!)
    in_time /usr/bin/python3 proxy.py ipc://proxy.ipc ipc://loss.ipc >sizes &
    pids+=($!)
    project --layers 0 --next ipc://proxy.ipc <h.st >/dev/null 2>ipc.err && wait "${pids[@]}"
}
if python_has zmq; then
    check "a link over ipc" through_a_proxy
    read -r out in <sizes
    check "the client of a link over ipc" is ipc.err 'project: edge ipc://proxy.ipc' requests 3 "$out" "$in"
    check "the server of a link over ipc" is loss.err 'ntxent: edge ipc://loss.ipc' served 3 "$in" "$out"
else
    skip "a link over ipc" "python3-zmq is not installed"
fi
# The bytes that two workers report as sent must be those that reduce reports as received.
workers() {
    local rank pids=()
    reduce --world 2 --listen ipc://reduce.ipc --next 'exec:lars --model /dev/null' 2>reduce.err &
    pids+=($!)
    gather --world 2 --listen ipc://gather.ipc \
        --next "exec:$head --opt 'exec:lars --model /dev/null' --next exec:ntxent" 2>gather.err &
    pids+=($!)
    for rank in 0 1; do
        views --shard $rank/2 2>/dev/null |
            "${encoder[@]}" --opt ipc://reduce.ipc --next ipc://gather.ipc >/dev/null 2>worker$rank.err &
        pids+=($!)
    done
    wait "${pids[@]}"
}
check "a run of two workers" workers
sums() {
    local name=$1 a b
    a=$(edge worker0.err "encode: edge ipc://$name.ipc" requests)
    b=$(edge worker1.err "encode: edge ipc://$name.ipc" requests)
    read -r count _ in _ out _ <<<"$(printf '%s\n' "$a" "$b" |
        awk '{ n += $1; out += $3; in_ += $5 } END { print n, "out", out, "in", in_ }')"
    is "$name.err" "$name: edge ipc://$name.ipc" served "$count" "$out" "$in"
}
check "together they report what reduce served" sums reduce
check "together they report what gather served" sums gather

# ---- waiting ----
waits() { # FILE, regex, what is counted: the line has a waiting time
    edge "$1" "$2" "$3" | awk '{ print } END { exit !($NF >= 0.3 && $NF < 100) }'
}
slow() {
    { sleep 1 && cat h.st; } | project --layers 0 --next 'exec:sleep 4; exec ntxent' >/dev/null 2>slow.err
}
check "a program that waits" slow
check "it reports that it waits for a stream" waits slow.err 'project: edge stdin' frames
check "it reports that it waits for a reply" waits slow.err 'project: edge exec:sleep 4; exec ntxent' requests
large() { # a stream that is larger than a pipe
    views --size 224 --policy eval 2>large.err | { sleep 3 && cat >/dev/null; }
}
check "a writer that waits" large
check "it reports that it waits for a reader" waits large.err 'augment: edge stdout' frames

# ---- nothing ----
silent() {
    "${encoder[@]}" <views.st 2>silent.err | project --layers 0 --next exec:ntxent >/dev/null 2>>silent.err
    cat silent.err
    [ ! -s silent.err ]
}
for value in '' 0; do
    export SIMCLR_EDGES=$value
    check "with SIMCLR_EDGES='$value' there is no report" silent
done
unset SIMCLR_EDGES
check "without SIMCLR_EDGES there is no report" silent
export SIMCLR_EDGES=1
broken() {
    head -c 100 h.st | project --layers 0 --next 'exec:cat >/dev/null'
}
check_fails 1 "the traffic of a truncated stream is not reported either" '^project: stdin: truncated' broken
done_testing
