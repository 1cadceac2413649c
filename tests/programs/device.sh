#!/usr/bin/env bash
# Tests of --device: runs on an OpenCL device, which may be the processor (PoCL), beside the same runs on
# the processor's engine, and devices that fail.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

has_device() {
    encode --device list 2>/dev/null | grep -q '^opencl:'
}

# ---- names, which need no device ----

views() {
    augment --data shapes --size 16 --batch 16 --grains 4 --seed 3 "$@"
}
views --steps 1 >views.st
lists() {
    encode --device list >names && grep -q "^cpu  " names && project --device list >again && cmp names again
}
check "--device list has the processor" lists
check_fails 2 "another word than a device" "encode: --device: 'gpu' is not cpu, list, opencl or opencl:PLATFORM.DEVICE" \
    encode --device gpu
check_fails 2 "a device computes float32" "project: --device opencl computes in fp32, not in bf16" \
    project --device opencl --precision bf16
check_fails 2 "a kernel of the processor" "classify: --kernel fp32-portable is for --device cpu" \
    classify --device opencl --kernel fp32-portable
check_fails 1 "no OpenCL library" \
    'encode: --device opencl: no OpenCL library .Debian: ocl-icd-libopencl1.: .*nowhere.so: cannot open' \
    sh -c 'SIMCLR_OPENCL=$PWD/nowhere.so encode --device opencl <views.st >out.st'
check "--device list says that there is no OpenCL library" \
    sh -c 'SIMCLR_OPENCL=$PWD/nowhere.so encode --device list | grep -q "^(no OpenCL library"'
if ! has_device; then
    skip "the rest" "there is no OpenCL device (Debian: pocl-opencl-icd)"
    done_testing
    exit
fi

# ---- the same numbers ----

close() { # FILE FILE TENSOR BOUND: the largest difference, relative to the largest value
    /usr/bin/python3 - "$ROOT" "$@" <<'END'
import sys

import numpy as np

root, a, b, name, bound = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

off = most = 0
for (x, _), (y, _) in zip(frames.read_all(open(a, "rb")), frames.read_all(open(b, "rb"))):
    for key in y:
        if name in ("*", key) and y[key].dtype == np.float32:
            off = max(off, np.abs(x[key] - y[key]).max() / np.abs(y[key]).max())
            most = max(most, np.abs(y[key]).max())
print(off, most)
sys.exit(not (most > 0 and off <= float(bound)))
END
}
features() {
    encode --seed 5 <views.st >cpu.st && encode --seed 5 --device opencl <views.st >opencl.st &&
        close opencl.st cpu.st h 1e-5
}
first=opencl:$(sed -n 's/^opencl:\([0-9.]*\) .*/\1/p' names | head -n 1)
numbered() {
    encode --seed 5 --device "$first" <views.st >numbered.st && encode --seed 5 --device opencl <views.st |
        cmp - numbered.st
}
if python_has numpy; then
    check "features are those of the processor's engine to 1e-5" features
else
    skip "features beside the processor's engine" "python3-numpy is not installed"
fi
check "a device by its numbers, and the same bits in a second run" numbered

run() { # NAME, DEVICE, more for encode
    local name=$1 device=$2
    shift 2
    views --steps 3 | encode --width 0.25 --device "$device" "$@" --opt "exec:lars --warmup-steps 1 --model $name.st" \
        --next "exec:project --device $device --opt 'exec:lars --warmup-steps 1 --model $name.head.st' --next exec:ntxent" \
        >"$name.metrics"
}
# Kinks of ReLUs move a gradient, so the bound is wider than that of an operation.
steps() {
    run steps.cpu cpu && run steps.opencl opencl && close steps.opencl.st steps.cpu.st '*' 1e-3 &&
        paste <(inspect --meta loss steps.cpu.metrics) <(inspect --meta loss steps.opencl.metrics) |
        awk '{ d = $1 - $2; if (d * d > 1e-8 * $1 * $1) exit 1 } END { exit NR != 3 }'
}
if python_has numpy; then
    check "three steps of training beside the processor's engine" steps
