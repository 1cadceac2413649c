#!/usr/bin/env bash
# Builds the programs for arm64 by a cross-compiler and runs them by an emulator: views must have the
# same bytes, and features and a training step must agree to rounding. Convolutions by the kernel of
# NEON vectors must agree with the reference.
set -eu
. "$(dirname "$0")/../lib.sh"

why=
for program in aarch64-linux-gnu-gcc qemu-aarch64 pkg-config; do
    command -v $program >/dev/null || why="$program is not installed"
done
export PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
libraries="libpng libjpeg libwebp libwebpdemux libtiff-4 libexif libarchive zlib openblas libzmq jansson"
# shellcheck disable=SC2086 # a list
[ -n "$why" ] || pkg-config --exists $libraries || why="the libraries are not installed for arm64"
python_has numpy || why="python3-numpy is not installed"
if [ -n "$why" ]; then
    skip "arm64" "$why"
    done_testing
    exit
fi
build=$ROOT/build/arm64
build() { # TARGET...
    env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -s -C "$ROOT" CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar \
        BUILD="$build" BIN="$build/bin" CFLAGS=-O2 WERROR=1 "$@"
}
check "the programs are built without a warning" build all
if pkg-config --exists cmocka; then
    reference() {
        build "$build/tests/test_conv" && qemu-aarch64 "$build/tests/test_conv" >conv.log 2>&1 &&
            grep -q 'OK ] fp32-neon' conv.log
    }
    check "convolutions by each kernel agree with the reference" reference
else
    skip "convolutions by each kernel" "libcmocka-dev is not installed for arm64"
fi
unset PKG_CONFIG_LIBDIR
mkdir arm
for program in "$build"/bin/*; do # a stage called by its name must also be the one for arm64
    name=$(basename "$program")
    printf '#!/bin/sh\nexec qemu-aarch64 "%s" "$@"\n' "$program" >"arm/$name"
    chmod +x "arm/$name"
done
there() { # COMMAND...
    PATH=$T/arm:$PATH "$@"
}

all=crop,flip,jitter,gray,blur,solarize,cutout,rotate,noise,sobel
for ops in "--policy simclr" "--policy simclr-cifar" "--ops $all"; do
    # shellcheck disable=SC2086 # two words
    same_bytes() {
        augment --data shapes --batch 8 --steps 2 $ops >here.st && there augment --data shapes --batch 8 --steps 2 $ops |
            cmp - here.st
    }
    check "augment $ops: the same bytes" same_bytes
done
cat >near.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return [t for t, _ in frames.read_all(f) if t]
a, b = load(sys.argv[2]), load(sys.argv[3])
assert len(a) == len(b) > 0
for s, t in zip(a, b):
    assert list(s) == list(t)
    for name in s:
        x, y = s[name].astype(np.float64), t[name].astype(np.float64)
        assert np.linalg.norm(x - y) <= float(sys.argv[4]) * np.linalg.norm(y), name
P
near() { # FILE FILE BOUND
    /usr/bin/python3 near.py "$ROOT" "$@"
}
augment --data shapes --size 16 --batch 8 --steps 1 >views.st
for precision in fp32 bf16; do
    bound=1e-5
    [ $precision = fp32 ] || bound=2e-2 # both are rounded to bf16 equally often
    features() {
        encode --width 0.25 --precision "$precision" <views.st >here.st &&
            there encode --width 0.25 --precision "$precision" <views.st >there.st && near there.st here.st "$bound"
    }
    check "encode --precision $precision: the same features" features
done
train() { # NAME: one step; the gradients come from a loss with a head
    encode --width 0.125 --opt "exec:lars --warmup-steps 0 --lr 0.01 --model $1.st" \
        --next "exec:project --opt 'exec:lars --warmup-steps 0 --lr 0.01 --model $1.head' --next exec:ntxent" <views.st |
        inspect --meta loss >"$1.loss"
}
trained() {
    train here && there train there && cat here.loss there.loss &&
        paste here.loss there.loss | awk '{ d = $1 - $2; exit !($1 > 0 && d < 1e-5 && d > -1e-5) }' && near there.st here.st 1e-3
}
check "a training step has the same loss and model" trained
done_testing
