#!/usr/bin/env bash
# BYOL and MoCo: three steps beside PyTorch, and a run of BYOL whose processes are killed at random moments.
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
# shellcheck disable=SC2086 # two words
moco_steps() { # EMA, rows of the queue: shorter and longer than the 32 rows of a batch
    local opt patience='--timeout 600' # their joins are large
    sgd $patience --lr 0.05 --scaling linear --listen ipc://moco.ipc --state state.st &
    opt=$!
    augment --data shapes --size 16 --batch 16 --steps 3 | tee views.st |
        encode $patience --ema "$1" --opt "exec:tee encoder.st | shard $patience --next ipc://moco.ipc" \
            --next "exec:project $patience --hidden 96 --dim 24 --ema $1 --opt 'exec:tee head.st | shard $patience --next ipc://moco.ipc' \
                --next 'exec:ntxent $patience --queue $2 --temperature 0.2 --opt ipc://moco.ipc'" >m.st
    wait $opt && cat encoder.st head.st >join.st && /usr/bin/python3 "$ROOT/tests/full/byol.py" "$ROOT" "$1" "$2"
}
if python_has torch torchvision; then
    check "three steps of MoCo agree with PyTorch" moco_steps 0.9 50
    check "three steps of MoCo with a short queue agree with PyTorch" moco_steps 0.5 20
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
