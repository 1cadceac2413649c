# shellcheck shell=bash
# ablate sources this. It defines the paper's studies as grids of runs. To add a study, write a function
# study_NAME, and add the name to $studies.
#
# Each cell is a run, and a row of the study's table:
#   cell 'LABEL|LABEL' FOLDER [--OPTION VALUE]...    a run of pipelines/train that differs from the
#                                                    base run by these options; the folder of the
#                                                    base run is `base`
#   tuned 'LABEL|LABEL' FOLDER FROM [--OPTION VALUE]...  a run of pipelines/finetune from that
#                                                    folder's encoder; `-`: from scratch
# A study sets $columns to the names of the labels, $plot to the kind of picture (plots.sh), $title to
# the heading, and $judge to what top-1 is measured on, unless that is a linear probe.
# It may read ablate's $scale, $encoder, $batch, $epochs and $limit.
#
# shellcheck disable=SC2034,SC2154 # variables that ablate reads and sets

studies='augmentation strength head loss temperature batch-epochs width labels'

wide() { # whether the scale has the whole grid of the paper
    [ "$scale" = full ]
}
is_base() { # VALUE BASE FOLDER: prints `base` if VALUE is that of the base run, else FOLDER
    if [ "$1" = "$2" ]; then echo base; else echo "$3"; fi
}
color() { # STRENGTH: prints the operations of color distortion (appendix A)
    echo "jitter:0.8:$1,gray:0.2"
}
views() {
    echo "augment --ops $1"
}

