#!/usr/bin/env bash
# Tests of the loss programs: agreement with numpy in float64, metadata that passes through, bad input.
# ntxent.sh has more on the first of them.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

if ! python_has numpy; then
    skip "losses" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/losses.py" "$ROOT" "$@"
}
py make

agrees() { # input, program, option for the number or -, number, FLAG or FLAG=VALUE...
    local input=$1 program=$2 option=$3 number=$4
    shift 4
    local given=()
    [ "$option" = - ] || given=("--$option" "$number")
    "$program" "${given[@]}" "${@/#/--}" <"$input" >reply.st &&
        py judge "$input" reply.st "$program" "$number" "$@"
}
check "ntxent --no-normalize" agrees z.st ntxent temperature 0.2 no-normalize
check "supcon with its defaults" agrees z.st supcon - 0.1
check "supcon of one, three and four views" agrees views.st supcon temperature 0.3
check "supcon --no-normalize" agrees views.st supcon temperature 0.3 no-normalize
check "ntlogistic with its defaults" agrees z.st ntlogistic - 0.5
check "ntlogistic --no-normalize" agrees z.st ntlogistic temperature 0.2 no-normalize
check "ntlogistic --semi-hard" agrees z.st ntlogistic temperature 0.2 semi-hard
check "triplet with its defaults" agrees z.st triplet - 0.4
check "triplet --margin 0.8 --no-normalize" agrees z.st triplet margin 0.8 no-normalize
check "triplet --semi-hard" agrees z.st triplet margin 0.3 semi-hard
check "triplet --semi-hard --no-normalize" agrees z.st triplet margin 0.3 semi-hard no-normalize
check "byol" agrees targets.st byol - 0
check "dcl with its defaults" agrees z.st dcl - 0.1
check "dcl --weighted" agrees z.st dcl temperature 0.2 weighted
check "dcl --weighted --sigma 0.2 --no-normalize" agrees z.st dcl temperature 0.2 weighted sigma=0.2 no-normalize
check "hcl with its defaults" agrees z.st hcl - 0.5
check "hcl --beta 0.3 --tau-plus 0.02" agrees z.st hcl temperature 0.3 beta=0.3 tau-plus=0.02
check "hcl --no-normalize" agrees z.st hcl temperature 0.4 no-normalize
dimensions_agree() { # numbers, program, OPTION...
    "${@:2}" <z.st >reply.st && py judge z.st reply.st "$2" "$1"
}
check "barlow with its defaults" dimensions_agree 0.0051 barlow
check "barlow --lambda 0.5" dimensions_agree 0.5 barlow --lambda 0.5
check "vicreg with its defaults" dimensions_agree 25,25,1 vicreg
check "vicreg with other weights" dimensions_agree 2,3,4 vicreg --sim 2 --var 3 --cov 4

same_bytes() {
    "$1" --threads 1 <z.st >one.st && "$1" --threads 3 <z.st | cmp - one.st
}
refuses() { # program, what a single image lacks
    check_fails 1 "$1: a NaN" "$1: the loss is not finite in step 1" sh -c "$1 <nan.st >out"
    check_fails 1 "$1: no z" 'the frame has no tensor z' sh -c "$1 <noz.st >out"
    check_fails 1 "$1: another type" 'tensor z is U8' sh -c "$1 <bytes.st >out"
    check_fails 1 "$1: no images" 'nothing to compare' sh -c "$1 <empty.st >out"
    check_fails 1 "$1: no $2" "z is of a single image, which has no $2: .*--batch of 2" \
        sh -c "$1 <single.st >out"
    check_fails 2 "$1: a word too many" "unexpected word 'z.st'" "$1" z.st
    check_fails 2 "$1: no threads" '--threads: 0 is not between' "$1" --threads 0
}
for program in supcon ntlogistic triplet dcl hcl; do
    check "$program: the same bytes with one and with three threads" same_bytes "$program"
    refuses "$program" negatives
done
for program in barlow vicreg; do
    check "$program: the same bytes with one and with three threads" same_bytes "$program"
    refuses "$program" variance
    check_fails 2 "$program: no --no-normalize" "unknown option '--no-normalize'" "$program" --no-normalize
done
check_fails 2 "a weight below zero" '--cov: -1 is not between' vicreg --cov -1
check_fails 2 "a lambda that is no number" '--lambda: .*nan' barlow --lambda nan
check "byol: the same bytes with one and with three threads" eval \
    'byol --threads 1 <targets.st >one.st && byol --threads 3 <targets.st | cmp - one.st'
