#!/usr/bin/env bash
# The momentum encoder (--ema): its slow copies, its targets, workers, resumed runs, and bad input.
# shellcheck disable=SC2016,SC2086 # texts for eval, and lists of words
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

if ! python_has numpy; then
    skip "ema" "python3-numpy is not installed"
    done_testing
    exit
fi
py() {
    in_time /usr/bin/python3 "$ROOT/tests/programs/ema.py" "$ROOT" "$@"
}
views() {
    augment --data shapes --size 8 --batch 8 --steps "${STEPS:-3}" --threads 1 "$@"
}
encode="encode --width 0.0625 --threads 1"
sgd="sgd --lr 0.3"
# NAME of the run, FLAGS of encode, its optimizer, flags of augment: BYOL, in one process each
byol() {
    local head
    head="exec:tee $1.h | project --threads 1 --dim 8 --ema 0.8 --opt '$sgd_head' --next \"exec:tee $1.z | project --predictor"
    head+=" --threads 1 --opt '$sgd_predictor' --next exec:byol\""
    views "${@:4}" | $encode $2 --opt "$3" --next "$head" >"$1.metrics"
}
sgd_head="exec:$sgd" sgd_predictor="exec:$sgd"

# ---- what it computes ----

trained() {
    byol plain '--ema 0.9' "exec:tee requests.st | $sgd --state plain.state --model plain.model | tee replies.st" 2>err &&
        py follows requests.st replies.st plain.state
}
check "slow copies follow the parameters, and cross the link once" trained
check "they are in the state and not in the model" eval \
    '[ "$(inspect plain.state | grep -c "  ema/")" -gt 40 ] && ! inspect plain.model | grep -q ema'
# The target of step 2 is what a network with the slow copies of the first two steps computes in training.
the_target() {
    views --start 2 >views.st && py first views.st third.st && py starts two.state slow.model &&
        $encode --init slow.model --opt "exec:$sgd" --next "exec:tee slow.h | project --opt 'exec:$sgd' --next exec:ntxent" \
            <third.st >out 2>err && py same_target plain.h 2 slow.h h
}
stopped() { # NAME, FLAGS, optimizer: the loss fails in step 2
    local byol="$ROOT/tests/programs/fail-after 2 byol"
    views | $encode $2 --opt "$3" --next "exec:tee $1.h | project --threads 1 --dim 8 --ema 0.8 --opt '$4' --next \"exec:tee $1.z | project --predictor --threads 1 --opt '$5' --next 'exec:$byol'\"" >"$1.metrics" 2>err && return 1
    grep -q 'exited with status 9' err
}
check "a run that stops after two steps" stopped two '--ema 0.9' "exec:$sgd --state two.state --save-every 2" \
    "exec:$sgd --state two-head.state --save-every 2" "exec:$sgd --state two-predictor.state --save-every 2"
check "the targets are those of the slow copies, with the batch's statistics" the_target
resumed() {
    local sgd_head="exec:$sgd --state two-head.state --resume" sgd_predictor="exec:$sgd --state two-predictor.state --resume"
    byol two '--ema 0.9' "exec:$sgd --state two.state --resume --model two.model" --start 2 2>err &&
        cmp two.state plain.state && cmp two.model plain.model
}
check "resumed, the run ends with the same bits" resumed
half() { # the optimizer's copies follow what the link rounds
    views | $encode --wire bf16 --ema 0.9 --next "exec:project --layers 0 --ema 0 --next exec:byol" \
        --opt "exec:tee requests.st | $sgd --state half.state | tee replies.st" >out 2>err &&
        py follows requests.st replies.st half.state
}
check "--wire bf16: they follow the rounded values; a head without layers passes targets on" half
frozen() {
    views | $encode --init slow.model --freeze layer1 --ema 0.9 --opt "exec:$sgd --state frozen.state" \
        --next 'exec:tee frozen.h | project --layers 0 --ema 0.9 --next exec:byol' >out 2>err &&
        py frozen frozen.state && py same_at_first frozen.h h
}
check "a frozen parameter's slow copy equals it, and so do the statistics of frozen norms" frozen

# ---- the same bits in other ways ----

same_losses() { # NAME, NAME
    cmp <(inspect --meta loss "$1.metrics") <(inspect --meta loss "$2.metrics") && [ "$(inspect --meta loss "$1.metrics" | wc -l)" = 3 ]
}

spread() { # WORLD
    local rank pids=() name=world$1
    $sgd --listen ipc://opt.ipc --state "$name.state" &
    pids+=($!)
    reduce --world "$1" --listen ipc://reduce.ipc --next ipc://opt.ipc &
    pids+=($!)
    reduce --world "$1" --listen ipc://sync.ipc &
    pids+=($!)
    gather --world "$1" --listen ipc://gather.ipc --next "exec:project --threads 1 --dim 8 --ema 0.8 --opt ipc://opt.ipc \
        --next 'exec:project --predictor --threads 1 --opt ipc://opt.ipc --next exec:byol'" &
    pids+=($!)
    for ((rank = 0; rank < $1; rank++)); do
        views --shard "$rank/$1" | $encode --ema 0.9 --opt ipc://reduce.ipc --sync ipc://sync.ipc --next ipc://gather.ipc \
            >"$name.$rank.metrics" &
        pids+=($!)
    done
    all_end "${pids[@]}"
}
same_spread() {
    spread "$1" && cmp "world$1.state" world1.state &&
        same_losses "world$1.0" plain
}
check "one worker with --sync, and one optimizer for all stages" spread 1
for world in 2 4; do
    check "$world workers end with the same bits" same_spread $world
