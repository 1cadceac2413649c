#!/usr/bin/env bash
# Processes of runs that are killed at random moments.
set -eu
. "$(dirname "$0")/../lib.sh"

check "two workers, killed three times" "$ROOT/tests/soak/kill-resume" --kills 3 --seed 1
done_testing
