#!/usr/bin/env bash
# Models say what they are: encode, project and classify need no flags for a file, refuse those that
# contradict it, and every state and model keeps it.
# shellcheck disable=SC2086 # flags in one word are several
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "descriptions" "python3-numpy is not installed"
    done_testing
    exit
fi
edit() { # IN OUT CODE
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/edit_frame.py" "$@"
}
says() { # FILE KEY TEXT
    [ "$(inspect --meta "$2" "$1")" = "$3" ] || { inspect --meta "$2" "$1" && return 1; }
}
one="--threads 1"
augment --data shapes --size 8 --batch 4 --steps 2 >x.st
augment --data shapes --size 8 --batch 4 --steps 4 --start 2 >rest.st
augment --data shapes --size 8 --batch 4 --steps 1 --policy eval >small.st
augment --data shapes --size 66 --batch 2 --steps 1 --policy eval >large.st

# ---- what is written ----

network='--width 0.0625 --normalize 0.5,0.25,0.125/1,2,4'
train() { # NAME AUGMENTED ENCODER-FLAGS LARS-FLAGS: one optimizer for both stages
    lars --warmup-steps 2 --listen "ipc://$1.ipc" --model "$1.st" --state "$1.state" $4 2>"$1.err" &
    local optimizer=$! status=0
    encode $one $3 --in "$2" --opt "ipc://$1.ipc" \
        --next "exec:project $one --dim 6 --opt ipc://$1.ipc --next exec:ntxent 2>project.err" >"$1.metrics" 2>encode.err || status=1
    wait "$optimizer" && [ "$status" = 0 ] && return
    cat "$1.err" >&2
    return 1
}
described='arch=resnet18 width=0.0625 stem=cifar normalize=0.5,0.25,0.125/1,2,4 sk=0 size=8'
written() {
    train both x.st "$network" '' && for file in both.st both.state; do
        says $file encoder "$described" && says $file projector 'layers=2 hidden=32 dim=6' || return 1
    done
}
check "state and model say what encoder and projection head are" written
shards() {
    shard --listen ipc://shard.ipc --next 'exec:lars --warmup-steps 2 --model part0.st,exec:lars --warmup-steps 2 --model part1.st' &
    encode $one $network --in x.st --opt ipc://shard.ipc \
        --next "exec:project $one --dim 6 --opt ipc://shard.ipc --next exec:ntxent" >/dev/null && wait $! &&
        for file in part0.st part1.st; do
            says $file encoder "$described" && says $file projector 'layers=2 hidden=32 dim=6' || return 1
        done
}
check "each of several optimizers keeps the descriptions" shards
workers() { # FLAGS of the second worker
    reduce --world 2 --listen ipc://reduce.ipc --next 'exec:lars --warmup-steps 2 --model workers.st' 2>reduce.err &
    local reduce=$!
    gather --world 2 --listen ipc://gather.ipc --next "exec:project $one --dim 6 --opt 'exec:lars --model head.st' --next exec:ntxent" 2>gather.err &
    local rank gather=$!
    for rank in 0 1; do
        [ $rank = 0 ] || local flags=$1
        augment --data shapes --size 8 --batch 4 --steps 2 --shard $rank/2 |
            encode $one $network ${flags-} --opt ipc://reduce.ipc --next ipc://gather.ipc >/dev/null 2>worker$rank.err &
    done
    wait $reduce && wait $gather && return
    head -n 1 reduce.err >&2
    return 1
}
check "reduce passes the description of the workers on" workers ''
check "the model of two workers has it" says workers.st encoder "$described"
check_fails 1 "workers of different encoders" \
    "reduce: rank 0 was made with encoder '.*', rank 1 with '.*normalize=none" workers '--normalize none'

# ---- what --init reads ----

