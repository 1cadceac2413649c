#!/usr/bin/env bash
# Which checkpoints a network loads, and from which states an optimizer resumes: they must be of the
# same network, hold finite numbers, and have been made with the same settings. Most of the files here
# do not say what they are, as those of other programs; tests/programs/descriptions.sh has those that do.
# shellcheck disable=SC2086 # flags in one word are several
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "checkpoints" "python3-numpy is not installed"
    done_testing
    exit
fi
edit() { # IN OUT CODE
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/edit_frame.py" "$@"
}
tiny="--width 0.0625 --threads 1"
augment --data shapes --size 8 --batch 4 --steps 2 >x.st
augment --data shapes --size 8 --batch 4 --steps 1 --policy eval >one.st
made() { # NAME ENCODER-FLAGS HEAD-FLAGS: makes NAME.st, NAME-head.st and their states
    encode $tiny $2 --in x.st --opt "exec:lars --model $1.st --state $1.state" \
        --next "exec:project --threads 1 --dim 6 $3 --opt 'exec:lars --model $1-head.st --state $1-head.state' \
            --next exec:ntxent" >"$1.metrics"
}
made r18 '' ''
made r34 '--arch resnet34' '--layers 3'
made r50 '--arch resnet50' '--layers 1'
made sk50 '--arch resnet50 --sk' '--hidden 12'
made wide '--width 0.125' ''
made stem '--stem imagenet' ''
# Drops the descriptions, except from the files called said-NAME.st.
cp r18.st said-r18.st
cp r18-head.st said-head.st
cp r18.state said-r18.state
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$ROOT" r18 r34 r50 sk50 wide stem <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import frames
for name in sys.argv[2:]:
    for path in name + ".st", name + ".state", name + "-head.st", name + "-head.state":
        with open(path, "rb") as f:
            tensors, meta = frames.read(f)
        meta.pop("encoder", meta.pop("projector", None))
        with open(path, "wb") as f:
            frames.write(f, tensors, **meta)
P
encode $tiny --init said-r18.st <one.st >h.st
# Joins the parameters of both stages in one file, as `lars --listen` writes it.
edit said-r18.st whole.st 'more, its = frames.read(open("said-head.st", "rb")); t |= more; m["projector"] = its["projector"]'

embed() { # MODEL FLAGS...
    encode $tiny --init "$1" "${@:2}" --in one.st --out out.st
}
check_fails 1 "a ResNet-34 for a ResNet-18" \
    'r34.st: the network has no tensor layer1.2.conv1.weight; is the file of another --arch, --width' embed r34.st --arch resnet18
check_fails 1 "a ResNet-18 for a ResNet-34" 'r18.st: no tensor layer1.2.conv1.weight' embed r18.st --arch resnet34
check_fails 1 "a ResNet-50 for a ResNet-18" 'r50.st: tensor layer1.0.conv1.weight is' embed r50.st --arch resnet18
check_fails 1 "a ResNet-18 for a ResNet-50" 'r18.st: tensor layer1.0.conv1.weight is' embed r18.st --arch resnet50
check_fails 1 "another width" 'wide.st: tensor conv1.weight is .*\[8,3,3,3\], not .*\[4,3,3,3\]' embed wide.st
check_fails 1 "another stem" 'stem.st: tensor conv1.weight is' embed stem.st --stem cifar
check_fails 1 "a network with selective kernels for a deeper one" 'sk50.st: no tensor layer3.6.' embed sk50.st --arch resnet101
check_fails 1 "a network without selective kernels for one with them" 'r50.st: ' embed r50.st --arch resnet50 --sk
check_fails 1 "a state of a deeper network" 'r34.state: the network has no tensor layer1.2' embed r34.state --arch resnet18
edit r50.st r101.st 't |= {k.replace("layer3.5", "layer3.22"): v for k, v in t.items() if k.startswith("layer3.5.")}; m.clear()'
check_fails 1 "another program's ResNet-101 for a ResNet-50" \
    'r101.st: the network has no tensor layer3.22.' embed r101.st --arch resnet50
