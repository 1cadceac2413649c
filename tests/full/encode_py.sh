#!/usr/bin/env bash
# Tests of examples/encode.py, any module of PyTorch as the encoder: ResNet-18 beside `encode`, PyTorch and
# float64; a vision transformer in the pipelines, with two workers, and killed and resumed.
# shellcheck disable=SC2016,SC2086 # commands are several words, and eval expands the texts
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
HANG=600 # for in_time, on a busy machine

if ! python_has torch torchvision zmq; then
    skip "modules of PyTorch as the encoder" "python3-torch, python3-torchvision or python3-zmq is not installed"
    done_testing
    exit
fi
py() {
    /usr/bin/python3 "$ROOT/tests/full/encode_py.py" "$ROOT" "$@"
}
python="/usr/bin/python3 $ROOT/examples/encode.py --threads 1 --timeout 600" # threads would wait for each other beside other tests
vit="$python --model $ROOT/tests/full/vit.py"

# ---- ResNet-18 beside encode ----
augment --data shapes --size 32 --batch 8 --steps 3 >views.st
augment --data shapes --size 32 --batch 8 --steps 1 |
    encode --opt 'exec:sgd --lr 0 --model init.st' \
        --next 'exec:project --dim 16 --opt "exec:sgd --lr 0 --model head.st" --next exec:ntxent' >start.st
resnet() { # NAME, command of the encoder
    $2 --init init.st --opt "exec:sgd --lr 0.001 --momentum 0 --schedule constant --model model-$1.st" --next \
        'exec:project --init head.st --opt "exec:sgd --lr 0.001 --momentum 0 --schedule constant --model none.st" --next exec:ntxent' \
        <views.st >"metrics-$1.st"
}
check "encode.py trains ResNet-18" resnet python "$python --model torchvision:resnet18"
check "encode trains it" resnet c encode
check "both are as close to float64 as PyTorch is" py steps
check "the model loads into torchvision's network" py loads model-python.st
both() { # MODEL
    augment --data shapes --policy eval --size 32 --batch 20 --limit 40 >eval.st
    $python --model torchvision:resnet18 --init "$1" <eval.st >python.h && encode --init "$1" <eval.st >c.h && py features python.h c.h
}
check "encode reads a model of encode.py, and gives its features" both model-python.st
check "encode.py reads a model of encode, and gives its features" both model-c.st
check "what does not fit is refused with one line" py refusals

# ---- a vision transformer in the pipelines ----
train() { # RUN, options
    local run=$1
    shift
    in_time "$ROOT/pipelines/train" --run "$run" --data shapes --augment 'augment --size 32' --batch 32 \
        --optimizer 'sgd --lr 0.05 --momentum 0.9' "$@" >"$run.out" 2>&1 || { tail -n 20 "$run.out" && false; }
}
learns() { # the projector does not learn, so the loss falls because the encoder does
    augment --data shapes --size 32 --ops crop:0.6-1,flip --batch 32 --steps 40 | $vit:vit --opt 'exec:adam --lr 0.002 --warmup-steps 5 ' \
        --next 'exec:project --opt "exec:sgd --lr 0 --model p.st" --next "exec:ntxent --temperature 0.1"' | inspect --meta loss >losses.txt
    # With the seeds 0 to 2, the last ten losses are 0.27 to 0.30 of the first five, on average.
    awk '{ if (NR <= 5) first += $NF / 5; if (NR > 30) last += $NF / 10 } END { print first, last; exit !(NR == 40 && last < first / 2) }' losses.txt
}
check "a vision transformer learns: its loss falls to less than half" learns
check "pipelines/train trains it" train vit --steps 4 --encoder "$vit:vit" --optimizer 'adam --lr 0.002'
judged() {
    "$ROOT/pipelines/judge" --run vit --limit 300 --test-limit 100 --bootstrap 100 >table && cat table &&
        [ "$(cut -f 1-3 vit/evaluation/results.tsv | tail -n +2 | tr '\t' / | paste -s -d ' ')" = \
            "trained/h/linear trained/h/knn random/h/linear random/h/knn pixels/x/linear pixels/x/knn" ]
}
check "pipelines/judge judges it, beside random weights" judged

