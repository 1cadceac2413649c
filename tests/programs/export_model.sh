#!/usr/bin/env bash
# Tests of export-model: ONNX models, whose outputs numpy computes in float64, against encode, project and
# classify; PyTorch's and safetensors files, read without PyTorch; and bad input. tests/full/export_readers.sh
# has onnxruntime and PyTorch.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    /usr/bin/python3 "$ROOT/tests/programs/export_model.py" "$ROOT" "$@"
}

# Writes the model NAME.st as NAME.onnx and NAME.fold.onnx, and compares their features and other outputs with
# those that encode computes with its flags.
agrees() { # NAME, export-model's flags, other outputs, encode's flags...
    local name=$1 flags=$2 outputs=$3
    shift 3
    encode "$@" --init "$name.st" <"$name.x" >"$name.h" || return
    # shellcheck disable=SC2086 # several words, or none
    export-model --model "$name.st" --to "$name.onnx" $flags &&
        export-model --model "$name.st" --to "$name.fold.onnx" --fold $flags &&
        py same "$name.onnx" "$name.x" features="$name.h" $outputs
}

py make
check "the features of a ResNet-18 for small images, with batch norms and folded" agrees small '' '' --width 0.125
check "those of selective kernels, of any height and width" agrees sk '--size 0' '' \
    --arch resnet50 --width 0.0625 --stem imagenet --normalize 0.4,0.5,0.6/0.2,0.3,0.4 --sk
check "those of images of five channels" agrees five '' '' --width 0.0625
check "those of series" agrees series '' '' --arch resnet1d --width 0.125
heads_agree() {
    local flags='--width 0.125 --stem imagenet --normalize imagenet'
    # shellcheck disable=SC2086 # words
    encode $flags --init heads.st <heads.x | tee >(project --dim 6 --hidden 10 --init heads.st >heads.z) |
        classify --classes 3 --init heads.st >heads.logits || return
    # shellcheck disable=SC2086
    agrees heads '--projector --classifier' 'projection=heads.z logits=heads.logits' $flags
}
check "those of a model that does not say what it is" agrees silent '--size 16 --normalize none' '' --normalize none
check "features, projection and logits of normalized images of an odd size" heads_agree

if python_has onnx; then
    check "onnx's checker passes them all" /usr/bin/python3 -c 'import sys, onnx
assert len(sys.argv) == 13
for file in sys.argv[1:]:
    onnx.checker.check_model(file, full_check=True)' ./*.onnx
else
    skip "onnx's checker passes them" "python3-onnx is not installed"
fi

export_as() { # NAME, file, flags...
    export-model --model "$1.st" --to "$2" "${@:3}"
}
tensors_are_the_models() {
    export_as heads heads.pth && export_as heads all.pth --projector --classifier &&
        export_as series series.safetensors && export_as heads all.safetensors --projector --classifier &&
        py tensors heads.pth,heads.st all.pth,heads.st,projector,fc \
            series.safetensors,series.st all.safetensors,heads.st,projector,fc
}
check ".pth and .safetensors files hold the model's tensors, of the encoder alone or with its heads" \
    tensors_are_the_models
encode --init series.safetensors <series.x >again.h 2>again.err
check "encode reads the .safetensors file, and computes the same bits" cmp again.h series.h
encode --init heads.pth --normalize imagenet <heads.x >again.h 2>again.err
check "encode reads the .pth file, and computes the same bits" cmp again.h heads.h
for between in all.pth all.safetensors; do
    export-model --model $between --to again.pth --projector --classifier 2>again.err
    check "from $between back to the same .pth file" cmp again.pth all.pth
    check "nothing of $between is said to be unused" test ! -s again.err
done
check "from .pth to .onnx, with the normalization that it lacks" export-model --model all.pth --to again.onnx \
    --normalize imagenet --size 37
for file in again.onnx again.pth again.safetensors; do
    export_as small $file
    cp $file first
    export_as small $file
    check "the same bytes each time: $file" cmp first $file
done

usage() { # what, regex, arguments...
    check_fails 2 "usage: $1" "$2" export-model "${@:3}"
}
usage "no model" '--model and --to are needed' --to x.onnx
usage "no file" '--model and --to are needed' --model small.st
usage "an unknown ending" '--to x.tflite: the name must end in .onnx, .pth or .safetensors' --model small.st --to x.tflite
usage "only an ending" 'must end in' --model small.st --to .onnx
usage "an unknown normalization" '--normalize 1,2 is not none' --model small.st --to x.onnx --normalize 1,2
usage "--fold without ONNX" '--size and --fold are for .onnx' --model small.st --to x.pth --fold
usage "--size without ONNX" '--size and --fold are for .onnx' --model small.st --to x.safetensors --size 32

refuses() { # what, regex, arguments...
    check_fails 1 "$1" "$2" export-model "${@:3}"
}
refuses "no such model" 'missing.st: No such file' --model missing.st --to x.onnx
refuses "images of unknown size" 'silent.st does not say the size .*give --size' --model silent.st --to x.onnx
refuses "images of unknown normalization" 'silent.st does not say how .*give --normalize' \
    --model silent.st --to x.onnx --size 16
refuses "another normalization than the model's" \
    'small.st: --normalize imagenet, but it was trained with normalize=none' \
    --model small.st --to x.onnx --normalize imagenet
refuses "a folder that is not there" 'nowhere/x.onnx: No such file' --model small.st --to nowhere/x.onnx
refuses "a folder that is not there, for .pth" 'nowhere/x.pth: No such file' --model small.st --to nowhere/x.pth
refuses "no projection head" 'there is no projection head' --model headless.st --to x.onnx --projector
refuses "no classifier" 'there is no classifier' --model headless.st --to x.onnx --classifier
refuses "a description of another network" 'other.st: .*description' --model other.st --to x.pth
refuses "a normalization of other channels" 'normalization is for 3 channels' --model channels.st --to x.onnx
refuses "an unknown size" 'sizeless.st does not say the size .*give --size' --model sizeless.st --to x.onnx
refuses "folded weights that overflow" 'conv1.weight: .*not finite; try without --fold' --model large.st --to x.onnx --fold
for end in onnx pth safetensors; do
    ln -s /dev/full full.$end
    refuses "a full disk, for .$end" 'No space left on device' --model small.st --to full.$end
done
check "no refused export leaves a file" test -z "$(find . -name 'x.*')"
done_testing