check_fails 1 "byol: no targets" 'no tensor z_target, which the momentum encoder makes.* --ema' sh -c 'byol <z.st >out'
check_fails 1 "byol: targets of another width" 'z_target is F32 \[4,2,3\], not F32 \[4,2,4\]' sh -c 'byol <narrow.st >out'
check_fails 1 "byol: a NaN in the targets" 'byol: the loss is not finite in step 0' sh -c 'byol <nantarget.st >out'
check_fails 1 "byol: four views" 'tensor z is F32 \[5,1,3\], not F32 \[\?,2,\?\]' sh -c 'byol <views.st >out'
for program in ntlogistic triplet dcl hcl barlow vicreg; do
    check_fails 1 "$program: four views" 'tensor z is F32 \[5,1,3\], not F32 \[\?,2,\?\]' \
        sh -c "$program <views.st >out"
done
check_fails 1 "supcon: no labels" 'the frame has no tensor y' sh -c 'supcon <noy.st >out'
check_fails 1 "supcon: too few labels" 'tensor y is I64 \[3\], not I64 \[4\]' sh -c 'supcon <short.st >out'
check_fails 1 "supcon: labels of another type" 'tensor y is F32' sh -c 'supcon <float.st >out'
check_fails 1 "supcon: no label" 'y of image 2 is -2: neither a label nor -1' sh -c 'supcon <label.st >out'
check_fails 2 "a temperature of zero" '--temperature: 0 is not between' supcon --temperature 0
check_fails 2 "a margin below zero" '--margin: -1 is not between' triplet --margin -1
check_fails 2 "semi-hard without a margin" 'semi-hard needs a --margin above 0' triplet --semi-hard --margin 0
check_fails 2 "a sigma without weights" '^dcl: --sigma needs --weighted' dcl --sigma 0.5
check_fails 2 "a beta below zero" '--beta: -1 is not between 0 and 100' hcl --beta -1
check_fails 2 "no negative of another class" '--tau-plus: 1 is not between 0 and 0.99' hcl --tau-plus 1

# In training, labels reach the loss; metrics that a loss does not send are not needed anywhere.
train() { # loss
    augment --data shapes --batch 8 --steps 2 |
        encode --width 0.125 --opt 'exec:lars --warmup-steps 1' \
            --next "exec:project --dim 8 --opt 'exec:lars --warmup-steps 1' --next 'exec:$1'" |
        progress --log log.tsv >metrics.st && [ "$(cut -f 3 log.tsv | head -n 1)" = loss ] &&
        [ "$(wc -l <log.tsv)" = 3 ] && rm log.tsv
}
check "supcon trains" train supcon
check "ntlogistic trains" train 'ntlogistic --semi-hard'
check "triplet trains" train triplet
check "dcl trains" train 'dcl --weighted'
check "hcl trains" train hcl
check "barlow trains" train barlow
check "vicreg trains" train 'vicreg --sim 10'
gathered() { # LOSS, images, number of workers: each gets its rows of what one worker gets
    local loss=$1 images=$2 world=$3 r pids=() parts=()
    project --layers 0 --next "exec:$loss" <"h$images.1.0.st" >whole.st || return 1
    gather --world "$world" --listen "ipc://$T/g" --next "exec:$loss" &
    pids+=($!)
    for ((r = 0; r < world; r++)); do
        project --layers 0 --next "ipc://$T/g" <"h$images.$world.$r.st" >"g$r.st" &
        pids+=($!)
        parts+=("g$r.st")
    done
    all_end "${pids[@]}" && py join whole.st "${parts[@]}"
}
check "a worker may have one image" gathered ntxent 2 2
for loss in 'dcl --weighted' hcl; do
    for world in 1 2 4; do
        check "$loss: the same bits with $world workers that gather" gathered "$loss" 100 "$world"
    done
done

# Losses over the whole batch are easily wrong by 1/world in a data-parallel run, as Barlow Twins'
# gradient was in lightly until 2026 (lightly #1977). Here the loss gets the rows of all workers.
any_workers() { # loss
    local world r pids
    for world in 1 2 4; do
        py shards $world
        gather --world $world --listen "ipc://$T/$1.$world" --next "exec:$1" &
        pids=($!)
        for ((r = 0; r < world; r++)); do
            project --layers 0 --next "ipc://$T/$1.$world" <h$r.st >g$r.st &
            pids+=($!)
        done
        all_end "${pids[@]}" && py gathered $world "$1" >dz.$world && cmp dz.1 dz.$world || return 1
    done
}
check "barlow: 1, 2 and 4 workers get the gradient of the whole batch (lightly #1977)" any_workers barlow
check "vicreg: 1, 2 and 4 workers get the gradient of the whole batch" any_workers vicreg
done_testing
