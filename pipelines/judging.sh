# shellcheck shell=bash
# judge sources this. It computes features as streams in $work, results as JSON in $out, and from
# these tables and pictures.
#
# $work holds for each SPLIT, train and test:
#   images-SPLIT.st   images x, and the labels y that the task asks for
#   NAME-SPLIT.st     the outputs of NAME for them: trained (h), head (z or logits), random (h)
# shellcheck disable=SC2154 # judge sets these variables

# Creates $work. If an evaluation is killed, its folder is left, and the next one removes it: such a
# folder holds the file `judgement`, and nobody has locked it.
open_work() {
    local old
    mkdir -p -- "$out" || exit 1
    for old in "$out"/work.??????????; do
        [ ! -f "$old/judgement" ] || [ -L "$old" ] || flock -n -- "$old" rm -rf -- "$old" || true
    done
    work=$(mktemp -d -- "$out/work.XXXXXXXXXX") || exit 1
    trap 'rm -rf -- "$work"' EXIT
    exec 9<"$work"
    flock 9
    : >"$work/judgement"
}

# ---- features ----

# The operations of each task, and the operation that y is the label of. The noise is as strong as
# augment's strongest by default.
declare -A ops_of=(
    [rotation]='center,rotate' [color]='center,gray:0.5' [noise]='center,noise:0.5:0.1' [sobel]='center,sobel:0.5'
    [flip]='center,flip' [blur]='center,blur:0.5:1-2' [solarize]='center,solarize:0.5')
declare -A target_of=([rotation]=rotate [color]=gray)

make_images() { # TASK
    local task=$1 views='--policy eval' split
    [ "$task" = class ] ||
        views="--ops ${ops_of[$task]} --target ${target_of[$task]:-$task}"
    local images
    images="$augment --data $(quote "$(plain_path "$data")") --batch 250${hold:+ --hold $hold} $views"
    # The test images have another seed, so that an image's number does not predict what is drawn for it.
    sh -c "$images --split test --limit $test_limit --seed $((seed + 1))" >"$work/images-test.st"
    sh -c "$images --split train --limit $limit --seed $seed" >"$work/images-train.st"
    for split in test train; do
        need_labels "$split"
    done
}
# Checks that each image has a label.
need_labels() { # SPLIT
    local without
    without=$(inspect <"$work/images-$1.st" | awk '$1 == "y" && $4 < 0 { n++ } END { print n + 0 }')
    [ "$without" = 0 ] || die "$data: images of its $1 part have no labels, which the evaluation needs (a folder for each class, or labels beside the images)"
}

# Prints the command of the encoder with random weights. An encoder that is not this project's gets the
# flags that it was given, as in training.
untrained() {
    local like=''
    [[ ! $encoder =~ (^|[ /])encode( |$) ]] || like=" --like $(quote "$model")"
    echo "$encoder$like --seed $seed"
}

pass_through() { # COMMAND FROM TO: computes the streams TO from the streams FROM
    local split
    for split in train test; do
        sh -c "$1" <"$work/$2-$split.st" >"$work/$3-$split.st"
    done
}

# Computes the features that $on needs, with the model FILE.
make_features() { # FILE
    [[ $on =~ h|z|logits ]] || return 0
    pass_through "$encoder --init $(quote "$1")" images trained
    [[ ! $on =~ z|logits ]] || pass_through "$projector --init $(quote "$1")" trained head
}

# ---- results ----

# The name of the stream that holds each tensor.
declare -A stream_of=([h]=trained [z]=head [logits]=head [random]=random [x]=images)

# judge NAME STREAM TENSOR METHOD: writes NAME-METHOD.json. It runs in $work, because a path from the
# user could be taken for an address of another kind.
judge() {
    local train=(--on "$3" --train "$2-train.st") method=$4
    case $method in
    knn) train+=(${k:+--k "$k"}) ;;
    linear) train+=(${l2:+--l2 "$l2"}) ;;
    *) train=() ;;
    esac
    (cd -- "$work" && evaluate --method "$method" "${train[@]}" --test "$2-test.st" --bootstrap "$bootstrap" >verdict.json)
    mv -- "$work/verdict.json" "$out/$1-$method.json"
}
guess() { # JSON: prints the accuracy of guessing, in %
    sed -n 's/.*"per_class": *\[\([^]]*\)\].*/\1/p' <"$1" | awk -F, '{ printf "%.1f\n", 100 / NF }'
}

