#!/usr/bin/env bash
# Tests of --progress of the pipelines: event files of a run, also over restarts, and commands of one's own.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/progress_logs.py" "$ROOT" "$@"
}
train() {
    "$ROOT/pipelines/train" --batch 8 --augment 'augment --size 8' --encoder 'encode --width 0.125' "$@"
}
if ! python_has numpy google.protobuf; then
    skip "--progress" "python3-numpy or python3-protobuf is not installed"
    done_testing
    exit
fi
restarted() { # the loss fails once, in the fourth step, and the run goes on from the state of the third
    printf '#!/bin/sh\nif mkdir began 2>/dev/null; then exec "%s" 3 ntxent; fi\nexec ntxent\n' \
        "$ROOT/tests/programs/fail-after" >once && chmod +x once
    train --run run --steps 5 --save-every 2 --loss ./once --progress "progress --tensorboard 'run/tb 1'" &&
        py same 'run/tb 1' run/metrics.tsv 0 2
}
check "a run that is restarted is one series in TensorBoard" restarted
differs() {
    train --run run --resume --steps 6 --progress 'progress --tensorboard tb' && py same 'run/tb 1' <(head -n 6 run/metrics.tsv) 0 2 &&
        py starts tb 5 && grep -qx -- "--progress progress --tensorboard tb" run/options
}
check "it may differ when the run is resumed" differs
own() {
    printf '#!/bin/sh\necho "$@" >arguments.txt\ncat >metrics.st\n' >mine && chmod +x mine &&
        train --run own --steps 2 --progress './mine --colour red' &&
        [ "$(cat arguments.txt)" = '--colour red --log own/metrics.tsv --out /dev/null' ] &&
        [ "$(inspect metrics.st | grep -c '^frame')" = 2 ]
}
check "a command of one's own gets the frames, and the run's --log" own
tuned() {
    "$ROOT/pipelines/finetune" --data shapes --batch 8 --steps 2 --limit 40 --augment 'augment --size 8 --views 1' \
        --encoder 'encode --width 0.125' --run tuned --progress 'progress --tensorboard tuned/tb' &&
        py same tuned/tb tuned/metrics.tsv 0
}
check "finetune has it" tuned
check_fails 2 "a log in the place of the run's" "a run's log is its metrics.tsv" train --run no --progress 'progress --log x.jsonl'
check_fails 2 "no command" "a command is needed" train --run no --progress ' '
done_testing
