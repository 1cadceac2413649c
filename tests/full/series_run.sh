#!/usr/bin/env bash
# A whole run on time series: features of the trained encoder must give a higher accuracy than raw
# samples and than a random encoder.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/series.py" "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "waves" "python3-numpy is not installed"
    done_testing
    exit 0
fi
check "a run on waves with the pipeline" "$ROOT/pipelines/train" --run run --data waves --augment 'augment --format series' \
    --encoder 'encode --arch resnet1d --width 0.25' --steps 60 --loss "ntxent --temperature 0.2" \
    --optimizer "lars --scaling sqrt --base-lr 0.2 --warmup-steps 10"
check "its evaluation" "$ROOT/pipelines/judge" --run run --limit 2000
check "the trained encoder is far better than raw samples" py better run/evaluation/trained-knn.json run/evaluation/pixels-knn.json
check "the trained encoder is far better than a random one" py better run/evaluation/trained-knn.json run/evaluation/random-knn.json
done_testing