project_() { # MODEL FLAGS...
    project --threads 1 --dim 6 --init "$1" "${@:2}" --in h.st --out out.st
}
edit r34-head.st head3.st 'pass'
check_fails 1 "a head of three layers for one of one layer" 'head3.st: .*; is the file of another --layers' project_ head3.st --layers 1
check_fails 1 "a head of three layers for one of two layers" 'head3.st: ' project_ head3.st --layers 2
check_fails 1 "a head of three layers for one without layers" 'head3.st: the network has no tensor projector.0.weight' project_ head3.st --layers 0
check_fails 1 "a head of two layers for one of three layers" 'r18-head.st: tensor projector.3.weight is' project_ r18-head.st --layers 3
check_fails 1 "a model without a head" 'r18.st: no tensor projector.0.weight' project_ r18.st
edit r18.st fc.st 't["fc.weight"] = np.ones((5, 32), np.float32); t["fc.bias"] = np.zeros(5, np.float32)'
classify_() {
    classify --threads 1 --classes "$1" --init "$2" --in h.st --out out.st
}
check_fails 1 "another number of classes" 'fc.st: tensor fc.weight is .*another --classes' classify_ 4 fc.st

silent() { # COMMAND...: succeeds without any message
    "$@" 2>err && [ ! -s err ]
}
own() {
    silent embed whole.st && cmp out.st h.st && silent project_ whole.st && silent classify_ 5 fc.st &&
        silent embed said-r18.state && cmp out.st h.st
}
check "this project's files for several programs are loaded" own
edit whole.st foreign.st 't["fc.weight"] = t["fc.bias"] = t["head.0.w"] = np.ones(3, np.float32); m.clear()'
told() { # LINE COMMAND...
    "${@:2}" 2>err && [ "$(wc -l <err)" = 1 ] && grep -q "$1" err
}
named() { # PART...
    local part
    for part in "$@"; do
        grep -qw "$part" err || return 1
    done
}
foreign() {
    told 'encode: foreign.st: not used: .*' embed foreign.st --arch resnet18 --stem cifar --normalize none && cmp out.st h.st &&
        named fc head projector && told 'project: foreign.st: not used: ' project_ foreign.st --layers 2 --hidden 32 && named conv1 layer4 fc head
}
check "a file of another program is loaded, and its further tensors are reported once" foreign

check "a file without num_batches_tracked, as old versions wrote it, is loaded" \
    edit r18.st old.st 't = {k: v for k, v in t.items() if "num_batches" not in k}'
old_trained() { # the count starts at 0
    embed old.st && cmp out.st h.st &&
        encode $tiny --init old.st --in x.st --opt 'exec:lars --lr 0 --model counted.st' \
            --next "exec:project --dim 6 --opt 'exec:lars --lr 0 --model x' --next exec:ntxent" >out.st &&
        edit counted.st /dev/null 'assert t["bn1.num_batches_tracked"] == 2'
}
check "its batches are counted from 0" old_trained

