#!/usr/bin/env bash
# Whole runs: the same bits for any threads and links, a resumed run, a swapped stage, a failing stage,
# and the evaluation.
# shellcheck disable=SC2016 # awk and sh -c expand by themselves
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

train=$ROOT/pipelines/train
python=/usr/bin/python3
small='encode --width 0.125'

run() { # folder, options of pipelines/train
    local folder=$1
    shift
    "$train" --run "$folder" --batch 32 --seed 7 --augment "augment --size 16" "$@" >"$folder.out" 2>&1
}
same_model() {
    cmp "$1/model.safetensors" "$2/model.safetensors"
}

# Ten steps with one, two and three threads, which also change the threads of the loss.
for n in 1 2 3; do
    check "10 steps on $n threads" run threads$n --steps 10 --encoder "$small --threads $n" \
        --projector "project --threads $n" --loss "ntxent --threads $n" \
        --augment "augment --size 16 --threads $n"
done
check "1 and 2 threads give the same bits" same_model threads1 threads2
check "1 and 3 threads give the same bits" same_model threads1 threads3
model_again() { # the state of a complete run contains its model, byte for byte
    cp -r threads1 again && rm again/model.safetensors &&
        "$ROOT/pipelines/train" --run again --resume 2>/dev/null && cmp threads1/model.safetensors again/model.safetensors
}
check "a deleted model is made again from the state" model_again
check "a run with another seed" run other --steps 10 --seed 8 --encoder "$small"
recalled() { # bash 5.2 loses the status of a process substitution now and then: about twice in 300
    bash -p -c 'set -euo pipefail; . "$1/pipelines/common.sh"
        for i in {1..300}; do recall other; [ "${recorded[seed]}" = 8 ]; done' recalled "$ROOT"
}
check "a run's options are read each time" recalled
check_fails 1 "another seed gives another model" '' sh -c 'cmp threads1/model.safetensors other/model.safetensors >&2'

# Coprocesses on pipes, where each stage has its own optimizer, against sockets.
over_pipes() {
    augment --data shapes --size 16 --batch 32 --steps 5 --seed 7 |
        $small --seed 7 --opt "exec:lars --warmup-steps 2 --model pipes-encoder.st" \
            --next "exec:project --seed 7 --opt 'exec:lars --warmup-steps 2 --model pipes-head.st' --next exec:ntxent" \
            >pipes-metrics.st
}
over_sockets() {
    lars --warmup-steps 2 --listen ipc://o1 --model sockets-encoder.st &
    lars --warmup-steps 2 --listen ipc://o2 --model sockets-head.st &
    ntxent --listen ipc://loss &
    project --seed 7 --opt ipc://o2 --next ipc://loss --listen ipc://head &
    augment --data shapes --size 16 --batch 32 --steps 5 --seed 7 --out ipc://views &
    $small --seed 7 --opt ipc://o1 --next ipc://head --in ipc://views >sockets-metrics.st || return 1
    for job in $(jobs -p); do
        wait "$job" || return 1
    done
    # shellcheck disable=SC2251
    ! ls o1 o2 loss head views 2>/dev/null
}
check "5 steps over pipes" over_pipes
check "5 steps over ipc: all stages end and no socket file is left" over_sockets
check "pipes and sockets give the same encoder" cmp pipes-encoder.st sockets-encoder.st
check "pipes and sockets give the same head" cmp pipes-head.st sockets-head.st

# A stage in another language. If losses differ by a rounding error, runs diverge about tenfold in
# each step once the weights change. So all steps are compared with fixed weights, and only the
# first few while gradients change them.
same_losses() { # steps, largest difference, folder, folder
    awk -F'\t' -v steps="$1" -v most="$2" '
        FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "loss") c = i; next }
        NR == FNR { loss[$1] = $c; next }
        $1 < steps { d = $c - loss[$1]; if (d < 0) d = -d; if (!(d <= most)) { print $1, d; bad = 1 } n++ }
        END { exit bad || n != steps }' "$3/metrics.tsv" "$4/metrics.tsv"
}
if python_has numpy; then
    in_python="$python $ROOT/examples/ntxent.py"
    check "the loss as a Python program" run python --steps 10 --encoder "$small" --loss "$in_python"
    check "its first losses agree with ntxent's to 1e-4" same_losses 5 1e-4 threads1 python
    run still --steps 10 --encoder "$small" --optimizer 'lars --base-lr 0'
    run python-still --steps 10 --encoder "$small" --optimizer 'lars --base-lr 0' --loss "$in_python"
    check "without updates all its losses agree with ntxent's to 1e-5" same_losses 10 1e-5 still python-still
else
    skip "the loss as a Python program" "no numpy"
fi

# A run that is interrupted and resumed.
stop_and_resume() {
    printf '#!/bin/sh\nif mkdir began 2>/dev/null; then exec "%s" 6 ntxent; fi\nexec ntxent\n' \
        "$ROOT/tests/programs/fail-after" >once && chmod +x once
    run stopped --steps 10 --save-every 4 --restarts 0 --encoder "$small" --loss ./once
    grep -q 'exited with status 9' stopped.out || return 1
    [ "$(inspect --meta step stopped/state.safetensors)" = 4 ] || return 1
    run stopped --resume
}
check "a run whose loss died is resumed from the last state" stop_and_resume
check "it has the bits of a run that was never stopped" same_model threads1 stopped
check "its log has each step once" \
    sh -c '[ "$(cut -f1 stopped/metrics.tsv)" = "$(cut -f1 threads1/metrics.tsv)" ]'
check "a complete run is not started again" run stopped --resume
check_fails 1 "a run's folder is not used twice" 'holds a run already' "$train" --run threads1
check_fails 2 "an unknown option" "unknown option '--lose'" "$train" --lose x

# A stage that fails: all processes end, and the message names the stage.
fails() {
    ! in_time "$train" --run broken --batch 32 --steps 5 --restarts 0 --encoder "$small" "$@" \
        >broken.out 2>&1
}
for stage in augment encoder projector loss optimizer; do
    rm -rf broken
    check "$stage fails: the run ends" fails --$stage "sh -c 'echo $stage: broken on purpose >&2; exit 3'"
    check "$stage fails: its message is shown" grep -q "$stage: broken on purpose" broken.out
    # Messages of the shell, or of processes that were ended because of the failure, must not be
    # shown.
    check "$stage fails: no other messages are shown" sh -c '! grep -E "line [0-9]+:|Killed|not ZeroMQ" broken.out'
    check "$stage fails: no process is left" sh -c '! pgrep -f "$PWD/broken"'
done

# A stage that is stopped after a frame or two: its neighbours wait at a pipe without an error.
halted() {
    in_time "$train" --run halted --batch 32 --steps 50 --restarts 0 --timeout 3 --encoder "$small" \
        --augment "sh -c 'augment --size 16 \"\$@\" | (head -c 120000; kill -STOP \$\$)' _" >halted.out 2>&1 && return 1
    cat halted.out
    grep -q 'the augment has been stopped for 3 s' halted.out && [ -s halted/metrics.tsv ]
}
check "augment is stopped: the run ends with a message" halted

# Linear probe and nearest neighbours on features, a random encoder and pixels.
evaluation() {
    "$ROOT/pipelines/judge" --run threads1 --limit 300 --test-limit 100 >evaluation.out &&
        [ "$(awk '$NF + 0 > 5 && $NF + 0 <= 100' evaluation.out | wc -l)" = 3 ]
}
check "pipelines/judge prints three rows of plausible accuracies" evaluation
done_testing
