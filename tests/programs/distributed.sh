#!/usr/bin/env bash
# Tests of pipelines/distributed: the same bits for any number of workers, for each way to start them,
# and after interruptions and failures.
# shellcheck disable=SC2016 # scripts that expand by themselves
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

export TMPDIR=$T/tmp
mkdir "$TMPDIR"
distributed=$ROOT/pipelines/distributed
options=(--batch 16 --seed 7 --augment 'augment --size 16')
small=(--encoder 'encode --width 0.125')

run() { # FOLDER, more options
    local folder=$1
    shift
    "$distributed" --run "$folder" "${options[@]}" "$@" >>"$folder.out" 2>&1 || {
        cat "$folder.out" "$folder/log.txt"
        return 1
    }
}
same() { # FOLDER: all metrics are the same but the last, views_per_s
    cmp "$1/model.safetensors" alone/model.safetensors &&
        [ "$(head -n 1 alone/metrics.tsv | cut -f6-10)" = $'z_std\talignment\tgrad_norm\tlr\tviews_per_s' ] &&
        cmp <(cut -f1-9 "$1/metrics.tsv") <(cut -f1-9 alone/metrics.tsv)
}
run_and_compare() {
    run "$@" && same "$1"
}

check "a run in one process" "$ROOT/pipelines/train" --run alone "${options[@]}" "${small[@]}" --steps 12
for n in 1 2 4; do
    check "$n workers: the same bits" run_and_compare w$n --workers $n --steps 12 "${small[@]}"
done

# Over tcp, with keys for this run; with a command in place of ssh, which has another environment;
# and with one in place of srun.
over_tcp=(--steps 12 "${small[@]}" --address "$LOOPBACK" --port 7000)
check "over tcp with keys: the same bits" run_and_compare tcp --workers 2 "${over_tcp[@]}"
cat >fake-ssh <<'END'
#!/bin/sh
echo "$1" >>"$(dirname "$0")/hosts-asked"
exec env -i PATH=/usr/bin:/bin TMPDIR="$TMPDIR" sh -c "$2"
END
cat >fake-srun <<'END'
#!/bin/bash
# srun --ntasks=N --input=all COMMAND...: each task gets all of stdin
n=${1#--ntasks=}
shift 2
input=$(cat)
for ((i = 0; i < n; i++)); do
    SLURM_PROCID=$i "$@" <<<"$input" &
    tasks+=($!)
done
status=0
for task in "${tasks[@]}"; do
    wait "$task" || status=1
done
exit $status
END
chmod +x fake-ssh fake-srun
printf 'one\n# a comment\ntwo   # another\n' >hosts
on_hosts() {
    run_and_compare hosts-run --hosts hosts --ssh "$T/fake-ssh" "${over_tcp[@]}" &&
        [ "$(sort hosts-asked | tr '\n' ' ')" = "one two " ]
}
check "with a host file: the same bits" on_hosts
check "with srun: the same bits" run_and_compare srun-run --workers 2 --srun "$T/fake-srun" "${over_tcp[@]}"
no_keys() {
    [ -z "$(find "$TMPDIR" -name '*.key')" ]
}
check "no key is left in a file" no_keys
check_fails 2 "--hosts and --srun" 'exclude each other' "$distributed" --hosts hosts --srun srun

# Preemption: SIGTERM saves a state, and the run is resumed with fewer workers.
steps_made() { # FOLDER, N: waits until at least N steps are logged
    for _ in $(seq 1200); do
        [ "$(cut -f1 "$1/metrics.tsv" 2>/dev/null | tail -n 1)" -ge "$2" ] 2>/dev/null && return
        sleep 0.1
    done
    return 1
}
slow=(--loss "sh -c 'tee loss.in | ntxent'") # this also stores the whole batch in one place
preempted() {
    local status=0 pid
    "$distributed" --run stopped --workers 4 "${options[@]}" "${small[@]}" --steps 12 --save-every 0 \
        --restarts 0 "${slow[@]}" --augment 'augment --size 16 --threads 1' >stopped.out 2>&1 &
    pid=$!
    steps_made stopped 1 && kill -TERM $pid
    wait $pid || status=$?
    cat stopped.out
    [ $status = 143 ] || [ $status = 0 ]
}
check "SIGTERM ends a run" preempted
goes_on() {
    grep -q 'stopped after [0-9]* steps; --resume' stopped.out || same stopped || return 1
    run stopped --resume --workers 2 && same stopped
}
check "resumed with 2 workers, the run gives the same bits" goes_on
complete() {
    "$distributed" --run stopped --resume | grep -q 'complete: 12 steps'
}
check "it is then complete" complete

# A stage that dies after some steps: the run starts again from the last state.
dies_once() { # a loss that fails once
    cat >once <<END
#!/bin/sh
[ -e once.done ] && exec ntxent
touch once.done
exec "$ROOT/tests/programs/fail-after" 7 ntxent
END
    chmod +x once
    run restarted --workers 2 --steps 12 "${small[@]}" --save-every 3 --loss ./once && same restarted &&
        grep -q 'again in 1 s, from the last state (1 of 3)' restarted.out
}
check "a loss that dies once: the same bits" dies_once
always_dies() {
    local status=0
    "$distributed" --run never --workers 2 "${options[@]}" "${small[@]}" --steps 12 --save-every 0 --restarts 1 \
        --loss "$ROOT/tests/programs/fail-after 3 ntxent" >never.out 2>&1 || status=$?
    cat never.out
    [ $status = 1 ] && grep -q 'again in 1 s, from the last state (1 of 1)' never.out
}
check "a run whose loss always dies is given up" always_dies
broken() {
    local status=0
    in_time "$distributed" --run broken --workers 2 "${options[@]}" --steps 5 --encoder 'encode --arch lenet' \
        >broken.out 2>&1 || status=$?
    cat broken.out
    [ $status = 1 ] && grep -q -- '--arch' broken.out && ! grep -q again broken.out
}
check "a worker that cannot start is not tried again" broken
check "no process is left" sh -c '! pgrep -f "$PWD"'
done_testing
