#!/usr/bin/env bash
# Tests of --recipe: each recipe trains on small sets of its kind, and recipes of one's own are read as data.
# shellcheck disable=SC2016 # $(touch hacked) must not be expanded
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

train=$ROOT/pipelines/train
recipes=$ROOT/pipelines/recipes
py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/recipe_data.py" "$ROOT" "$@"
}
if ! python_has PIL numpy; then
    skip "recipes" "python3-pil or python3-numpy is not installed"
    done_testing
    exit
fi
py .

# Two steps with small batches and a narrower network, which is not in the recipe.
option() { # RECIPE NAME: prints the value
    sed -n "s/^--$2 //p" <"$recipes/$1"
}
two_steps() { # RECIPE BATCH
    "$train" --recipe "$1" --batch "$2" --steps 2 --run "$1" --encoder "$(option "$1" encoder) --width 0.125"
}
recorded() { # RECIPE: the run has the recipe's options, but for those three
    grep '^--' <"$recipes/$1" | grep -v -e '^--batch ' -e '^--encoder ' >wanted &&
        [ "$(grep -cFxf wanted "$1/options")" = "$(wc -l <wanted)" ] && [ "$(wc -l <wanted)" -ge 5 ] &&
        [ "$(wc -l <"$1/metrics.tsv")" = 3 ] && [ -s "$1/model.safetensors" ]
}
comments() { # RECIPE
    head -n 1 "$recipes/$1" | grep -q '^# ResNet-' && grep -q '^# Settings: ' "$recipes/$1" &&
        grep -q '^# Published figure' "$recipes/$1" && grep -q '^# What differs here: ' "$recipes/$1"
}
for recipe in "$recipes"/*; do
    name=${recipe##*/}
    check "$name trains two steps" two_steps "$name" "$([[ $name == *resnet50 ]] && echo 2 || echo 4)"
    check "its options are those of the run" recorded "$name"
    check "its comment has settings, figure and differences" comments "$name"
done
rates() { # prints the rates of steps without a warm-up
    local name
    for name in cifar10-resnet18 cifar10-resnet50 stl10-resnet18 imagenet-resnet50 cifar10-resnet18-supcon cifar10-resnet18-moco; do
        py step "$(option "$name" batch)" >step.st &&
            sh -c "$(option "$name" optimizer) --warmup-steps 0 --model x.st" <step.st | inspect --meta lr | sed -n 2p
    done
}
sources() { # 0.4; 1.0 x 1024 / 256; 0.002; 0.3 x 4096 / 256; 0.4; 0.3
    [ "$(rates | xargs printf '%.4g ')" = '0.4 4 0.002 4.8 0.4 0.3 ' ]
}
check "the learning rates are those of the sources" sources

# ---- lists and mistakes ----

listed() {
    "$train" --recipe list >list.txt && [ "$(wc -l <list.txt)" = "$(find "$recipes" -type f | wc -l)" ] &&
        grep -q '^  cifar10-resnet18 \+ResNet-18 on CIFAR-10 .*90.74 %' list.txt &&
        "$train" --help >help.txt && [ "$(grep -cFxf list.txt help.txt)" = "$(wc -l <list.txt)" ]
}
check "recipes are listed, with a line about each" listed
check_fails 2 "a misspelt recipe" "'cifar-resnet18' is none of cifar10-resnet18 .* nor ./FILE: did you mean cifar10-resnet18" \
    "$train" --recipe cifar-resnet18
check_fails 2 "a recipe without a name" '--recipe needs a value' "$train" --recipe
check_fails 1 "a recipe that is not there" './nowhere: no such recipe' "$train" --recipe ./nowhere
check_fails 2 "a recipe for finetune" "unknown option '--recipe'" "$ROOT/pipelines/finetune" --recipe cifar10-resnet18
mine() { # TEXT: `train` by a recipe of one's own
    printf %b "$1" >"my recipe"
    "$train" --recipe "./my recipe" --run none
}
check_fails 1 "an option that does not exist" './my recipe: --batsh is no option of train' mine '--batsh 3\n'
check_fails 1 "the run's folder in a recipe" './my recipe: --run is no option of train' mine '--run x\n'
check_fails 1 "an option twice" './my recipe: line 3: an option that is there twice' mine '# mine\n--seed 1\n--seed 2\n'
check_fails 1 "a line that is no option" './my recipe: line 1: not an option of a run' mine 'echo hacked\n'
check_fails 1 "an empty recipe" './my recipe: ' mine ''
check_fails 1 "a zero byte" './my recipe: holds a zero byte' mine '--seed 1\0000\n'
check_fails 2 "a value that is not a number" "--seed .* a whole number" mine '--seed $(touch hacked)\n'
no_data() {
    mine '--data $(touch hacked)`touch hacked`\n--restarts 0\n' 2>none.err && return 1
    grep -F 'augment: $(touch hacked)`touch hacked`: No such file' none.err none/log.txt
}
check "a value that looks like a command is a name" no_data
check "nothing in them was executed" test ! -e hacked

# ---- a recipe of one's own ----

printf '# mine\n--encoder encode --width 0.125\n--augment augment --size 8\n--batch 8\n--steps 2\n--data shapes\n--seed 5\n' >mine
own() {
    "$train" --seed 6 --recipe ./mine --run own --limit 64 && grep -qx -- '--seed 6' own/options &&
        grep -qx -- '--limit 64' own/options && grep -qx -- '--encoder encode --width 0.125' own/options
}
check "options of the command line win, before and after" own
contradicted() {
    "$train" --recipe ./mine --run own --resume 2>all.err && return
    grep '^train: ' all.err >&2
    return 1
}
check_fails 1 "a recipe with other options than the run was started with" 'own was started with --seed 6, not 5' contradicted
resumed() {
    rm mine && "$train" --run own --resume --steps 3 && [ "$(wc -l <own/metrics.tsv)" = 4 ]
}
check "the run is resumed without the recipe" resumed
again() {
    sed 's/^--steps .*/--steps 2/' <own/options >again.options &&
        "$train" --recipe ./again.options --run again && head -n 2 own/metrics.tsv | cut -f 1,3 >wanted &&
        head -n 2 again/metrics.tsv | cut -f 1,3 | cmp - wanted &&
        grep -qx -- '--seed 6' again/options
}
check "the options of a run are a recipe" again
distributed() {
    "$ROOT/pipelines/distributed" --recipe cifar10-resnet18 --batch 4 --steps 1 --run workers --workers 2 \
        --encoder "$(option cifar10-resnet18 encoder) --width 0.125" && grep -qx -- '--workers 2' workers/options &&
        grep -qx -- "--loss $(option cifar10-resnet18 loss)" workers/options
}
check "distributed takes recipes" distributed
done_testing