embed() { # MODEL FLAGS...
    encode $one --init "$1" "${@:2}" --in small.st --out out.st
}
silent() { # COMMAND...: succeeds without any message
    "$@" 2>err && [ ! -s err ]
}
encode $one $network --init both.st <small.st >h.st
no_flags() {
    silent embed both.st && cmp out.st h.st && silent embed both.state && cmp out.st h.st &&
        silent embed both.st $network --arch resnet18 --stem cifar && cmp out.st h.st
}
check "--init needs no flags, and takes those that agree" no_flags
contradicts() { # FLAG VALUE IN-FILE
    check_fails 1 "--$1 that contradicts the file" "^encode: --$1 ?$2, but both.st was trained with $3$" embed both.st --$1 $2
}
contradicts arch resnet34 arch=resnet18
contradicts width 0.125 width=0.0625
contradicts stem imagenet stem=cifar
contradicts normalize none normalize=0.5,0.25,0.125/1,2,4
contradicts sk '' sk=0
same_stem() { # large images would get the ImageNet stem
    silent encode $one --init both.st --in large.st --out a.st &&
        encode $one $network --stem cifar --init both.st --in large.st --out b.st && cmp a.st b.st
}
check "the stem is the file's, whatever the size of the images" same_stem
edit small.st gray.st 't["x"] = t["x"][..., :1].copy()'
check_fails 1 "images of another number of channels" 'x has 1 channels, and both.st was trained with 3' \
    encode $one --init both.st --in gray.st
like() {
    silent encode $one --like both.st --seed 3 --in small.st --out a.st &&
        encode $one $network --seed 3 --in small.st --out b.st && cmp a.st b.st && ! cmp -s a.st h.st
}
check "--like makes the same network with new weights" like
check_fails 2 "--like and --init" 'exclude each other' encode --init both.st --like both.st
project $one --dim 6 --init both.st <h.st >z.st
head_flags() {
    silent project $one --init both.st --in h.st --out out.st && cmp out.st z.st &&
        silent project $one --init both.st --layers 2 --hidden 32 --dim 6 --in h.st --out out.st && cmp out.st z.st
}
check "project --init needs no flags, and takes those that agree" head_flags
for flag in 'layers 3 2' 'layers 0 2' 'hidden 16 32' 'dim 128 6'; do
    read -r name value was <<<"$flag"
    check_fails 1 "project --$name $value that contradicts the file" \
        "^project: --$name $value, but both.st was trained with $name=$was$" project $one --init both.st --$name $value --in h.st
done
again() { # a run that begins with the model describes itself in the same way
    train again x.st '--init both.st' '--lr 0' && says again.st encoder "$described"
}
check "a run from a model describes the encoder of that model" again
edit both.st odd.st 'm["encoder"] = "arch=resnet18 width=wide stem=cifar"'
check_fails 1 "a description that can't be read" "odd.st: the description of an encoder, .*'width=wide'" embed odd.st
edit both.st odd.st 'm["projector"] = "layers=2"'
check_fails 1 "a description of a head that can't be read" "odd.st: the description of a projection head, 'layers=2'" \
    project $one --init odd.st --in h.st

# Files without descriptions: names and shapes say the rest.
edit both.st bare.st 'm.pop("encoder"), m.pop("projector")'
derived() {
    embed bare.st --normalize 0.5,0.25,0.125/1,2,4 2>err && cmp out.st h.st && [ "$(wc -l <err)" = 1 ] &&
        grep -q 'bare.st does not say what it is; its tensors are those of arch=resnet18 width=0.0625 stem=cifar sk=0, and --normalize is 0.5' err &&
        embed bare.st 2>err && grep -q 'and --normalize is none' err &&
        project $one --init bare.st --in h.st --out out.st 2>err && cmp out.st z.st &&
        grep -q 'bare.st does not say what its projection head is; its tensors are those of layers=2 hidden=32 dim=6' err
}
check "without a description, the tensors say what the network is, and a line says so" derived
networks() { # each network is recognized
    local flags
    while read -r flags; do
        encode $one --width 0.03125 $flags --in x.st --opt 'exec:lars --warmup-steps 1 --model n.st' --next 'exec:project --layers 0 --next exec:ntxent' >/dev/null 2>err &&
            edit n.st n2.st 'm.pop("encoder")' && encode $one --init n.st --in x.st --out a.st &&
            encode $one --init n2.st --in x.st --out b.st 2>err && cmp a.st b.st && continue
        echo "$flags"
        return 1
    done
}
check "images: depths, selective kernels and stems" networks < <(printf '%s\n' '--arch resnet34' '--arch resnet50 --stem imagenet' '--arch resnet50 --sk' '--arch resnet50 --sk --stem imagenet')

