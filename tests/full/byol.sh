#!/usr/bin/env bash
# BYOL: three steps beside PyTorch, and a run whose processes are killed at random moments.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

steps() { # EMA
    sgd --lr 0.05 --scaling linear --listen ipc://opt.ipc --state state.st &
    local opt=$!
    augment --data shapes --size 16 --batch 16 --steps 3 | tee views.st |
        encode --ema "$1" --opt "exec:tee encoder.st | shard --next ipc://opt.ipc" \
            --next "exec:project --hidden 96 --dim 24 --ema $1 --opt 'exec:tee head.st | shard --next ipc://opt.ipc' \
                --next 'exec:project --predictor --hidden 40 --opt \"exec:tee predictor.st | shard --next ipc://opt.ipc\" \
                    --next exec:byol'" >m.st
    wait $opt && cat encoder.st head.st predictor.st >join.st && /usr/bin/python3 "$ROOT/tests/full/byol.py" "$ROOT" "$1"
}
if python_has torch torchvision; then
    for ema in 0.5 0.99; do
        check "three steps of BYOL with --ema $ema agree with PyTorch" steps $ema
    done
else
    skip "three steps of BYOL agree with PyTorch" "python3-torchvision is not installed"
fi
# The state, with the slow copies, must have the same bits as well.
killed() { # WORKERS
    "$ROOT/tests/soak/kill-resume" --kills 20 --steps-a-kill 40 --seed 3 --workers "$1" -- \
        --encoder 'encode --width 0.0625 --threads 1 --ema 0.99' --projector 'project --dim 16 --threads 1 --ema 0.99' \
        --predictor 'project --predictor --threads 1' --loss 'byol --threads 1' --optimizer 'sgd --lr 0.05'
}
check "a run of BYOL that is killed 20 times" killed 1
done_testing
