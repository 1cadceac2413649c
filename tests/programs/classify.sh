#!/usr/bin/env bash
# Tests of classify: loss and gradients against PyTorch, alone, through encode, and through a partly
# frozen encode; several workers; and malformed frames.
# shellcheck disable=SC2086 # lists of words
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/classify.py" "$ROOT" "$@"
}
small='encode --width 0.125'

if python_has torchvision; then
    py make
    step() { # name, options of encode, options of classify
        $small --stem cifar --init init.st --in step.st $2 \
            --opt "exec:tee $1-encoder.st | sgd --lr 0 --model $1-encoder.model" \
            --next "exec:classify $3 --init init.st --opt 'exec:tee $1-head.st | sgd --lr 0 --model $1-head.model'" \
            >"$1-metrics.st"
    }
    cases=(none smooth chunk stem layer1 layer2 layer3 layer4)
    for name in "${cases[@]}"; do
        case $name in
        none) step none '' '' ;;
        smooth) step smooth '' '--label-smoothing 0.1' ;;
        chunk) step chunk '--freeze layer4 --chunk 3' '' ;;
        *) step "$name" "--freeze $name" '' ;;
        esac
    done
    py compare "${cases[@]/chunk/layer4}" >compare.txt
    for name in "${cases[@]/chunk/layer4}"; do
        check "gradients and metrics are PyTorch's: $name" grep -q "^$name agrees" compare.txt
    done
    check "chunks do not change a frozen encoder's features" cmp chunk-head.st layer4-head.st
else
    skip "gradients are PyTorch's" "python3-torchvision is not installed"
fi

# Training changes everything that is not frozen and nothing else; the model contains both.
views="augment --data shapes --views 1 --ops crop,flip --size 16 --batch 16 --steps 2"
rate='--lr 1 --schedule constant'
train() { # folder, options of encode
    mkdir -p "$1"
    sgd --nesterov $rate --listen "ipc://$1/opt" --model "$1/model.st" --state "$1/state.st" --save-every 1 &
    local server=$!
    $views | $small $2 --opt "ipc://$1/opt" --next "exec:classify --opt ipc://$1/opt" >"$1/metrics.st" &&
        wait $server
}
check "training of two steps" train all ''
if python_has numpy; then
    for block in layer2 layer4; do
        freezing() {
            train $block "--init all/model.st --freeze $block" && py frozen all/model.st $block/model.st $block
        }
        check "frozen up to $block: the rest changes, and the model contains everything" freezing
    done
fi
init_again() {
    augment --data shapes --size 16 --policy eval --batch 8 --limit 8 | $small --init layer4/model.st |
        classify --init layer4/model.st --threads 2 >logits.st && [ "$(inspect logits.st | grep -c 'logits.*\[8,1,10\]')" = 1 ]
}
check "the model of a run with frozen layers can start another run" init_again
metrics_pass() {
    inspect --tsv layer4/metrics.st | head -n 1 | grep -q '^step.epoch.loss.accuracy.lr.views_per_s$'
}
check "loss, accuracy and rate reach the metrics; classes and index do not" metrics_pass

# Two optimizers with a shard before them, one of which may own only frozen tensors.
sharded() { # folder, words of the optimizers
    local server
    mkdir -p "$1"
    shard --listen "ipc://$1/opt" --next "exec:sgd --nesterov $rate $2 --state $1/s0 --model $1/m0,exec:sgd --nesterov $rate $2 --state $1/s1 --model $1/m1" &
    server=$!
    $views --start "$3" --steps "$4" | $small --init all/model.st --freeze layer4 --opt "ipc://$1/opt" \
        --next "exec:classify --opt ipc://$1/opt" >"$1/metrics.st" && wait $server
}
check "a run with two optimizers and a shard, with all of encode frozen" sharded shard '' 0 2
same_parts() {
    py same layer4/model.st shard/m0 shard/m1
}
check "together they hold the same as one optimizer" same_parts
check "and they resume" sharded shard --resume 2 4

# Several workers.
workers() { # how many, folder, options of encode
    local n=$1 d=$2 rank pids=()
    mkdir -p "$d"
    sgd --nesterov $rate --listen "ipc://$d/opt" --model "$d/model.st" &
    pids+=($!)
    reduce --world "$n" --listen "ipc://$d/gradients" --next "ipc://$d/opt" &
    pids+=($!)
    reduce --world "$n" --listen "ipc://$d/sync" &
    pids+=($!)
    gather --world "$n" --listen "ipc://$d/gather" --next "exec:classify --opt ipc://$d/opt" &
    pids+=($!)
    for ((rank = 0; rank < n; rank++)); do
        $views --shard "$rank/$n" | $small $3 --threads 1 --opt "ipc://$d/gradients" \
            --sync "ipc://$d/sync" --next "ipc://$d/gather" >"$d/metrics$rank.st" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
check "a run of two workers with gather" workers 2 two ''
check "its model has the bits of one worker's" cmp two/model.st all/model.st
check "a run of two workers with layer2 frozen" workers 2 twice '--init all/model.st --freeze layer2'
check "its model has the bits of one worker's" cmp twice/model.st layer2/model.st
# Nothing goes to the reduces. With a run's ID they believe the end frames, and need not wait for others.
SIMCLR_RUN=thrice check "a run of two workers with everything frozen" workers 2 thrice '--init all/model.st --freeze layer4'
check "its model has the bits of one worker's" cmp thrice/model.st layer4/model.st

if python_has numpy; then
    py bad
    refuses() { # file, options
        classify --in "$@" --opt 'exec:sgd --model no.st 2>/dev/null' --out out.st
    }
    check_fails 1 "a label that is not below the number of classes" 'y is 4 in row 2: labels of 4 classes are 0 to 3' refuses label.st
    check_fails 1 "a label below -1" 'y is -5 in row 0' refuses negative.st
    check_fails 1 "a batch without labels" 'no image of the batch has a label' refuses unlabelled.st
    check_fails 1 "a frame without y" 'no tensor y' refuses noy.st
    check_fails 1 "a y that is too short" 'y is I64 \[2\]' refuses short.st
    check_fails 1 "features that are NaN" 'the loss is not finite in step 0' refuses nan.st
    check_fails 1 "an unknown number of classes" 'how many classes\? .* --classes' refuses noclasses.st
    check_fails 1 "far too many classes" '1099511627776 classes' refuses many.st
    check "no model was written" [ ! -e no.st ]
fi
done_testing