# results.tsv has a line for each result. It appears when it is complete.
begin_results() {
    printf '%s\t' name tensor method top1 low high top5 n_train >"$work/results.tsv"
    echo n_test >>"$work/results.tsv"
}
add_result() { # NAME TENSOR METHOD
    local json=$out/$1-$3.json
    printf '%s\t' "$@" "$(number "$json" top1)" "$(number "$json" top1_low)" "$(number "$json" top1_high)" \
        "$(number "$json" top5)" "$(number "$json" n_train)" >>"$work/results.tsv"
    number "$json" n_test >>"$work/results.tsv"
}
end_results() {
    mv -- "$work/results.tsv" "$out/results.tsv"
}

# ---- over training ----

# Keeps the rows of checkpoints.tsv if they were made with the same options.
open_checkpoints() {
    local name
    checkpoints=$out/checkpoints.tsv
    for name in data hold encoder projector augment on limit test_limit seed k l2 bootstrap; do
        echo "$name $(quote "${!name}")"
    done >"$work/options"
    if [ -f "$checkpoints" ] && ! cmp -s -- "$work/options" "$out/checkpoints.options"; then
        echo "$pipeline: $checkpoints was made with other options and starts anew" >&2
        rm -- "$checkpoints"
    fi
    mv -- "$work/options" "$out/checkpoints.options"
    [ -f "$checkpoints" ] ||
        printf 'step\tlinear\tlinear_low\tlinear_high\tknn\tknn_low\tknn_high\n' >"$checkpoints"
}
is_judged() { # STEP
    awk -v step="$1" '$1 == step { found = 1 } END { exit !found }' <"$checkpoints"
}

# Adds a row for a model or state, unless its step has one. Rows are in the order of steps.
judge_checkpoint() { # FILE
    local step row method key
    step=$(inspect --meta step <"$1")
    [[ $step =~ ^[0-9]+$ ]] || die "$1: names no step"
    ! is_judged "$step" || return 0
    make_features "$1"
    row=$step
    for method in linear knn; do
        judge checkpoint "${stream_of[$on]}" "$on" "$method"
        for key in top1 top1_low top1_high; do
            row+=$'\t'$(number "$out/checkpoint-$method.json" "$key")
        done
    done
    { head -n 1 <"$checkpoints" && { tail -n +2 <"$checkpoints" && echo "$row"; } | sort -n; } >"$work/rows"
    mv -- "$work/rows" "$checkpoints"
    printf '%-18s %12s %12s\n' "step $step" "$(percent "$out/checkpoint-linear.json" top1)" \
        "$(percent "$out/checkpoint-knn.json" top1)"
}

plot_checkpoints() {
    if ! command -v gnuplot >/dev/null; then
        echo "$pipeline: no picture, for gnuplot is not installed; $checkpoints has the figures" >&2
        return
    fi
    [ "$(wc -l <"$checkpoints")" -gt 2 ] || return 0 # one step makes no curve
    # shellcheck disable=SC2016 # $2 is gnuplot's
    local probe='1:(100*$2):(100*$3):(100*$4)' neighbours='1:(100*$5):(100*$6):(100*$7)' style=yerrorlines
    # shellcheck disable=SC2016
    [ "$bootstrap" != 0 ] || probe='1:(100*$2)' neighbours='1:(100*$5)' style=linespoints
    (cd -- "$out" && gnuplot) <<PLOT
set terminal svg size 640,400 background rgb "white"
set output "checkpoints.svg.new"
set datafile separator "\t"
set key bottom right
set grid
set xlabel "step"
set ylabel "top-1 in %"
set offsets graph 0.02, graph 0.02, 0, 0
plot "checkpoints.tsv" using $probe every ::1 with $style title "linear probe", \\
     "" using $neighbours every ::1 with $style title "nearest neighbours"
PLOT
    mv -- "$out/checkpoints.svg.new" "$out/checkpoints.svg"
}
