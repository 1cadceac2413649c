#!/usr/bin/env bash
# Compares the reader of PyTorch's files with PyTorch: every type, views of storages, what trainers
# save, in both forms and in each protocol of pickles; and files that must be refused.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has torch numpy; then
    skip "PyTorch's files" "python3-torch or python3-numpy is not installed"
    done_testing
    exit
fi
program=${UNIT:-$ROOT/build/tests}/test_torch_file
golden=$ROOT/tests/golden/torch_files.py
check "PyTorch's values from files of every form" /usr/bin/python3 -B "$golden" . "$program"

mkdir odd
check "files that must be refused are made" /usr/bin/python3 -B "$golden" refused odd
for form in zip old; do
    for kind in sparse quantized; do
        check_fails 1 "a $kind tensor ($form)" 'tensor odd is made by torch._utils._rebuild_[a-z_]+; only dense' \
            "$program" odd/${kind}_$form.pt out.st
    done
    check_fails 1 "complex numbers ($form)" 'tensor odd has values of a type that is not read' \
        "$program" odd/complex_$form.pt out.st
    check_fails 1 "infinity in float64 ($form)" 'tensor odd holds inf' "$program" odd/infinite_$form.pt out.st
    check_fails 1 "a float64 beyond float32 ($form)" 'tensor odd holds 1e\+39' "$program" odd/large_$form.pt out.st
    whole_module() {
        "$program" "odd/module_$form.pt" out.st && grep 'objects beside the tensors are not read: torch.nn' .err
    }
    check "a module as a whole holds no tensors, and is named ($form)" whole_module
done
check_fails 1 "TorchScript" 'a program of TorchScript; save its state_dict' "$program" odd/script.pt out.st

# A file of 64 MiB, in 40 MiB of memory more than the programs take: one storage at a time, and only
# the tensors of the frame.
large() {
    /usr/bin/python3 -c 'import torch
torch.save({f"w{i}": torch.ones(1 << 20) for i in range(16)}, "large.pt")
torch.save({f"w{i}": torch.ones(1 << 20) for i in range(16)}, "large_old.pt", _use_new_zipfile_serialization=False)'
    local file
    for file in large.pt large_old.pt; do
        # 64 MiB for the frame, 4 for a storage, and what libraries map.
        (ulimit -v $((64 * 1024 + 4 * 1024 + ${1:-0})) && "$program" $file out.st) || return 1
    done
}
libraries=$( (
    "$program" "$ROOT/tests/data/torch/views_zip.pt" out.st 2>.err
    for kilobytes in $(seq 20000 4000 400000); do
        if (ulimit -v "$kilobytes" && "$program" "$ROOT/tests/data/torch/views_zip.pt" out.st) >.out 2>&1; then
            echo "$kilobytes"
            break
        fi
    done
) )
check "memory: the frame and one storage" large "$((libraries + 8 * 1024))"

done_testing
