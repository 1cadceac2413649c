#!/usr/bin/env bash
# encode, project and classify --init on files of other programs: features, projections and logits must
# agree with PyTorch's.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive
if ! python_has torch torchvision; then
    skip "weights of other programs" "python3-torchvision is not installed"
    done_testing
    exit 0
fi
check "PyTorch writes the files" /usr/bin/python3 "$ROOT/tests/full/foreign_weights.py" "$ROOT"
cat >agree.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0][sys.argv[4]].reshape(4, -1)
a, b = load(sys.argv[2]), load(sys.argv[3])
off = np.linalg.norm(a - b) / np.linalg.norm(b)
assert a.shape == b.shape and b.std() > 0 and off < float(sys.argv[5]), (a.shape, b.shape, off)
P
agree() { # GOT WANTED TENSOR BOUND
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 agree.py "$ROOT" "$@"
}
said() { # LINE...: all that was said
    printf '%s\n' "$@" | diff - err
}
r18='does not say what it is; its tensors are those of arch=resnet18 width=1 stem=imagenet sk=0, and --normalize is none'

# reads FILE BOUND LINE...: features agree, and the lines are said before the one that says what it is
reads() {
    encode --init "$1" <x.st >got.st 2>err && agree got.st torchvision.want h "$2" &&
        said "${@:3}" "encode: $1 $r18"
}
check "torchvision" reads torchvision.pth 1e-5 'encode: torchvision.pth: not used: fc'
check "the form before PyTorch 1.6" reads legacy.pth 1e-5 'encode: legacy.pth: not used: fc'
check "without num_batches_tracked" reads old.pth 1e-5 'encode: old.pth: not used: fc'
check "float64" reads double.pth 1e-5 'encode: double.pth: not used: fc'
check "float16" reads half.pth 2e-3 'encode: half.pth: not used: fc'
check "bfloat16" reads bfloat.pth 2e-2 'encode: bfloat.pth: not used: fc'
check "DataParallel, with an optimizer" reads parallel.pth 1e-5 'encode: parallel.pth: not used: fc, optimizer'
check "moco: the query encoder" reads moco.pth.tar 1e-5 \
    'encode: moco.pth.tar: the encoder is read from state_dict.module.encoder_q.*, not from the moving average in state_dict.module.encoder_k.*' \
    'encode: moco.pth.tar: not used: optimizer, state_dict.module.encoder_k, fc, state_dict.module.queue, state_dict.module.queue_ptr'
check "moco-v3: the base encoder" reads moco3.pth 1e-5 \
    'encode: moco3.pth: the encoder is read from state_dict.module.base_encoder.*, not from the moving average in state_dict.module.momentum_encoder.*' \
    'encode: moco3.pth: not used: state_dict.module.momentum_encoder'
check "BYOL: the online network" reads byol.pth 1e-5 \
    'encode: byol.pth: the encoder is read from model_state_dict.online_network.encoder.*, not from the moving average in model_state_dict.target_network.encoder.*' \
    'encode: byol.pth: not used: model_state_dict.target_network'
check "lightly: a sequence of torchvision's modules" reads lightly.ckpt 1e-5 \
    'encode: lightly.ckpt: not used: optimizer_states, state_dict.projection_head'
check "a backbone in a model" reads supervised.pth 1e-5
check "solo-learn" reads solo.ckpt 1e-5 \
    'encode: solo.ckpt: the encoder is read from state_dict.backbone.*, not from the moving average in state_dict.momentum_backbone.*' \
    'encode: solo.ckpt: not used: fc, projector, state_dict.momentum_backbone'
check "SupContrast: shortcuts" reads supcon.pth 1e-5 'encode: supcon.pth: not used: model.module.head'
check "a sequence without pooling" reads features.pth 1e-5
check "moving averages of a whole model" reads ema.pth 1e-5 \
    'encode: ema.pth: the encoder is read from state_dict.*, not from the moving average in state_dict_ema.*' \
    'encode: ema.pth: not used: fc, state_dict_ema'
check "Hugging Face, as PyTorch's file" reads hugging.bin 1e-5 'encode: hugging.bin: not used: fc'
for dtype in F32 F64; do
    check "Hugging Face, safetensors of $dtype" reads hugging$dtype.safetensors 1e-5 "encode: hugging$dtype.safetensors: not used: fc"
done
check "Hugging Face, safetensors of F16" reads huggingF16.safetensors 2e-3 "encode: huggingF16.safetensors: not used: fc"
check "Hugging Face, safetensors of BF16" reads huggingBF16.safetensors 2e-2 "encode: huggingBF16.safetensors: not used: fc"
bottlenecks() {
    encode --init bottleneck.safetensors <x.st >got.st 2>err && agree got.st bottleneck.want h 1e-5 &&
        grep -q 'arch=resnet50 width=1 stem=imagenet sk=0' err
}
check "Hugging Face, bottlenecks" bottlenecks
classified() { # FILE
    encode --init "$1" <x.st 2>err | classify --init "$1" >got.st 2>err && agree got.st logits.want logits 1e-5
}
for file in torchvision.pth hugging.bin solo.ckpt; do
    check "the classifier of $file" classified $file
done

both() { # NAME ARCH HEAD: features and projections
    encode --init "$1.pth" <x.st >got.h 2>err && agree got.h "$1.want" h 1e-5 && grep -q " $2, and" err || return 1
    [ $# = 2 ] || { project --init "$1.pth" <got.h >got.z 2>err && agree got.z "$1.z.want" z 1e-5 && grep -q " $3\$" err; }
}
check "a SimCLR checkpoint of simclr-converter" both v1 'arch=resnet50 width=0.25 stem=imagenet sk=0'
check "a SimCLRv2 checkpoint of SimCLRv2-Pytorch, with its head" both v2 \
    'arch=resnet50 width=0.25 stem=imagenet sk=0' 'layers=2 hidden=512 dim=24'
check "a SimCLRv2 checkpoint with selective kernels and a head of 3 layers" both v2sk \
    'arch=resnet50 width=0.25 stem=imagenet sk=1' 'layers=3 hidden=512 dim=24'

refuses() { # FILE REGEX
    check_fails 1 "$1" "^encode: $1:? $2" encode --init "$1" --in x.st --out bad.st
}
refuses nothing.pth 'holds no tensors'
refuses missing.pth 'no tensor layer3.5.bn2.bias'
refuses extra.pth 'the network has no tensor layer1.0.conv4.weight'
refuses deeper.pth 'holds no network that is known here'
check_fails 1 "a deeper network than --arch says" '^encode: deeper.pth: the network has no tensor layer1.2.conv1.weight' \
    encode --arch resnet18 --init deeper.pth --in x.st --out bad.st
refuses shape.pth 'tensor layer2.0.conv2.weight is F32 .32,32,1,1., not F32 .32,32,3,3.'
refuses shallow.pth 'holds no network that is known here'
refuses integers.pth 'tensor bn1.weight is I64 .16., not F32'
refuses list.pth 'no tensor conv1.weight'
refuses text.pth 'not a frame but text'
refuses absent.pth 'No such file or directory'
refuses dino.pth 'holds several encoders, student.backbone.\* and teacher.backbone.\*'
refuses double_names.pth 'two tensors are layer2.0.downsample.0.weight of the network'
check "nothing was written" test ! -e bad.st
encode --init biased.pth <x.st >got.h 2>err
check_fails 1 "a head whose last norm has a bias" 'the network has no tensor projector.7.bias' project --init biased.pth --in got.h --out bad.z
done_testing
