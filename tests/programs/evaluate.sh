#!/usr/bin/env bash
# evaluate: agreement with scikit-learn, endpoints, settings, and what it refuses.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/sinks.py" "$ROOT" "$@"
}
if ! /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
    skip "evaluate" "python3-numpy is not installed"
    done_testing
    exit
fi
py features train.st test.st
for kind in good unlabelled negative huge one-class views narrow nan pixels; do
    py rows $kind >$kind.st
done
: >empty.st

if /usr/bin/python3 -c 'import sklearn' 2>/dev/null; then
    check "the probe is scikit-learn's at a given l2" py sklearn_agrees train.st test.st --l2 0.003
    check "and at the l2 that it chooses" py sklearn_agrees train.st test.st
else
    skip "the probe against scikit-learn" "python3-sklearn is not installed"
fi

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

judge() {
    evaluate --train "$1" --test "$2" --l2 0.1
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
check_fails 2 "no test stream" '--test' evaluate --train train.st
done_testing
