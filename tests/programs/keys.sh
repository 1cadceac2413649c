#!/usr/bin/env bash
# Tests of keys for tcp links on one machine: keygen, and which clients a server accepts.
# tests/full/hosts.sh tests them between machines.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

port=7000
next_port() { # sets $at to an address that nobody uses
    port=$((port + 1))
    at=tcp://$LOOPBACK:$port
}

# ---- keygen ----
pair() {
    (umask 0 && keygen wide) && [ "$(stat -c %a wide.key wide.pub)" = $'600\n666' ] &&
        (umask 077 && keygen own) && [ "$(stat -c %a own.key own.pub)" = $'600\n600' ] &&
        [ "$(cat wide.key wide.pub own.key own.pub | sort -u | grep -cE '^[!-~]{40}$')" = 4 ]
}
check "keygen makes two files, the secret one private whatever the umask" pair
untouched() { # NAME, its content: checks that this file is unchanged, and that there is no new one
    [ "$(cat "$1")" = before ] && [ "$(find . -name "${1%.*}.*" | wc -l)" = 1 ]
}
echo before >a.key
check_fails 1 "an existing secret key" "^keygen: a.key: is there already" keygen a
check "the existing key is unchanged" untouched a.key
echo before >b.pub
check_fails 1 "an existing public key" "^keygen: b.pub: is there already" keygen b
check "no secret key is left then" untouched b.pub
ln -s elsewhere c.key
check_fails 1 "a symbolic link in place of the key" "c.key: is there already" keygen c
check "the link still leads nowhere" test ! -e elsewhere -a ! -e c.pub
check_fails 1 "a missing folder" "^keygen: none/a.key: No such file" keygen none/a
check_fails 2 "no name" "one NAME is needed, not 0" keygen
check_fails 2 "two names" "one NAME is needed, not 2" keygen a b
check_fails 2 "an empty name" "an empty NAME" keygen ''
check_fails 2 "an unknown option" "unknown option" keygen --name a

# ---- which clients are accepted ----
for name in server one two other; do
    keygen $name
done
augment --data shapes --batch 4 --steps 2 | encode --width 0.25 >h.st
serve() { # options: at $at, in the background
    in_time ntxent --timeout 60 --curve-key server.key --listen "$at" "$@" 2>server.err &
    server=$!
}
ask() { # NAME of the keys, options
    local name=$1
    shift
    in_time project --layers 0 --timeout 60 --curve-key "$name.key" --curve-server-key server.pub \
        --next "$at" --in h.st --out replies "$@"
}
{
    echo "# who may train"
    echo
    cat one.pub
    echo "  $(cat two.pub)	the second machine"
} >clients

listed() { # NAME
    next_port
    serve --curve-clients clients
    ask "$1" && wait $server && [ ! -s server.err ] && [ "$(inspect replies | grep -c ^frame)" = 2 ]
}
check "a client that is in the list is accepted" listed one
check "a client with a name, written after spaces, is accepted" listed two
check "a public key file is a list of one client" eval 'cp one.pub clients && listed one'
refused() {
    local status=0
    next_port
    serve --curve-clients clients
    ask other || status=$?
    ask one && wait $server && return $status
}
check_fails 1 "a client that is not in the list is refused at once" \
    "^project: tcp://[0-9.:]*: refused this program's key: it is not among the clients" refused
told() {
    [ "$(cat server.err)" = "ntxent: $at: refused a client whose key is not in clients ($(cat other.pub))" ]
}
check "the server prints the key of a refused client and serves the others" told
without() {
    next_port
    serve
    ask other && wait $server
}
check "without a list any client with a key is accepted" without
unencrypted() {
    local status=0
    next_port
    serve --curve-clients clients
    in_time project --layers 0 --timeout 5 --next "$at" --in h.st || status=$?
    ask one && wait $server && return $status
}
check_fails 1 "a client without keys" "refused the handshake" unencrypted
many() {
    next_port
    serve --curve-clients clients
    for _ in $(seq 13); do
        ask other && return 1
    done
    ask one && wait $server && [ "$(grep -c "refused a client" server.err)" = 10 ] &&
        [ "$(sed -n '11,$p' server.err)" = "ntxent: $at: more clients were refused; these are not shown" ]
}
check "many refusals are reported in ten lines and a summary" many

# ---- streams ----
stream() { # NAME of the writer's keys
    in_time augment --data shapes --batch 4 --steps 3 --timeout 60 --curve-key "$1.key" \
        --curve-server-key server.pub --out "$at"
}
read_from() {
    in_time inspect --timeout 60 --curve-key server.key --curve-clients clients --in "$at" \
        >there 2>reader.err &
    reader=$!
}
two_writers() {
    local status=0
    next_port
    read_from
    stream other || status=$?
    stream one && wait $reader && [ "$(grep -c ^frame there)" = 3 ] && return $status
}
check_fails 1 "a stream's writer that is not listed" "refused this program's key" two_writers
reader_told() {
    grep -qF "inspect: $at: refused a client whose key is not in clients ($(cat other.pub))" reader.err
}
check "the reader prints the key of a refused writer and reads from the other one" reader_told
writer_dies() {
    local status=0
    next_port
    read_from
    ! stream other 2>/dev/null || return 1
    timeout -s KILL 4 augment --data shapes --batch 4 --steps 1000000000 --curve-key one.key \
        --curve-server-key server.pub --out "$at" || status=$?
    [ $status = 137 ] && ! wait $reader &&
        grep -q "ended without an end frame: its producer died" reader.err
}
check "the reader still notices that the other writer dies" writer_dies

# ---- lists with a defect ----
next_port
list() { # TEXT: starts a server with this list and prints its message
    printf '%b' "$1" >list
    in_time ntxent --timeout 0.2 --curve-key server.key --curve-clients list --listen "$at"
}
key=$(cat one.pub)
text=${key//\\/\\\\}
check_fails 1 "a missing list" "^ntxent: none: No such file" \
    ntxent --curve-key server.key --curve-clients none --listen "$at"
check_fails 1 "a folder as the list" "^ntxent: [.]: Is a directory" \
    ntxent --curve-key server.key --curve-clients . --listen "$at"
check_fails 1 "an empty list" "^ntxent: list: no key in it" list ""
check_fails 1 "a list with only comments" "^ntxent: list: no key in it" list "# $text\n#$text\n\n"
check_fails 1 "a short key" "^ntxent: list: line 3: a key has 40 characters, and this word 39" \
    list "$text\n\n${text%?}\n"
check_fails 1 "a key that is too long" "line 1: a key has 40 characters, and this word 81" \
    list "$text,$text\n"
check_fails 1 "a character that keys don't have" "line 2: not a CURVE key" \
    list "# a list\n${text%?}_ name\n"
check_fails 1 "bytes that are not text" "line 1: no text" list "$text\\0000\n"
check_fails 1 "a key may contain a #, and a carriage return may follow it" "no client came within" \
    list "00#0000#0000#0000#0000#0000#0000#0000#00\r\n"
check_fails 1 "a list without a key of the server's own" "curve-key is missing" \
    ntxent --insecure --curve-clients clients --listen "$at"
done_testing