# ---- workers ----
constant='sgd --lr 0.05 --momentum 0 --schedule constant'
one_step() { # the initial parameters
    train init --steps 1 --encoder "$vit:vit" --optimizer 'sgd --lr 0' && train one --steps 4 --encoder "$vit:vit" --optimizer "$constant"
}
two() {
    in_time "$ROOT/pipelines/distributed" --workers 2 --run two --data shapes --augment 'augment --size 32' --batch 32 --steps 4 \
        --encoder "$vit:vit" --optimizer "$constant" >two.out 2>&1 || { tail -n 20 two.out && false; }
}
check "one worker" one_step
check "two workers, through gather and reduce" two
check "they learn what one worker learns" py changes init/model.safetensors one/model.safetensors two/model.safetensors
batch_norm() {
    "$ROOT/pipelines/distributed" --workers 2 --run normed --data shapes --augment 'augment --size 32' --batch 8 --steps 2 \
        --restarts 0 --encoder "$python --model torchvision:resnet18" >normed.out 2>&1 && return 1
    cat normed.out normed/log.txt
    grep -q 'encode.py: --sync: bn1 is a batch norm, which does not span the workers here' normed.out normed/log.txt
}
check "a batch norm in several workers is refused" batch_norm

# ---- killed and resumed ----
cat >killed.py <<P
import os, sys
sys.path.insert(0, "$ROOT/tests/full")
import vit

def model():
    network, n = vit.dropping(), [0]
    def count(*_):
        n[0] += 1
        if n[0] == 7 and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), 9)
    network.register_forward_pre_hook(count)
    return network
P
resumed() {
    touch killed && train whole --steps 10 --save-every 4 --encoder "$python --model killed.py:model" &&
        rm killed && train killed-run --steps 10 --save-every 4 --encoder "$python --model killed.py:model" && [ -e killed ] &&
        grep -q 'train: again in 1 s, from the last state' killed-run.out && cmp whole/model.safetensors killed-run/model.safetensors &&
        [ "$(head -n 1 whole/metrics.tsv | cut -f 10-)" = views_per_s ] &&
        cmp <(cut -f 1-9 whole/metrics.tsv) <(cut -f 1-9 killed-run/metrics.tsv)
}
check "a run that is killed by SIGKILL and resumed ends in the same bits" resumed

# ---- a slow copy ----
byol() { # NAME, loss, options of the optimizer, options of augment
    local head="exec:project --predictor --dim 8 --opt ipc://$1.ipc --next '$2'" optimizer
    # shellcheck disable=SC2086 # words
    in_time sgd --lr 0.03 --listen "ipc://$1.ipc" --state "$1.state" --save-every 2 $3 &
    optimizer=$!
    # shellcheck disable=SC2086
    augment --data shapes --size 16 --batch 8 --steps 3 $4 | $python --model torchvision:resnet18 --ema 0.9 --opt "ipc://$1.ipc" \
        --next "exec:tee $1.h | project --dim 8 --ema 0.8 --opt ipc://$1.ipc --next \"$head\"" >"$1.metrics" 2>"$1.err" || {
        wait $optimizer
        return 1
    }
    wait $optimizer
}
stopped() {
    ! byol stopped "exec:$ROOT/tests/programs/fail-after 2 byol" '' '' && [ "$(inspect --meta step stopped.state)" = 2 ] &&
        byol stopped exec:byol --resume '--start 2' && cmp whole.state stopped.state
}
check "BYOL with --ema" byol whole exec:byol '' ''
check "its slow copy moves as the optimizer's does, so a resumed run has the same bits" stopped
check "its targets are those of the slow copies" py targets whole.h stopped.h whole.state

# ---- keys, bfloat16, frozen parameters ----
keygen server && keygen one
frozen() {
    in_time sgd --lr 0.1 --listen "tcp://$LOOPBACK:7001" --curve-key server.key --curve-clients one.pub --model after.st 2>server.err &
    server=$!
    augment --data shapes --size 32 --batch 8 --steps 2 | $vit:frozen --precision bf16 --opt "tcp://$LOOPBACK:7001" \
        --curve-key one.key --curve-server-key server.pub --next 'exec:project --dim 8 --opt "exec:sgd --lr 0.1 --model p.st" --next exec:ntxent' \
        >metrics.st || return 1
    all_end $server && augment --data shapes --size 32 --batch 8 --steps 1 | $vit:frozen --opt 'exec:sgd --lr 0 --model before.st' \
        --next 'exec:project --dim 8 --opt "exec:sgd --lr 0.1 --model p.st" --next exec:ntxent' >metrics.st && py frozen before.st after.st
}
check "over tcp:// with keys, in bfloat16: what is frozen stays, the rest learns" frozen
wires() {
    augment --data shapes --size 32 --batch 8 --steps 2 | $vit:vit --wire bf16 --opt 'exec:tee requests.st | sgd --lr 0.1 --model wire.st' \
        --next 'exec:project --dim 8 --opt "exec:sgd --lr 0.1 --model p.st" --next exec:ntxent' >metrics.st && py wires requests.st
}
check "--wire bf16 narrows the gradients of weights alone" wires
done_testing
