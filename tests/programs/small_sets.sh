#!/usr/bin/env bash
# Runs pipelines on folders of a few images, with a test part, without one, and without labels. The
# classes differ in colour, so the right accuracy is known.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export PYTHONDONTWRITEBYTECODE=1

if ! python_has PIL; then
    skip "small sets" "python3-pil is not installed"
    done_testing
    exit
fi
mk() { # ROOT PATH=N...
    /usr/bin/python3 "$ROOT/tests/programs/small_sets.py" "$@"
}
mk few train/{a,b,c}=6 test/{a,b,c}=4
mk some train/{a,b,c}=20 test/{a,c}=10
mk whole {a,b,c}=20
mkdir -p unlabelled/train unlabelled/test
cp whole/a/* unlabelled/train
cp whole/b/* unlabelled/test
short=(--batch 4 --steps 2 --encoder 'encode --width 0.0625 --threads 1')
train() {
    in_time "$ROOT/pipelines/train" "${short[@]}" "$@" >train.out 2>&1 || { cat train.out && return 1; }
}
judge() {
    in_time "$ROOT/pipelines/judge" "$@" --bootstrap 0 >judged.out 2>judged.err || { cat judged.err && return 1; }
    cat judged.out judged.err
}
top1() { # OUT NAME: top-1 of the linear probe and of nearest neighbours
    awk -F '\t' -v name="$2" '$1 == name { printf "%s ", $4 }' <"$1/results.tsv"
}
check "a run on 18 images" train --run r --data few
of_18() {
    judge --run r --on x --out few.out && [ "$(top1 few.out pixels)" = '1.0 1.0 ' ] &&
        grep -q '18 training rows are too few to choose l2' judged.err && grep -q 'all 18 training rows vote' judged.err
}
check "18 images of 3 classes are evaluated, and the values for l2 and k are printed" of_18
given() {
    judge --run r --on x --out given.out --l2 0.5 --k 3 &&
        grep -qE '"l2": *0.5' given.out/pixels-linear.json && grep -qE '"k": *3' given.out/pixels-knn.json && ! grep -q rows judged.err
}
check "l2 and k are used if they are given" given
of_60() { # the test part lacks a class
    judge --run r --data some --on x --out some.out && [ "$(top1 some.out pixels)" = '1.0 1.0 ' ]
}
check "60 images with a test part that lacks a class are evaluated" of_60
one_line() { # REGEX COMMAND...: one line of this kind is printed, beside lines about the progress
    "${@:2}" >one.out 2>one.err && return 1
    grep -v ' \.\.\.$' one.err >one.line || true
    cat one.err
    [ "$(wc -l <one.line)" = 1 ] && grep -qE "$1" one.line
}
check "without labels, the message names the data" one_line '^judge: unlabelled: images of its test part have no labels' \
    "$ROOT/pipelines/judge" --run r --data unlabelled --on x --out unlabelled.out
check "without a test part, the message says what to do" one_line '^augment: whole has no test part .*--hold' \
    "$ROOT/pipelines/judge" --run r --data whole --on x --out whole.out
check_fails 1 "finetune reports it before it trains" '^augment: whole has no test part .*--hold' \
    "$ROOT/pipelines/finetune" --run tuned --data whole "${short[@]}"
check "the refused finetune made no folder" test ! -e tuned

held() {
    judge --run r --data whole --hold 0.2 --on x --out held.out && [ "$(top1 held.out pixels)" = '1.0 1.0 ' ] &&
        [ "$(awk -F '\t' '$1 == "pixels" { print $8, $9 }' <held.out/results.tsv | sort -u)" = '48 12' ]
}
check "--hold 0.2: a fifth of each class is evaluated" held
recorded() {
    train --run held --data whole --hold 0.2 && judge --run held --on x &&
        [ "$(awk -F '\t' '$1 == "pixels" { print $8, $9 }' <held/evaluation/results.tsv | sort -u)" = '48 12' ] &&
        "$ROOT/pipelines/finetune" --run tuned --from held --batch 4 --steps 2 >tuned.out 2>&1 &&
        grep -qx -- '--hold 0.2' tuned/options && [ "$(sed -n 's/.*"n_test": *\([0-9]*\).*/\1/p' tuned/test.json)" = 12 ]
}
check "a run's own --hold is the default for its evaluation and fine-tuning" recorded
check "the run trains without the held-out images" grep -q 'augment .*--hold 0.2 ' held/commands.sh
stale() { # a score belongs to one model
    local before
    before=$(stat -c %y tuned/test.json)
    "$ROOT/pipelines/finetune" --run tuned --resume >again.out 2>&1 && [ "$before" = "$(stat -c %y tuned/test.json)" ] || return 1
    "$ROOT/pipelines/finetune" --run tuned --resume --steps 4 >longer.out 2>&1 || { cat longer.out && return 1; }
    [ "$before" != "$(stat -c %y tuned/test.json)" ] && grep -q 'top-1 on the test split: [0-9.]* %' longer.out
}
check "a run that was continued is evaluated again" stale
for state in cut empty zeros; do
    broken() {
        rm -rf broken && cp -r tuned broken || return 1
        case $state in
        cut) truncate -s 1000 broken/state.safetensors ;;
        empty) : >broken/state.safetensors ;;
        *) head -c 5000 /dev/zero >broken/state.safetensors ;;
        esac
    }
    broken
    check_fails 1 "finetune --resume with a state that is $state" '^finetune: broken/state.safetensors: ' \
        "$ROOT/pipelines/finetune" --run broken --resume
done
done_testing
