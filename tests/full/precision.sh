#!/usr/bin/env bash
# Tests of encode --precision: gradients and features of a whole network against PyTorch's.
#   precision.sh --table    also prints the cosines of each layer
#   VIEWS, SEEDS            environment variables: 16 views for each of the seeds "1 2 3"
set -eu
. "$(dirname "$0")/../lib.sh"
if ! python_has torch torchvision; then
    skip "gradients beside PyTorch's" "python3-torchvision is not installed"
    done_testing
    exit 0
fi
read -ra seeds <<<"${SEEDS:-1 2 3}"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/full/precision.py" "$ROOT" "$@"
}

lacking() { # options for which this machine lacks the instructions
    encode --width 0.0625 "$@" <"views.${seeds[0]}" 2>&1 >/dev/null | grep -q 'this machine lacks'
}

# One training step for each seed writes gradients.RUN.SEED and features.RUN.SEED. There is no loss:
# the gradient of the features is the same for all that are compared. The optimizer's reply repeats
# the gradients, since there is no second step.
steps() { # RUN, options
    local run=$1 seed
    shift
    for seed in "${seeds[@]}"; do
        encode --init "init.$seed" "$@" --opt "exec:tee gradients.$run.$seed" \
            --next "exec:cat dh.$seed & cat > features.$run.$seed; wait" \
            <"views.$seed" >metrics.st || return
    done
}

compare() { # precision, RUN, options
    local precision=$1 run=$2
    shift 2
    steps "$run" --precision "$precision" "$@" && py "$precision" "$run" "${seeds[@]}"
}

judge() { # expected result, precision, RUN, options
    local what=$1
    shift
    if lacking --precision "$1" "${@:3}"; then
        skip "$what" "this machine lacks the instructions"
    else
        check "$what" compare "$@"
        runs=$runs,$2
    fi
}

for seed in "${seeds[@]}"; do
    augment --data shapes --policy simclr-cifar --batch $((${VIEWS:-16} / 2)) --steps 1 \
        --seed "$seed" >"views.$seed"
done
py make "${seeds[@]}"
runs=autocast
plain=fp32-portable
for kernel in fp32-avx2 fp32-avx512; do
    lacking --precision bf16 --kernel $kernel || plain=$kernel
done
for kernel in bf16-amx bf16-avx512 "$plain"; do
    judge "bf16 by $kernel: as close as PyTorch's autocast" bf16 "$kernel" --kernel "$kernel"
done
all=("${seeds[@]}")
seeds=("${seeds[0]}") # one is enough if bounds leave room for chance
judge "fp32x3: 2^8 times closer than PyTorch's autocast" fp32x3 fp32x3
judge "fp32: as close as two float32 computations are" fp32 fp32
[ "${1-}" != --table ] || py table "$runs" "${all[@]}"
done_testing