done
sharded() {
    local k list=
    for k in 0 1; do
        list+="${list:+,}exec:$sgd --state shard$k.state --model shard$k.model"
    done
    byol shard '--ema 0.9' "exec:shard --next \"$list\"" 2>err &&
        /usr/bin/python3 "$ROOT/tests/programs/shard.py" "$ROOT" same plain.state shard0.state shard1.state &&
        same_losses plain shard
}
check "two optimizers behind a shard hold the same bits" sharded
chunks() { # at first both networks are the same
    STEPS=2 byol chunk '--ema 0.9 --chunk 3' "exec:$sgd" 2>err && py same_at_first chunk.h h
}
check "--chunk computes the targets in the same chunks" chunks

# ---- what reads such a run ----

exports() {
    export-model --model world1.state --projector --to exported.safetensors 2>err && [ ! -s err ] &&
        ! inspect exported.safetensors | grep -qE 'ema|predictor' || return 1
    augment --data shapes --size 8 --policy eval --batch 50 --limit 100 | $encode --init world1.state 2>err |
        project --init world1.state 2>>err | project --predictor --init world1.state 2>>err >z.st &&
        [ ! -s err ] && [ "$(inspect z.st | grep -c '  z ')" = 2 ]
}
check "export-model, encode, project and a predictor read the state of such a run without a word" exports

# ---- what is refused ----

again() { # FLAGS of encode, STATE
    views | $encode $1 --opt "exec:$sgd --state $2 --resume" --next "exec:project --layers 0 --next 'exec:ntxent 2>/dev/null'" \
        2>&1 >out | grep '^sgd' >&2
    return "${PIPESTATUS[1]}"
}
check_fails 1 "a state of another momentum" \
    '^sgd: plain.state: made with --ema 0.9 for [a-z0-9.]+, and this run has 0.99: resume with what it was' again '--ema 0.99' plain.state
check_fails 1 "a state with slow copies for a run without" 'made with --ema 0.9 for .* this run has none' again '' plain.state
py without plain.state slot.state slot
py without plain.state key.state key
check_fails 1 "a state that lacks a slow copy" '^sgd: slot.state: ema/conv1.weight is missing or does not fit' again '--ema 0.9' slot.state
check_fails 1 "a state that lacks a momentum" '^sgd: key.state: ema/conv1.weight has no momentum' again '--ema 0.9' key.state
py without plain.state both.state both
check_fails 1 "a state without slow copies for a run with" 'made with --ema none for conv1.weight, and this run has 0.9' again '--ema 0.9' both.state
peer() { # HOW
    views | $encode --ema 0.9 --opt "exec:/usr/bin/python3 $ROOT/tests/programs/ema.py $ROOT serve $1 2>/dev/null" \
        --next "exec:project --layers 0 --next 'exec:ntxent 2>/dev/null' 2>/dev/null" >out
}
check_fails 1 "an optimizer that keeps no slow copies" 'the answer to a join lacks ema/.*: this optimizer keeps no slow copies, which --ema needs$' peer none
check_fails 1 "a slow copy of NaN" 'ema/conv1.weight' peer nan
check_fails 1 "a slow copy of another shape" 'ema/conv1.weight is F32 \[3,3,3,3\], not F32 \[4,3,3,3\]' peer shape
check_fails 1 "an optimizer that answers a gradient without a value" 'no answer to gradients has conv1.weight, which its slow copy follows' peer lacks
views | $encode >h.st
step() {
    views --steps 1 | $encode ${1:-} --opt "exec:$sgd 2>/dev/null" --next "exec:project --threads 1 ${2:-} --opt 'exec:$sgd 2>/dev/null' --next 'exec:${3:-byol} 2>loss.err'" 2>err >out && return
    local status=$?
    grep -E "${4:-^project}" err >&2
    return $status
}
check_fails 1 "a head with --ema, of an encoder without" \
    'project: the frame has no tensor h_target, from which --ema computes z_target: give the stage before this one --ema as well' step '' '--ema 0.9'
check "an encoder with --ema, a head and a loss without" step '--ema 0.9' '' ntxent
check_fails 1 "BYOL without targets of the head" '^byol: the frame has no tensor z_target, which the momentum encoder makes' \
    eval '! step "--ema 0.9" 2>/dev/null && cat loss.err >&2 && false'
check_fails 2 "--ema without --next" '--ema needs --next' encode --ema 0.9
check_fails 2 "--ema 1" '--ema: .* it must be below 1' encode --ema 1 --next exec:cat --opt exec:cat
check_fails 2 "--ema above 1" '--ema: 1.5 is not between' encode --ema 1.5
check_fails 2 "--ema of a predictor" '--ema and --predictor exclude each other' project --predictor --ema 0.9 --next exec:cat --opt exec:cat
done_testing
