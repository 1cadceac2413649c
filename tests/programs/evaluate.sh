#!/usr/bin/env bash
# evaluate: agreement with scikit-learn, endpoints, settings, and what it refuses.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/sinks.py" "$ROOT" "$@"
}
judges() {
    PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 \
        /usr/bin/python3 -W ignore "$ROOT/tests/programs/judges.py" "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "evaluate" "python3-numpy is not installed"
    done_testing
    exit
fi
py features train.st test.st
for kind in good unlabelled negative huge one-class views narrow nan pixels; do
    py rows $kind >$kind.st
done
: >empty.st

if python_has sklearn; then
    check "the probe is scikit-learn's at a given l2" py sklearn_agrees train.st test.st --l2 0.003
    check "and at the l2 that it chooses" py sklearn_agrees train.st test.st
    check "on few rows, many features, separable and rare classes" \
        judges probe iris wine digits wide separable rare
    check "the sweep that it reports is scikit-learn's on the rows held out" judges sweep
else
    skip "the probe against scikit-learn" "python3-sklearn is not installed"
fi

check "neighbours of 5000 rows are numpy's" judges neighbours 5000 24 20 0.1 float
check "where many rows are equal" judges neighbours 5000 6 20 0.1 grid
check "and where few neighbours weigh much" judges neighbours 400 3 200 0.02 grid
check "a class without a vote or training rows is in no top 5" judges unvoted
check "logits of a classifier" judges classifier
check "intervals are those of a bootstrap in numpy" judges intervals

knn() {
    evaluate --method knn --k 20 "$@"
}
same_whatever_the_threads() {
    evaluate --train train.st --test test.st --threads 1 >one.json &&
        evaluate --train train.st --test test.st --threads 3 >three.json && cmp one.json three.json &&
        knn --train train.st --test test.st --threads 1 >one.json &&
        knn --train train.st --test test.st --threads 3 >three.json && cmp one.json three.json
}
check "the same bytes from one and from three threads" same_whatever_the_threads
pipes() {
    knn --train 'exec:cat train.st' --test - <test.st >piped.json &&
        knn --train train.st --test test.st | cmp - piped.json
}
check "a coprocess and stdin serve as well as files" pipes
raw() {
    evaluate --train pixels.st --test pixels.st --l2 1e-3 | grep -q '"on": "x"'
}
check "raw pixels, where there are no features" raw

judge() { # TRAIN TEST OPTION...
    local train=$1 test=$2
    shift 2
    evaluate --train "$train" --test "$test" --l2 0.1 "$@"
}
check_fails 1 "k above the training rows" 'k = 1000 neighbours of 600 training rows' \
    evaluate --method knn --k 1000 --train train.st --test test.st
check_fails 1 "no rows" 'empty.st: holds no rows' judge empty.st good.st
check_fails 1 "no labels" "unlabelled.st: .*y" judge good.st unlabelled.st
check_fails 1 "a negative label" 'row 0 has label -1' judge negative.st good.st
check_fails 1 "an absurd label" 'row 1 has label 1000000000000' judge huge.st good.st
check_fails 1 "one class" 'all of class 0' judge one-class.st good.st
check_fails 1 "two views" '2 views of each image.*--views 1' judge views.st good.st
check_fails 1 "NaN" "nan.st: row 23 of 'h' holds NaN" judge good.st nan.st
check_fails 1 "widths that differ" '3 features, test rows 2' judge good.st narrow.st
check_fails 1 "a width that changes" 'changes from 24 to 3' judge 'exec:cat train.st good.st' test.st
check_fails 1 "a tensor that is not there" "no tensor 'z'" \
    evaluate --train good.st --test good.st --on z
check_fails 1 "a missing file" 'missing.st' judge missing.st good.st
check_fails 1 "a full disk" 'No space left' sh -c 'evaluate --method knn --k 1 --train good.st --test good.st >/dev/full'
check_fails 2 "stdin twice" 'only one' judge - -
logits() {
    evaluate --method classifier --test logits.st "$@"
}
py rows few-logits >logits.st
check_fails 1 "a label above the logits" '3 logits, where the highest label is 3' logits
check_fails 2 "training rows of a classifier" 'no --train' logits --train good.st
check_fails 1 "a classifier without logits" "no tensor 'logits'" \
    evaluate --method classifier --test good.st
check_fails 1 "too few rows to hold some out" '40 training rows are too few to choose l2' \
    evaluate --train good.st --test good.st --holdout 0.04
check_fails 2 "a confidence that is none" '--confidence' judge good.st good.st --confidence 1
check_fails 2 "no test stream" '--test' evaluate --train train.st
done_testing
