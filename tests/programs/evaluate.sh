#!/usr/bin/env bash
# Tests of evaluate: agreement with scikit-learn, endpoints, settings, and the input that it refuses.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/evaluate_inspect_progress.py" "$ROOT" "$@"
}
against_python() {
    PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 \
        /usr/bin/python3 -W ignore "$ROOT/tests/programs/evaluate.py" "$ROOT" "$@"
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
    check "the probe agrees with scikit-learn at a given l2" py sklearn_agrees train.st test.st --l2 0.003
    check "the probe agrees with scikit-learn at the l2 that it chooses" py sklearn_agrees train.st test.st
    check "it agrees on few rows, many features, separable and rare classes" \
        against_python probe iris wine digits wide separable rare
    check "for small sets it chooses k and l2 that the rows allow" against_python few
    check "the reported trials of l2 agree with scikit-learn on the held-out rows" against_python sweep
else
    skip "the probe against scikit-learn" "python3-sklearn is not installed"
fi

check "nearest neighbours of 5000 rows agree with numpy" against_python neighbours 5000 24 20 0.1 float
check "nearest neighbours agree where many rows are equal" against_python neighbours 5000 6 20 0.1 grid
check "nearest neighbours agree where a few neighbours have most of the weight" against_python neighbours 400 3 200 0.02 grid
check "a class without a vote or training rows is in no top 5" against_python unvoted
check "the logits of a classifier are evaluated as numpy evaluates them" against_python classifier
check "classes are matched by name" against_python named
check "intervals agree with a bootstrap in numpy" against_python intervals

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
check "a command and stdin give the same result as files" pipes
raw() {
    evaluate --train pixels.st --test pixels.st --l2 1e-3 | grep -q '"on": "x"'
}
check "raw pixels are evaluated if there are no features" raw

judge() { # TRAIN TEST OPTION...
    local train=$1 test=$2
    shift 2
    evaluate --train "$train" --test "$test" --l2 0.1 "$@"
}
check_fails 1 "k above the training rows" 'k = 1000 neighbours of 600 training rows' \
    evaluate --method knn --k 1000 --train train.st --test test.st
check_fails 1 "no rows" 'empty.st: holds no rows' judge empty.st good.st
check_fails 1 "no labels" "unlabelled.st: .*y" judge good.st unlabelled.st
check_fails 1 "no label" "negative.st: row 0 has label -1 in 'y', which is none: only labelled" judge negative.st good.st
check_fails 1 "an absurd label" 'row 1 has label 1000000000000' judge huge.st good.st
check_fails 1 "one class" 'all of class 0' judge one-class.st good.st
check_fails 1 "two views" '2 views of each image.*--views 1' judge views.st good.st
check_fails 1 "NaN" "nan.st: row 23 of 'h' holds NaN" judge good.st nan.st
check_fails 1 "widths that differ" '3 features, test rows 2' judge good.st narrow.st
check_fails 1 "a width that changes" 'changes from 24 to 3' judge 'exec:cat train.st good.st' test.st
check_fails 1 "a missing tensor" "no tensor 'z'" \
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
check_fails 1 "too few rows for a given --holdout" '40 training rows are too few to choose l2' \
    evaluate --train good.st --test good.st --holdout 0.04

name() { # NAMES: makes rows of four classes with these names
    py rows good "$1"
}
name '["a","b","c","d"]' >abcd.st
name '["e","f","g","h"]' >efgh.st
name '["a","b","c"]' >abc.st
name '["a","b","c","a"]' >twice.st
name '["a","b",3,"d"]' >number.st
name '{"a":1}' >object.st
name '["a"' >broken.st
name '[]' >nameless.st
check_fails 1 "class names in the training stream only" 'abcd.st has class names and good.st has none.*--match numbers' judge abcd.st good.st
check_fails 1 "class names in the test stream only" 'abcd.st has class names and good.st has none' judge good.st abcd.st
check_fails 1 "no class name in common" 'abcd.st and efgh.st have no class in common.*a.*e' judge abcd.st efgh.st
check_fails 1 "a label without a name" 'abc.st: row 3 has label 3, where class_names has 3 names' judge abc.st abcd.st
check_fails 1 "an empty list of class names" 'nameless.st: row 0 has label 0, where class_names has 0' judge abcd.st nameless.st
check_fails 1 "a class name twice" "twice.st: class_names: 'a' stands there twice" judge abcd.st twice.st
check_fails 1 "a class name that is a number" 'number.st: class_names: entry 2 is not a string' judge number.st abcd.st
check_fails 1 "class names in a JSON object" 'object.st: class_names: not a JSON array' judge object.st abcd.st
check_fails 1 "class names that are not JSON" 'broken.st: class_names: not JSON' judge broken.st abcd.st
check_fails 1 "concatenated streams with different class names" 'class_names of a later frame are not those of the first' \
    judge 'exec:cat abcd.st efgh.st' abcd.st
by_number() { # each stream alone is refused above
    local file
    judge good.st good.st >want.json
    for file in abcd efgh abc twice number object broken nameless; do
        judge "$file.st" good.st --match numbers | cmp - want.json &&
            judge good.st "$file.st" --match numbers | cmp - want.json || return 1
    done
}
check "--match numbers ignores the names" by_number
logits_named() {
    py rows few-labels "$1" >logits-named.st
    evaluate --method classifier --test logits-named.st "${@:2}"
}
check_fails 1 "another number of class names than of logits" '3 logits, where class_names has 4 names.*--match numbers' \
    logits_named '["a","b","c","d"]'
check "with --match numbers the names do not matter" logits_named '["a","b","c","d"]' --match numbers
check_fails 2 "a confidence out of range" '--confidence' judge good.st good.st --confidence 1
check_fails 2 "no test stream" '--test' evaluate --train train.st
done_testing
