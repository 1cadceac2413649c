#!/usr/bin/env bash
# progress warns of the loss `pull` of docs/stages.md within 200 steps, and not of SimCLR on shapes, whose
# early steps are near chance.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "collapse" "python3-numpy is not installed"
    done_testing
    exit
fi
awk "/^cat > pull.py <<'END'/ { on = 1; next } on && /^END/ { exit } on" "$ROOT/docs/stages.md" >pull.py
ln -s "$ROOT/examples" examples
warnings() { # how many, STEPS, BATCH, options
    "$ROOT/pipelines/train" --run run --steps "$2" --batch "$3" --encoder 'encode --width 0.25' "${@:4}" >out 2>&1 || return 1
    grep '^progress: ' out || true
    [ "$(wc -l <run/metrics.tsv)" = $(($2 + 1)) ] && [ "$(grep -c '^progress: ' out)" = "$1" ] && rm -r run
}
for batch in 16 64; do
    check "pull with a batch of $batch is reported within 200 steps" \
        warnings 1 200 $batch --loss '/usr/bin/python3 pull.py'
    check "SimCLR with a batch of $batch is not" warnings 0 250 $batch
done
check "nor with a head of no layers" warnings 0 250 16 --projector 'project --layers 0'
done_testing