# ---- resumed states ----

resumes() { # STATE AUGMENTED ENCODER-FLAGS
    cp "$1" resumed.state
    train resumed "$2" "$3" --resume
}
refused() { # STATE ENCODER-FLAGS
    encode $one $2 --in rest.st --opt "exec:lars --warmup-steps 2 --resume --state $1 2>opt.err" \
        --next "exec:project $one --layers 0 --next exec:ntxent 2>/dev/null" >/dev/null 2>&1 && return
    cat opt.err >&2
    return 1
}
check "a state is resumed by the encoder that it describes" resumes both.state rest.st "$network"
check "its state keeps the description" says resumed.state encoder "$described"
edit both.state older.state 'm.pop("encoder"), m.pop("projector")'
check "a state without a description is resumed" resumes older.state rest.st "$network"
check "and gets it" says resumed.state encoder "$described"
check_fails 1 "a state of another normalization" \
    "both.state was made with encoder '.*', this run with '.*normalize=none .*': resume with what it was made with" \
    refused both.state '--width 0.0625'

# ---- classes ----

cat >classes.py <<'P'
"""classes.py ROOT NAMES LABELS: three frames of features that tell the label; class_names is NAMES."""
import json, sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
names, labels = sys.argv[2].split(","), np.array([int(c) for c in sys.argv[3]])
for step in range(3):
    h = np.stack([np.eye(4, dtype=np.float32)["abcd".index(names[c])] for c in labels])[:, None]
    meta = {} if step else {"class_names": json.dumps(names), "classes": len(names)}
    frames.write(sys.stdout.buffer, {"h": h, "y": labels}, step=step, steps=3, batch=len(labels), **meta)
frames.write_end(sys.stdout.buffer)
P
features() { # NAMES LABELS
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 classes.py "$ROOT" "$@"
}
features a,b,c 012 >abc.st
features c,a,b 001122 >cab.st
features d,a,c 012201 >dac.st
check "a classifier is trained" classify $one --in abc.st --opt 'exec:sgd --lr 50 --warmup-steps 0 --schedule constant --model fc.st --state fc.state' --out /dev/null
check "its model says how many classes there are" says fc.st classifier classes=3
check "and their names" says fc.st class_names '["a", "b", "c"]'
top1() { # STREAM FLAGS...
    classify $one --init fc.st --in "$1" --out logits.st &&
        evaluate --method classifier --test logits.st --bootstrap 0 "${@:2}" | sed -n 's/.*"top1": *\([0-9.]*\).*/\1/p'
}
by_name() { # the same images, whose labels have other numbers
    [ "$(top1 abc.st)" = 1.0 ] && [ "$(top1 cab.st)" = 1.0 ] && [ "$(top1 cab.st --match numbers)" = 0.0 ]
}
check "evaluate matches labels and logits by class names" by_name
unknown() { # a third of the rows is of a class that the classifier does not know
    [ "$(top1 dac.st 2>err | cut -c 1-6)" = 0.6666 ] &&
        grep -q 'the classifier does not know the classes of 6 test rows, which count as wrong (d ...)' err
}
check "rows of a class that the classifier does not know count as wrong" unknown
drop_class_names abc.st >unnamed.st
nameless() {
    classify $one --init fc.st --in unnamed.st --out logits.st && evaluate --method classifier --test logits.st
}
check_fails 1 "logits with names and labels without" 'names its logits and not its labels.*--match numbers' nameless
check_fails 1 "--classes that contradicts the file" '^classify: --classes 4, but fc.st was trained with classes=3' \
    classify $one --init fc.st --classes 4 --in abc.st
check_fails 1 "training on from a classifier of other classes" 'the frames have other names of classes than fc.st' \
    classify $one --init fc.st --in cab.st --opt 'exec:sgd --model out.st 2>/dev/null'
other_classes() {
    cp fc.state cab.state
    features c,a,b 012 >more.st
    classify $one --in more.st --opt 'exec:sgd --lr 50 --warmup-steps 0 --schedule constant --resume --state cab.state 2>opt.err' --out /dev/null 2>/dev/null && return
    cat opt.err >&2
    return 1
}
check_fails 1 "a state of other classes" 'cab.state was made with other names of classes .* than this run' other_classes
done_testing