bad() { # NAME CODE
    edit r18.st "$1.st" "$2"
}
bad nan 't["layer2.1.conv2.weight"].flat[7] = np.nan'
bad inf 't["layer4.1.bn2.bias"][-1] = -np.inf'
bad mean 't["bn1.running_mean"][1] = np.inf'
bad negative 't["bn1.running_var"][2] = -1e-3'
bad half 'w = t["conv1.weight"]; w.flat[3] = np.nan; t["conv1.weight"] = frames.bf16(w)'
edit fc.st fcnan.st 't["fc.weight"][0, 0] = np.nan'
edit r18-head.st headnan.st 't["projector.1.running_var"][0] = np.nan'
check_fails 1 "NaN in a weight" 'nan.st: layer2.1.conv2.weight holds NaN or infinity' embed nan.st
check_fails 1 "infinity in a bias" 'inf.st: layer4.1.bn2.bias holds NaN' embed inf.st
check_fails 1 "infinity in a mean" 'mean.st: bn1.running_mean holds NaN' embed mean.st
check_fails 1 "a negative variance" 'negative.st: bn1.running_var holds a negative' embed negative.st
check_fails 1 "NaN in BF16" 'half.st: conv1.weight holds NaN' embed half.st
check_fails 1 "NaN in a head" 'headnan.st: projector.1.running_var holds NaN' project_ headnan.st
check_fails 1 "NaN in a classifier" 'fcnan.st: fc.weight holds NaN' classify_ 5 fcnan.st
check "tensors of other programs may be NaN" classify_ 5 <(cat fc.st)

# ---- states ----
# The stage that joins with another network, and the optimizer, end with one line each; that of the
# optimizer gives the reason.
resumes() { # STATE FLAGS...: resumes, and prints the lines of the optimizer
    rm -f opt.err
    cp r18-head.state head.state
    encode $tiny "${@:2}" --in rest.st --opt "exec:lars --resume --state $1 2>opt.err" \
        --next "exec:project --dim 6 --opt 'exec:lars --resume --state head.state' --next exec:ntxent" >out.st 2>encode.err && return
    cat opt.err >&2
    return 1
}
augment --data shapes --size 8 --batch 4 --steps 4 --start 2 >rest.st
check_fails 1 "a state of a ResNet-34 for a ResNet-18" 'r34.state has layer1.2.conv1.weight, which the client' resumes r34.state
check_fails 1 "a state of a ResNet-18 for a ResNet-34" 'r18.state has no tensor layer1.2.conv1.weight' resumes r18.state --arch resnet34
other_rank() { # a rank that sends no tensors, and receives them all
    edit rest1.st rest2.st 'm |= {"rank": 1, "world": 2}'
    encode $tiny --in rest2.st --opt 'exec:lars --resume --state r34.state 2>opt.err' \
        --next "exec:project --layers 0 --next exec:ntxent 2>next.err" >out.st
}
augment --data shapes --size 8 --batch 4 --steps 3 --start 2 | head -c "$(($(stat -c %s x.st) / 2))" >rest1.st
check_fails 1 "a state of a ResNet-34 for another worker's ResNet-18" 'the optimizer has layer1.2' other_rank
goes_on() {
    cp r18.state go.state
    resumes go.state && grep -q 'lars: go.state: the schedule is now of 4 steps, where it was of 2' opt.err &&
        [ "$(inspect --meta step go.state)" = 4 ] && [ "$(inspect --meta images go.state)" = "$(inspect --meta images x.st | head -n 1)" ]
}
check "more steps: it reports them, and resumes" goes_on
not_joined() {
    edit r18.state both.state 't["projector.0.weight"] = t["momentum/projector.0.weight"] = np.ones((2, 2), np.float32)'
    ! resumes both.state 2>both.err && tail -n 1 both.err >&2
    return 1
}
check_fails 1 "a state with parameters that no client has" 'both.state has projector.0.weight, which no client joined with' not_joined
damage() { # CODE: resumes from r18.state after running CODE on it
    edit r18.state damaged.state "$1"
    resumes damaged.state
}
check_fails 1 "NaN in a state's momentum" 'damaged.state: momentum/conv1.weight holds NaN' damage 't["momentum/conv1.weight"].flat[0] = np.nan'
check_fails 1 "NaN in a state's parameters" 'damaged.state: conv1.weight holds NaN' damage 't["conv1.weight"].flat[0] = np.nan'
check_fails 1 "a state without a momentum" 'damaged.state: momentum/conv1.weight is missing' damage 't.pop("momentum/conv1.weight")'
check_fails 1 "a state with a negative step" 'damaged.state: step' damage 'm["step"] = -2'
check_fails 1 "a state whose step is not a number" 'damaged.state: step' damage 'm["step"] = "two"'
check_fails 1 "a state whose step is after the end of the run" "damaged.state: step '3' of '2' is no count" damage 'm["step"] = 3'
check_fails 1 "a state of adam" 'damaged.state: the state of adam, not of lars' damage 'm["optimizer"] = "adam"'
check_fails 1 "a model in place of a state" 'r18.st: not an optimizer' resumes r18.st
: >empty.state
head -c 4096 /dev/zero >zeros.state
head -c 5000 r18.state >cut.state
check_fails 1 "an empty state" 'empty.state: empty' resumes empty.state
check_fails 1 "a state of zeros" 'zeros.state: not a frame' resumes zeros.state
check_fails 1 "a truncated state" 'cut.state: truncated' resumes cut.state
older() {
    edit r18.state older.state 'for k in ("settings", "images", "batch", "grains", "steps_per_epoch"): m.pop(k)'
    resumes older.state && grep -q 'lars: older.state: does not say what it was made with' opt.err &&
        cp r18.state new.state && resumes new.state && cmp older.state new.state
}
check "a state that does not contain its settings is resumed, with a warning" older
join_of() { # CODE: joins after running CODE on the join
    edit r18.st join.st "m.clear(); m['kind'] = 'join'; $1"
    lars --model none.st --in join.st --out out.st
}
check_fails 1 "a join with NaN" 'parameters of which conv1.weight holds NaN' join_of 't["conv1.weight"].flat[0] = np.nan'
check_fails 1 "a join with a negative variance" 'of which bn1.running_var holds a neg' join_of 't["bn1.running_var"][0] = -1'

