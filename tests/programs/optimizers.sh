#!/usr/bin/env bash
# Tests of the programs sgd and adam: agreement with torch.optim, default rates, resuming, frozen
# tensors, and malformed gradients. lars.sh tests what all optimizers share.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "sgd and adam" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/optimizer.py" "$ROOT" "$@"
}
py run 0 10 10 >all.st

if python_has torch; then
    ten() { # name, command: ten steps
        local name=$1
        shift
        "$@" --lr 0.03 --schedule constant --state "$name.state" <all.st >"$name.st"
    }
    ten sgd sgd --decay all
    ten nesterov sgd --momentum 0.8 --nesterov --weight-decay 0.01 --decay all
    ten adam adam --decay all
    ten coupled adam --beta1 0.8 --beta2 0.95 --eps 1e-4 --weight-decay 0.1 --decay all
    ten adamw adam --decoupled --weight-decay 0.2 --decay all
    ten weights adam --decoupled --weight-decay 0.2
    py torch 'sgd=SGD(momentum=0.9)' 'nesterov=SGD(momentum=0.8, nesterov=True, weight_decay=0.01)' \
        'adam=Adam()' 'coupled=Adam(betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)' \
        'adamw=AdamW(weight_decay=0.2)' 'weights=AdamW(weight_decay=0.2, decay="weights")' >torch.txt
    for name in sgd nesterov adam coupled adamw weights; do
        check "$name agrees with torch to 1e-6" grep -q "^$name agrees" torch.txt
    done
else
    skip "sgd and adam are torch's" "python3-torch is not installed"
fi

for command in 'sgd --nesterov --weight-decay 0.01' 'adam --weight-decay 0.01'; do
    name=${command%% *}
    resumed() {
        $command --state whole.st --save-every 0 --model whole_model.st <all.st >out &&
            py run 0 4 10 | $command --state part.st --save-every 2 >out &&
            py run 4 10 10 | $command --resume --state part.st --model part_model.st >out &&
            cmp part.st whole.st && cmp part_model.st whole_model.st
    }
    check "$name: resumed after four steps, it has the same bits" resumed
    broken() {
        py run 0 6 10 nan | $command --state nan.st --save-every 4 --model none.st >out
    }
    check_fails 1 "$name: a gradient that is not finite" \
        "$name: the gradient of fc.weight is not finite in step 5" broken
    goes_on() {
        [ ! -e none.st ] && py step nan.st 4 && py run 4 10 10 | $command --resume --state nan.st >out &&
            cmp nan.st whole.st
    }
    check "$name: the state is that of the last step" goes_on
done
adam --state adam.st --save-every 0 <all.st >out
check_fails 1 "a state of another optimizer" 'adam.st: the state of adam, not of sgd' \
    sh -c 'sgd --resume --state adam.st --in all.st --out out'
check_fails 2 "Nesterov's momentum of 0" 'nesterov needs --momentum' sgd --nesterov --momentum 0

# The learning rate without --lr, at a batch of 256 and in the middle of the cosine schedule.
rate() { # command, words, expected
    [ "$("$@" --model rate.st --in all.st | inspect --meta lr | sed -n 12p)" = "$want" ]
}
want=0.0500000007
check "sgd's rate is 0.1 at a batch of 256" rate sgd
check "also with --scaling sqrt" rate sgd --scaling sqrt
want=0.000500000024
check "adam's rate is 0.001 at a batch of 256" rate adam
check "also with --scaling sqrt" rate adam --scaling sqrt
want=0.150000006
check "lars' rate is 0.3 at a batch of 256" rate lars --warmup 0
help_tells() { # program, rates
    "$1" --help | grep -A 1 -e --base-lr | grep -q "without: $2 for linear, $3 for sqrt"
}
check "sgd --help has its learning rates" help_tells sgd 0.1 0.00625
check "adam --help has its learning rates" help_tells adam 0.001 6.25e-05
check "lars --help has its learning rates" help_tells lars 0.3 0.075

# Frozen tensors keep their values, and an optimizer neither expects nor accepts gradients for them.
frozen() {
    py run 0 3 3 frozen=conv1,bn1 | adam --state frozen.st --save-every 1 --model frozen_model.st >out &&
        py frozen frozen.st frozen_model.st
}
check "frozen tensors are stored unchanged" frozen
resumed_frozen() {
    py run 0 2 3 frozen=conv1,bn1 | adam --state freeze.st >out &&
        py run 2 3 3 frozen=conv1,bn1 | adam --resume --state freeze.st >out && cmp freeze.st frozen.st
}
check "they are also unchanged after resuming" resumed_frozen
check_fails 1 "a gradient of a frozen tensor" 'a gradient of bn1.weight, which is frozen' \
    sh -c '"$@" | adam --state x.st >out' - /usr/bin/python3 "$ROOT/tests/programs/optimizer.py" "$ROOT" \
    run 0 1 3 frozen=bn1.weight
done_testing
