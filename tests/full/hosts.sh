#!/usr/bin/env bash
# A run on several machines: four hosts and some strangers, each a network namespace on one bridge, with
# keys for tcp links and lists of accepted clients.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

# ---- the network: sw is the bridge's, s the server's, 0 to 2 the workers', x a stranger's ----
hosts="sw s 0 1 2 x"
prefix=simclr-$$
clean_up() {
    local host
    for host in $hosts; do
        ip netns pids "$prefix-$host" 2>/dev/null | xargs -r kill 2>/dev/null || true
        ip netns del "$prefix-$host" 2>/dev/null || true
    done
    rm -rf "$T"
}
build_network() {
    local host n=0
    for host in $hosts; do
        ip netns add "$prefix-$host" && ip -n "$prefix-$host" link set lo up || return 1
    done
    ip -n "$prefix-sw" link add bridge type bridge && ip -n "$prefix-sw" link set bridge up || return 1
    for host in ${hosts#sw}; do
        n=$((n + 1))
        ip -n "$prefix-$host" link add eth0 type veth peer name "port$n" netns "$prefix-sw" &&
            ip -n "$prefix-sw" link set "port$n" master bridge up &&
            ip -n "$prefix-$host" addr add "10.77.0.$n/24" dev eth0 &&
            ip -n "$prefix-$host" link set eth0 up || return 1
    done
    ip netns exec "$prefix-s" true
}
PATH=$PATH:/usr/sbin:/sbin
why=
if [ "$(id -u)" != 0 ]; then
    why="network namespaces need root"
elif ! command -v ip >/dev/null; then
    why="ip (iproute2) is not installed"
else
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    build_network 2>network.err || why="no network namespaces here: $(head -n 1 network.err)"
fi
if [ -n "$why" ]; then
    skip "several hosts" "$why"
    done_testing
    exit
fi
on() { # HOST, command: runs it in that host's network; the files of the host are here
    local host=$1
    shift
    ip netns exec "$prefix-$host" "$@"
}

# ---- a run ----
for name in server worker0 worker1 worker2 stranger; do
    keygen $name
done
for rank in 0 1 2; do
    echo "$(cat worker$rank.pub) worker $rank"
done >clients
gather_at=tcp://10.77.0.1:7000
reduce_at=tcp://10.77.0.1:7001
listed=(--curve-key server.key --curve-clients clients)
steps=3

start_servers() { # NAME
    on s reduce --world 3 --listen $reduce_at "${listed[@]}" \
        --next "exec:lars --warmup-steps 1 --model $1.st" 2>"$1.reduce.err" &
    servers=($!)
    on s gather --world 3 --listen $gather_at "${listed[@]}" \
        --next 'exec:project --opt "exec:lars --warmup-steps 1 --model /dev/null" --next exec:ntxent' \
        2>"$1.gather.err" &
    servers+=($!)
    workers=()
}
worker() { # HOST, RANK, options of links
    local host=$1 shard=$2/3
    shift 2
    augment --data shapes --batch 24 --steps "$steps" --shard "$shard" 2>augment.err |
        on "$host" encode --width 0.25 --threads 1 --opt $reduce_at --next $gather_at "$@"
}
start_worker() { # NAME, RANK
    worker "$2" "$2" --curve-key "worker$2.key" --curve-server-key server.pub \
        >"$1.$2.metrics" 2>"$1.$2.err" &
    workers+=($!)
}
end_well() { # NAME: all workers have the same losses, which are in NAME.loss
    local rank status=0
    all_end "${workers[@]}" "${servers[@]}" || status=1
    cat "$1".*.err
    inspect --meta loss "$1.0.metrics" >"$1.loss"
    for rank in 1 2; do
        inspect --meta loss "$1.$rank.metrics" | cmp - "$1.loss" || status=1
    done
    [ $status = 0 ] && [ "$(grep -c '^[0-9.]*$' "$1.loss")" = 3 ]
}
undisturbed() {
    local rank
    start_servers alone
    for rank in 0 1 2; do
        start_worker alone $rank
    done
    end_well alone && [ -z "$(cat alone.*.err)" ]
}
check "workers on three hosts have the same losses" undisturbed

# ---- strangers that connect while a run waits for its last worker, and claim to be that worker
# ----
start_servers visited
start_worker visited 0
start_worker visited 1
stranger() { # options
    worker x 2 "$@" >x.metrics
}
at_once() { # command: must end without waiting for --timeout
    local started=$SECONDS status=0
    "$@" || status=$?
    [ $((SECONDS - started)) -lt 200 ] || status=99
    return $status
}
check_fails 1 "a host whose key is not listed is refused with a message" \
    "^encode: tcp://10.77.0.1:700[01]: refused this program's key: it is not among the clients" \
    at_once stranger --timeout 300 --curve-key stranger.key --curve-server-key server.pub
refused() {
    cat visited.gather.err visited.reduce.err
    grep -hE "^(gather: $gather_at|reduce: $reduce_at): " visited.gather.err visited.reduce.err |
        grep -qF ": refused a client whose key is not in clients ($(cat stranger.pub))"
}
check "the server prints the stranger's key" refused
check_fails 1 "a host without keys is refused" \
    "^encode: tcp://10.77.0.1:700[01]: refused the handshake" stranger --timeout 10 --insecure
check_fails 1 "a host with the key of another server is refused" \
    "^encode: tcp://10.77.0.1:700[01]: refused the handshake" \
    stranger --timeout 10 --curve-key worker2.key --curve-server-key stranger.pub
start_worker visited 2
check "the run continues with its last worker" end_well visited
same_end() {
    cmp alone.loss visited.loss && cmp alone.st visited.st
}
check "the run ends with the same losses" same_end

# ---- a host that vanishes: no process ends and no connection is closed, but nothing arrives any
# more ----
# The timeout is long enough for sanitized programs on a busy machine while all hosts exist.
vanishes() {
    local pid started rank steps=1000 listed=("${listed[@]}" --timeout 10)
    start_servers gone
    for rank in 0 1 2; do
        worker $rank $rank --timeout 10 --curve-key worker$rank.key --curve-server-key server.pub \
            >gone.$rank.metrics 2>gone.$rank.err &
        workers+=($!)
    done
    until [ "$(inspect --meta step gone.0.metrics 2>/dev/null | wc -l)" -gt 2 ]; do
        kill -0 "${workers[0]}" || { cat gone.*.err && return 1; }
        sleep 0.1
    done
    ip -n "$prefix-2" link set eth0 down
    started=$SECONDS
    for pid in "${workers[@]}" "${servers[@]}"; do
        ! wait "$pid" || return 1
    done
    tail -n 3 gone.*.err
    echo "after $((SECONDS - started)) s"
    [ $((SECONDS - started)) -lt 200 ] # otherwise it hangs
}
check "when a host vanishes, all processes end soon" vanishes
named() {
    grep -hqE '^(reduce|gather): .*(client [0-2] went away|rank 2 sent nothing within)' gone.reduce.err gone.gather.err &&
        grep -qE '10.77.0.1:700[01]: (the connection was lost|no answer within)' gone.2.err
}
check "both sides report which peer is missing" named
ip -n "$prefix-2" link set eth0 up

# ---- the pipeline: two workers on hosts of their own, started by a replacement of ssh ----
cat >into-host <<END
#!/bin/sh
exec ip netns exec "$prefix-\$1" env -i PATH=/usr/bin:/bin sh -c "\$2"
END
chmod +x into-host
printf '%s\n' 0 1 >machines
small=(--batch 16 --steps 6 --encoder 'encode --width 0.125 --threads 1')
pipeline() {
    on s "$ROOT/pipelines/distributed" --run spread --hosts machines --ssh "$T/into-host" \
        --address 10.77.0.1 "${small[@]}" >spread.out 2>&1 || { cat spread.out spread/log.txt && return 1; }
    "$ROOT/pipelines/train" --run alone "${small[@]}" && cmp spread/model.safetensors alone/model.safetensors
}
check "pipelines/distributed on several hosts ends in the bits of one process" pipeline

# ---- without keys ----
check_fails 1 "listening on another address than this machine's is refused without keys" \
    "^reduce: tcp://10.77.0.1:7002 is not on this machine: give keys .* or --insecure" \
    on s reduce --listen tcp://10.77.0.1:7002
check_fails 1 "connecting to another machine is refused without keys" "^encode: tcp://10.77.0.1:700[01] is not on this machine: give keys" \
    stranger
done_testing
