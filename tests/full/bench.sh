#!/usr/bin/env bash
# Checks that the measurements run, count correctly and report failures. No test depends on speed.
set -eu
. "$(dirname "$0")/../lib.sh"
export BUILD=${UNIT:+$(dirname "$UNIT")}
BUILD=${BUILD:-$ROOT/build}
parts=$BUILD/tests/bench
run=$ROOT/tests/bench/run

is_positive() { # TABLE ROW: checks the values in this line of figures.tsv
    awk -F '\t' -v table="$1" -v row="$2" '
        $1 ~ table && $2 ~ row { n++; if ($4 + 0 <= 0) bad = 1 }
        END { exit bad || n != 1 }' figures.tsv
}
measures() {
    "$run" --rounds 1 --only 'B = 256' --markdown --tsv figures.tsv ntxent losses optimizer >tables.md
}
has_six_tables() {
    [ "$(grep -c '^### ' tables.md)" = 6 ] && [ "$(grep -c '^| --- ' tables.md)" = 6 ]
}
check "three sections are measured" measures
check "their results are tables in Markdown" has_six_tables
check "the loss has positive figures" is_positive NT-Xent 'B = 256'
check "its arithmetic has positive figures" is_positive NT-Xent arithmetic
for loss in DCL 'Hard negatives' 'Barlow Twins' VICReg; do
    check "$loss has positive figures" is_positive "$loss" 'B = 256'
done
check "the optimizer has positive figures" is_positive optimizer lars

if python_has sklearn; then
    measures_evaluate() { "$run" --rounds 1 --only knn --markdown --tsv figures.tsv evaluate >/dev/null; }
    check "evaluate is measured beside numpy" measures_evaluate
    check "its row has positive figures" is_positive Evaluation knn
else
    skip "evaluate beside numpy" "python3-sklearn is not installed"
fi

no_section() {
    local status=0
    "$run" nonesuch 2>error || status=$?
    [ $status = 2 ] && grep -q "no section 'nonesuch'" error
}
check "a section that does not exist is reported" no_section
not_built() {
    local status=0
    BUILD=$T/none "$run" optimizer 2>error || status=$?
    [ $status = 1 ] && [ "$(wc -l <error)" = 1 ] && grep -q "has everything been built" error
}
check "a missing build is reported" not_built
check_fails 2 "a part that does not exist" "^bench: which part" "$parts" nonesuch
check_fails 1 "a link that ends" "ended before it had answered" "$parts" --link exec:true echo

# torchvision counts 1.814 and 4.089 billion multiplications for the forward pass of a view of 224
# pixels, including the last linear map. The first convolution has no gradient for its input.
counts() { # depth, features, billions
    "$parts" --depth "$1" --pixels 224 --views 2 work |
        awk -v features="$2" -v want="$3" '{
            forward = ($1 / 4 + 64 * 3 * 49 * 112 * 112) / 3 + features * 1000
            exit !(forward / 1e9 > want - 0.0006 && forward / 1e9 < want + 0.0006)
        }'
}
check "the operations of a ResNet-18 are counted right" counts 18 512 1.814
check "the operations of a ResNet-50 are counted right" counts 50 2048 4.089

pipeline() {
    PYTHONPATH=$ROOT/tests/bench /usr/bin/python3 -B - <<END
from subjects import Pipeline

with Pipeline(18, 32, 8, "fp32", 2, grains=2) as step:
    assert step.round() > 0
    encode, stages = step.peak()
    assert 50 < encode < stages, (encode, stages)
END
}
check "a step of the whole pipeline is measured" pipeline

views() {
    "$parts" --pixels 40 --height 30 --batch 3 images >images.st
    inspect images.st | grep -q 'x.*U8.*3,30,40,3' || return 1
    PYTHONPATH=$ROOT/tests/bench /usr/bin/python3 -B - <<END
from subjects import Views

views = Views("simclr", 32, "images.st", 2, 20, wall=True)
assert views.work == 80 and views.run(21) > 0
# A round is 21 steps less what the start and one step take. By the clock of the wall that is a
# difference of two times, which other work on the machine can turn around; steps are exact.
views.run, views.start = lambda steps: steps, 1
assert views.round() == 20
END
}
check "views of images that were drawn for it are measured" views

printf '# comment\nstep\tloss\n0\t8\n1\t6\n2\t3\n3\t1\n' >log.tsv
curve() {
    "$ROOT/tests/bench/curve" --log log.tsv --epochs 2 >means
    printf 'mean loss, epoch 1\t7.0000\nmean loss, epoch 2\t2.0000\nmean loss, last 4 of 4 steps\t4.5000\n' |
        diff - means
}
check "the means of a curve are right" curve
check_fails 2 "a curve without --data" "^curve: --data DIR is missing" "$ROOT/tests/bench/curve"
done_testing