fi
chunks() { # the first loss: later ones depend on the chunk's statistics
    run chunks.opencl opencl --chunk 4 && run chunks.cpu cpu --chunk 4 &&
        paste <(inspect --meta loss chunks.cpu.metrics) <(inspect --meta loss chunks.opencl.metrics) |
        awk '{ d = $1 - $2; if (d * d > 1e-8 * $1 * $1) exit 1 } END { exit NR != 3 }'
}
check "a batch in chunks" chunks
slow_copy() {
    views --steps 2 | encode --width 0.25 --device opencl --ema 0.9 --opt exec:'lars --model ema.st' \
        --next 'exec:project --device opencl --ema 0.9 --opt "exec:lars --model /dev/null" --next exec:byol' \
        >ema.metrics && [ "$(inspect --meta loss ema.metrics | wc -l)" = 2 ]
}
check "a slow copy of the network" slow_copy

# ---- workers ----

train() { # FOLDER, command of pipelines/, more options
    local folder=$1 command=$2
    shift 2
    TMPDIR=$T "$ROOT/pipelines/$command" --run "$folder" --batch 16 --augment 'augment --size 16' --seed 7 \
        --encoder 'encode --width 0.125 --device opencl' --projector 'project --device opencl' \
        --optimizer 'lars --schedule constant --warmup 1' "$@" \
        >"$folder.out" 2>&1 || {
        cat "$folder.out" "$folder/log.txt"
        return 1
    }
}
same() { # FOLDER, command...: the model is that of one process
    train "$@" && cmp "$1/model.safetensors" alone/model.safetensors
}
check "a run in one process" train alone train --steps 4
for workers in 2 4; do
    check "$workers workers: the same bits" same workers$workers distributed --workers $workers --steps 4
done
resumed() {
    train resumed distributed --workers 2 --steps 2 --save-every 1 &&
        "$ROOT/pipelines/distributed" --run resumed --resume --steps 4 >resumed.out 2>&1 &&
        cmp resumed/model.safetensors alone/model.safetensors
}
check "stopped and resumed: the same bits" resumed

# ---- devices that fail ----

faulty() { # FAULT, AFTER, command...
    SIMCLR_OPENCL=$T/faults.so OPENCL_FAULT=$1 OPENCL_FAULT_AFTER=$2 "${@:3}"
}
if ${CC:-cc} -shared -fPIC -O1 -D_GNU_SOURCE -DCL_TARGET_OPENCL_VERSION=120 -o faults.so \
    "$ROOT/tests/programs/opencl_faults.c" -Wl,--no-as-needed -l:libOpenCL.so.1 2>cc.err; then
    small=(sh -c 'encode --width 0.5 --device opencl <views.st >out.st')
    check_fails 1 "kernels that do not compile" \
        'encode: device .*: the kernels do not compile .*: kernels.cl:7:1: error: no .*such.* thing$' \
        faulty build 0 "${small[@]}"
    check_fails 1 "no memory at all" 'encode: device .*: out of memory' faulty memory 1000 "${small[@]}"
    check_fails 1 "no memory for maps" 'encode: out of memory: a step of .* needs .* MiB' \
        faulty memory 5000000 "${small[@]}"
    for after in 0 30; do
        check_fails 1 "a device that is taken away after $after kernels" \
            'encode: device .*: the device is out of resources, or was taken away' faulty lost $after "${small[@]}"
    done
    taken_away() { # in training: each message is one line, and no model is left
        faulty lost 300 run lost opencl 2>lost.err && return 1
        grep -q 'device .* was taken away' lost.err && [ ! -e lost.st ]
    }
    check "a device that is taken away in training" taken_away
else
    skip "devices that fail" "no libOpenCL.so.1 to link with"
fi
done_testing
