#!/usr/bin/env bash
# Runs pipelines/slurm.sbatch in its own Slurm cluster. The bits must be those of a run without
# Slurm, also after the job was requeued, warned of its time limit, or cancelled and submitted
# again.
set -eu
. "$(dirname "$0")/../lib.sh"

no_process() {
    ! grep -lz "^SLURM_CONF=$T/" /proc/[0-9]*/environ 2>/dev/null | grep .
}
if [[ ${BIN:-} == */san/bin ]]; then
    skip "jobs of Slurm" "they run without sanitizers"
    done_testing
    exit
fi
if [ -z "${SLURM_CLUSTER:-}" ]; then # runs this script again inside a Slurm cluster
    chmod 711 "$T" # for munged's socket
    mkdir tmp
    status=0
    TMPDIR=$T/tmp "$ROOT/tests/slurm_cluster" "$ROOT/tests/full/slurm.sh" 2>cluster.err || status=$?
    if [ $status = 77 ]; then
        skip "jobs of Slurm" "$(head -n 1 cluster.err)"
    else
        sed 's/^/# /' cluster.err
        check "all tests within the cluster pass" test $status = 0
        check "the cluster leaves no file" rmdir tmp
        check "the cluster leaves no process" no_process
    fi
    done_testing
    exit
fi

export SIMCLR_PIPELINES=$ROOT/pipelines TMPDIR=$T
settings=(--data shapes --batch 16 --steps 40 --save-every 5 --encoder 'encode --width 0.25')

submit() { # NAME of the run, of its folder and of its log
    job=$(sbatch --parsable --ntasks=2 --output="$T/$1.log" "$ROOT/pipelines/slurm.sbatch" \
        "${settings[@]}" --run "$T/$1")
}
field() { # NAME
    scontrol show job "$job" | tr ' ' '\n' | sed -n "s/^$1=//p"
}
within() { # SECONDS, command
    local end=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
has_ended() {
    case $(field JobState) in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) ;; *) return 1 ;; esac
}
ends() { # STATE, number of restarts
    within 200 has_ended && [ "$(field JobState) $(field Restarts)" = "$1 $2" ] && return
    echo "$(field JobState), restarted $(field Restarts) times; it said:"
    tail -n 12 "$(field StdOut)"
    return 1
}
has_steps() { # NAME
    [ "$(wc -l <"$1/metrics.tsv")" -gt 8 ]
}
same_end() { # NAME, restarts
    ends COMPLETED "$2" && cmp "$1/model.safetensors" alone/model.safetensors
}
went_on() { # NAME: its log reports this, and it did not begin at step 0 again
    grep -q "run $T/$1, which goes on" "$1.log" &&
        tail -n 1 <(grep 'from step' "$1/commands.sh") | grep 'from step [1-9]'
}

check "a run without Slurm" "$ROOT/pipelines/distributed" --workers 2 "${settings[@]}" --run alone

plain() { # the job finds its files in the folder where it was submitted
    job=$(cd "$ROOT" && unset SIMCLR_PIPELINES && submit plain && echo "$job") && same_end plain 0
}
check "a job ends in the same bits" plain
again() {
    submit plain && ends COMPLETED 0 && grep 'is complete: 40 steps' plain.log
}
check "a complete job that is submitted again does nothing" again

requeued() {
    submit requeued && within 100 has_steps requeued && scontrol requeue "$job" && same_end requeued 1
}
check "a job that is requeued in the middle ends in the same bits" requeued
check "the requeued job resumed from a saved state" went_on requeued

# Simulates what Slurm does before the time limit, as --signal=B:TERM@60 requests.
warned() {
    submit warned && within 100 has_steps warned && scancel --batch --signal=TERM "$job" && same_end warned 1
}
check "a job that is warned of its time limit requeues itself and ends in the same bits" warned
check "the warned job saved a state" grep 'stopped after [0-9]* steps' warned.log
check "the warned job resumed from that state" went_on warned

cancelled() {
    submit cancelled && within 100 has_steps cancelled && scancel "$job" && ends CANCELLED 0 &&
        [ -z "$(squeue --noheader)" ] && [ ! -e cancelled/model.safetensors ]
}
check "a job that is cancelled is not requeued" cancelled
submitted_again() {
    submit cancelled && same_end cancelled 0 && went_on cancelled
}
check "a cancelled job that is submitted again ends in the same bits" submitted_again

misplaced() {
    SIMCLR_PIPELINES=/nowhere submit misplaced && ends FAILED 0 && grep SIMCLR_PIPELINES misplaced.log
}
check "a job that does not find pipelines/ reports it" misplaced
check_fails 1 "without sbatch" 'this is for sbatch' "$ROOT/pipelines/slurm.sbatch"
done_testing
