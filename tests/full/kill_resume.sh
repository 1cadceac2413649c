#!/usr/bin/env bash
# Kills processes of runs at random moments: the resumed run must end in the same bits.
set -eu
. "$(dirname "$0")/../lib.sh"

check "a run of two workers that is killed three times" "$ROOT/tests/soak/kill-resume" --kills 3 --seed 1
check "a run whose loss keeps a queue, killed five times" "$ROOT/tests/soak/kill-resume" \
    --kills 5 --workers 1 --steps-a-kill 40 --seed 2 -- --loss 'ntxent --queue 40'
check "MoCo by two workers, killed 20 times" "$ROOT/tests/soak/kill-resume" \
    --kills 20 --workers 2 --steps-a-kill 40 --seed 3 -- --loss 'ntxent --queue 40 --temperature 0.2' \
    --encoder 'encode --width 0.0625 --threads 1 --ema 0.9' --projector 'project --ema 0.9'
done_testing