# Figure 5: operations alone, on the diagonal, and in pairs. All views are flipped at random.
study_augmentation() {
    local names=(crop color cutout) ops=(crop "$(color 1)" cutout) i j
    if wide; then
        names+=(rotate noise blur sobel)
        ops+=(rotate noise blur sobel)
    fi
    title='Operations alone and in pairs' columns='first|second' plot=heat
    for i in "${!names[@]}"; do
        cell "${names[i]}|${names[i]}" "ops-${names[i]}" --augment "$(views "${ops[i]},flip")"
        for ((j = i + 1; j < ${#names[@]}; j++)); do
            cell "${names[i]}|${names[j]}" "ops-${names[i]}-${names[j]}" \
                --augment "$(views "${ops[i]},flip,${ops[j]}")"
        done
    done
}

# Table 1. The views of the base run have strength 0.5, without blur, like the paper's for CIFAR-10.
study_strength() {
    local strength
    title='Strength of color distortion' columns='strength' plot=points
    for strength in 0.125 0.25 0.5 1; do
        cell "$strength" "$(is_base "$strength" 0.5 "strength-$strength")" \
            --augment "$(views "crop,flip,$(color "$strength")")"
    done
    cell '1 and blur' strength-1-blur --augment "$(views "crop,flip,$(color 1),blur")"
}

# Figure 8. The paper evaluates h; here z is evaluated as well.
study_head() {
    local dims=(128) dim
    title='Projection heads, evaluated before (h) and after (z)' columns='head|output' plot=head
    ! wide || dims=(32 64 128 256 512 1024 2048)
    cell 'none|of h' head-none --projector 'project --layers 0'
    for dim in "${dims[@]}"; do
        cell "linear|$dim" "head-linear-$dim" --projector "project --layers 1 --dim $dim"
    done
    for dim in "${dims[@]}"; do
        cell "nonlinear|$dim" "$(is_base "$dim" 128 "head-nonlinear-$dim")" \
            --projector "project --layers 2 --dim $dim"
    done
    cell '3 layers|128' head-3-layers --projector 'project --layers 3'
}

# Tables 2 and 4, and other methods (docs/methods.md). NT-Xent is included at the temperature that suits short
# runs, too. All have the base run's optimizer. Sources of what a method has besides its loss's defaults:
#   Barlow Twins, VICReg   a head of three layers wider than h, 8192 in both papers (2103.03230, 2105.04906)
#   BYOL                   hidden layers of 4096 and outputs of 256 (2006.07733, section 3.3)
#   MoCo                   temperature 0.2 (v2, 2003.04297); a queue of 16 batches, in the paper (1911.05722)
#                          of 256
#   slow copies            M = 0.99 as in solo-learn's runs on CIFAR-10, for short runs
study_loss() {
    local slow='--ema 0.99' head='--hidden 512' expander='project --layers 3 --hidden 512 --dim 512'
    ! wide || head='--hidden 4096 --dim 256' expander='project --layers 3 --hidden 8192 --dim 8192'
    title='Losses and methods' columns='loss' plot=points
    cell 'NT-Xent, T = 0.5' base
    cell 'NT-Xent, T = 0.1' temperature-0.1 --loss 'ntxent --temperature 0.1'
    cell 'NT-Logistic' ntlogistic --loss ntlogistic
    cell 'NT-Logistic, semi-hard' ntlogistic-semi-hard --loss 'ntlogistic --semi-hard'
    cell 'margin' triplet --loss triplet
    cell 'margin, semi-hard' triplet-semi-hard --loss 'triplet --semi-hard'
    cell 'DCL' dcl --loss dcl
    cell 'HCL' hcl --loss hcl
    cell 'SupCon, with labels' supcon --loss supcon
    cell 'Barlow Twins' barlow --projector "$expander" --loss barlow
    cell 'VICReg' vicreg --projector "$expander" --loss vicreg
    cell 'BYOL' byol --encoder "$encoder $slow" --projector "project $head $slow" \
        --predictor "project --predictor $head" --loss byol
    cell 'MoCo' moco --encoder "$encoder $slow" --projector "project $slow" \
        --loss "ntxent --queue $((32 * batch)) --temperature 0.2"
}

# Table 5: NT-Xent with and without l2 normalization of z.
study_temperature() {
    local t
    title='Temperature' columns='l2 norm|temperature' plot=lines
    for t in 0.05 0.1 0.2 0.5 1 2; do
        cell "yes|$t" "$(is_base "$t" 0.5 "temperature-$t")" --loss "ntxent --temperature $t"
    done
    for t in 1 10 100; do
        cell "no|$t" "temperature-$t-no-l2" --loss "ntxent --temperature $t --no-normalize"
    done
}

# Figure 9. The learning rate scales with the batch size (appendix B.1).
study_batch_epochs() {
    local sizes=("$((batch / 2))" "$batch" "$((batch * 2))") lengths=("$(((epochs + 1) / 2))" "$epochs") b e
    if wide; then
        sizes+=("$((batch * 4))" "$((batch * 8))")
        lengths+=("$((epochs * 2))" "$((epochs * 4))" "$((epochs * 8))")
    fi
    title='Batch size and length of training' columns='epochs|batch' plot=lines
    for e in "${lengths[@]}"; do
        for b in "${sizes[@]}"; do
            cell "$e|$b" "$(is_base "$e $b" "$epochs $batch" "epochs-$e-batch-$b")" --epochs "$e" --batch "$b"
        done
    done
}

# Figure 7: multiples of the width of the base run's encoder.
study_width() {
    local base factor width factors=(0.25 0.5 1)
    ! wide || factors+=(2 4)
    base=$(option_of "$encoder" width 1)
    title='Width of the encoder' columns='width' plot=points
    for factor in "${factors[@]}"; do
        width=$(awk -v factor="$factor" -v base="$base" 'BEGIN { print factor * base }')
        cell "$width" "$(is_base "$factor" 1 "width-$width")" --encoder "$encoder --width $width"
    done
}

# Table 7: the base run's encoder trained on a part of the labels, beside one with random parameters.
study_labels() {
    local share shares=(0.01 0.1) percent few
    ! wide || shares+=(1)
    title='Few labels' columns='training|labels in %' plot=lines judge='the classifier'
    for share in "${shares[@]}"; do
        percent=$(awk -v share="$share" 'BEGIN { print 100 * share }')
        few=(--labels "$share" --batch "$(batch_of "$share")")
        tuned "from scratch|$percent" "labels-$percent-scratch" - "${few[@]}"
        tuned "fine-tuned|$percent" "labels-$percent-fine-tuned" base "${few[@]}"
        tuned "linear, frozen|$percent" "labels-$percent-frozen" base "${few[@]}" --freeze layer4
    done
}

batch_of() { # SHARE: prints finetune's batch size, or the largest power of two that the images can fill
    awk -v images="$limit" -v share="$1" 'BEGIN {
        for (batch = 64; images && batch > 1 && batch > images * share; batch /= 2);
        print batch
    }'
}
option_of() { # COMMAND OPTION DEFAULT: prints the value of an option in a command
    awk -v name="--$2" -v value="$3" '{
        for (i = 1; i < NF; i++) if ($i == name) value = $(i + 1)
        print value
    }' <<<"$1"
}
