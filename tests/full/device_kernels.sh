#!/usr/bin/env bash
# Long tests of --device: the memory of a long run, and whether the kernels are OpenCL C for devices without
# double, and CUDA C++ as well.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

# ---- OpenCL and CUDA ----

kernels=$ROOT/lib/device
compile_as_opencl() {
    for target in spir64 nvptx64 amdgcn; do
        clang -x cl -cl-std=CL1.2 -target $target -Xclang -finclude-default-header -Xclang -cl-ext=-all \
            -include "$kernels/kernel_arguments.h" -fsyntax-only -Wall -Wextra -Wshadow -Wdouble-promotion -Werror \
            "$kernels/kernels.cl" || return 1
    done
}
compile_as_cuda() {
    clang++ -x cuda -nocudainc -nocudalib --cuda-device-only --cuda-gpu-arch=sm_70 -S -O3 -Wall -Wextra \
        -Wno-unknown-cuda-version -Werror -include "$ROOT/tests/device/cuda_names.h" \
        -include "$kernels/kernel_arguments.h" -o kernels.ptx "$kernels/kernels.cl" &&
        [ "$(grep -c '\.visible \.entry' kernels.ptx)" = "$(grep -c '^KERNEL void' "$kernels/kernels.cl")" ]
}
# An accumulator that is not in a register would make each of its additions an access to memory. Only the
# tree of gather_gradient is indexed by numbers that the compiler does not know.
in_registers() {
    awk '/\.visible \.entry/ { kernel = $0 }
        /(ld|st)\.local/ && kernel !~ /gather_gradient/ { print kernel; print; n++ }
        END { exit n > 0 }' kernels.ptx
}
if clang++ --version >clang.version 2>&1 && clang++ --print-targets | grep -q nvptx64; then
    check "the kernels are OpenCL C 1.2 without extensions" compile_as_opencl
    check "the kernels are CUDA C++ too" compile_as_cuda
    check "all accumulators are in registers" in_registers
else
    skip "the kernels are CUDA C++ too" "there is no clang for NVPTX"
fi

# ---- a long run ----

if ! encode --device list | grep -q '^opencl:'; then
    skip "the memory of a long run" "there is no OpenCL device (Debian: pocl-opencl-icd)"
    done_testing
    exit
fi
steps=500
memory() { # PID: KiB
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}
# By then each buffer that is used in turns has been used. A wrapper of the loss holds the last step until encode's memory was read.
cat >held <<'END'
#!/usr/bin/python3
import os, subprocess, sys, time
sys.path.insert(0, os.environ["ROOT"] + "/tests")
import frames
child = subprocess.Popen(["ntxent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
step = 0
while (frame := frames.read(sys.stdin.buffer)) is not None and frame[1].get("end") != "1":
    for name in ("250", "499"):
        if step == int(name):
            open("at." + name, "w").close()
            while not os.path.exists("seen." + name):
                time.sleep(0.05)
    frames.write(child.stdin, frame[0], **frame[1])
    child.stdin.flush()
    tensors, meta = frames.read(child.stdout)
    frames.write(sys.stdout.buffer, tensors, **meta)
    sys.stdout.flush()
    step += 1
frames.write_end(child.stdin)
child.stdin.close()
child.wait()
frames.write_end(sys.stdout.buffer)
END
chmod +x held
export ROOT
long_run() {
    local pid number first last
    augment --data shapes --size 8 --batch 4 --steps $steps >views.st
    encode --width 0.1 --device opencl --opt 'exec:lars --model model.st' \
        --next "exec:project --device opencl --opt 'exec:lars --model head.st' --next exec:./held" \
        <views.st >metrics.st &
    pid=$!
    for number in 250 499; do
        until [ -e at.$number ]; do
            kill -0 $pid || return 1
            sleep 0.1
        done
        memory $pid >memory.$number
        touch seen.$number
    done
    wait $pid && read -r first <memory.250 && read -r last <memory.499 && echo "$first KiB, then $last KiB" &&
        [ $((last - first)) -lt 1024 ] && [ "$(inspect --meta loss metrics.st | wc -l)" = $steps ]
}
if python_has numpy; then
    check "$steps steps need no more memory than 250" long_run
else
    skip "the memory of a long run" "python3-numpy is not installed"
fi
done_testing
