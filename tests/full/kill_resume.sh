#!/usr/bin/env bash
# Kills processes of runs at random moments: the resumed run must end in the same bits.
set -eu
. "$(dirname "$0")/../lib.sh"

check "a run of two workers that is killed three times" "$ROOT/tests/soak/kill-resume" --kills 3 --seed 1
done_testing