# The settings of the run and of the optimizer with which the state was made.
again() { # AUGMENT-FLAGS LARS-FLAGS
    cp r18.state again.state
    cp r18-head.state head.state
    augment --data shapes --size 8 --batch 4 --steps 4 --start 2 $1 >again.st &&
        encode $tiny --in again.st --opt "exec:lars $2 --resume --state again.state 2>opt.err" \
            --next "exec:project --dim 6 --opt 'exec:lars --resume --state head.state' --next exec:ntxent" >out.st 2>encode.err && return
    cat opt.err >&2
    return 1
}
other() { # WHAT REGEX AUGMENT-FLAGS LARS-FLAGS
    check_fails 1 "another $1" "again.state: made with $2" again "$3" "$4"
    check "$1: the state is unchanged" cmp again.state r18.state
}
images=$(inspect --meta images x.st | head -n 1)
other "number of images" "$images images, and this run has 100: the data changed" '--limit 100' ''
other batch '4 images in a batch, and this run has 8: --batch changed' '--batch 8' ''
other "number of grains" '4 grains, and this run has 2' '--grains 2' ''
other momentum '--momentum 0.9, and now it is 0.5' '' '--momentum 0.5'
other "weight decay" '--weight-decay 0.0001, and now it is 1e-06' '' '--weight-decay 1e-6'
other rate '--lr not given, and now it is 0.25' '' '--lr 0.25'
other warm-up '--warmup 10, and now it is 0' '' '--warmup 0'
other scaling '--scaling linear, and now it is sqrt' '' '--scaling sqrt'
other schedule '--schedule cosine, and now it is constant' '' '--schedule constant'
same_again() {
    again '' '--momentum 0.9 --warmup 10.0 --eta 1e-3 --save-every 1 --model again.st' &&
        cp r18.state new.state && resumes new.state && cmp new.state again.state
}
check "the same settings, given explicitly, are accepted" same_again
fewer() { # the frames of a run that is shorter than the state, which augment would not make
    edit rest1.st short.st 'm["steps"] = 2'
    cp short.st rest.st
    resumes r18.state
}
check_fails 1 "fewer steps than the state has made" 'step 2 of a run of 2 steps: give more --steps' fewer
done_testing
