#!/usr/bin/env bash
# Gives files of other formats to each program that reads frames: one line must name the format.
set -eu
. "$(dirname "$0")/../lib.sh"
if ! python_has numpy PIL; then
    skip "foreign files" "python3-numpy and python3-pil are not installed"
    done_testing
    exit
fi
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - <<'END'
import gzip, io, lzma, bz2, pickle, zipfile

import numpy as np
from PIL import Image

weights = {"conv1.weight": np.ones((2, 2), np.float32)}
# Files in the two layouts of torch.save(): an archive without compression, and the magic number of
# the old form.
with zipfile.ZipFile("model.pth", "w") as file:
    file.writestr("archive/data.pkl", pickle.dumps(weights, 2))
# This file has no version or flags, and its first eight bytes are a possible length of a header.
open("plain.zip", "wb").write(b"PK\3\4\0\0\0\0" + b"\0" * 100)
with open("old.pth", "wb") as file:
    pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
    pickle.dump(1001, file, protocol=2)
for protocol in (3, 4, 5):
    open("weights%d.pkl" % protocol, "wb").write(pickle.dumps(weights, protocol))
for name, packed in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
    open("frames." + name, "wb").write(packed(b"frames" * 100))
np.save("array.npy", np.ones(3))
for name in ("image.png", "image.jpg", "image.gif", "image.webp"):
    Image.new("RGB", (4, 4)).save(name)
open("keras.h5", "wb").write(b"\x89HDF\r\n\x1a\n" + bytes(100))
open("labels.csv", "w").write("index,label\n1,2\n")
open("bom.csv", "w", encoding="utf-8-sig").write("index,label\n1,2\n")
open("noise", "wb").write(b"\xff" * 100)
END
x() {
    augment --data shapes --size 8 --batch 2 --steps 1
}
x >x.st
is() { # FILE REGEX
    check_fails 1 "$1" "inspect: $1: not a frame but $2" inspect "$1"
}
is model.pth "a zip archive, as PyTorch's torch.save.. writes: --init reads it, and export-model converts it"
is plain.zip 'a zip archive'
is old.pth 'a pickle, as older versions of PyTorch write: --init reads it'
for n in 3 4 5; do
    is weights$n.pkl 'a pickle of Python: convert it'
done
is frames.gz 'a gzip file: unpack it first'
is frames.bz2 'a bzip2 file: unpack'
is frames.xz 'an xz file: unpack'
is array.npy "an array of numpy's"
for kind in png jpg gif webp; do
    is image.$kind 'a .*: augment reads images'
done
is keras.h5 'an HDF5 file, as Keras writes: convert'
is labels.csv text
is bom.csv text
check_fails 1 "noise" 'inspect: noise: not a frame: a header of 18446744073709551615 bytes is longer than' inspect noise
check_fails 1 "a model" 'encode: model.pth: holds no tensors; torch.save.model.state_dict' encode --init model.pth --in x.st
check_fails 1 "a model in the old format of torch" 'encode: old.pth: .*the pickle ends too soon' encode --init old.pth --in x.st
check_fails 1 "a state" 'lars: model.pth: not a frame but a zip' lars --resume --state model.pth --in x.st
check_fails 1 "a stream" 'ntxent: stdin: not a frame but text' sh -c 'ntxent <labels.csv'
check_fails 1 "features" 'evaluate: model.pth: not a frame but a zip' evaluate --train model.pth --test model.pth
if python_has torch; then
    check "a file that torch itself has written" /usr/bin/python3 -c 'import torch
torch.save({"a": torch.ones(2)}, "new.pth")
torch.save({"a": torch.ones(2)}, "legacy.pth", _use_new_zipfile_serialization=False)'
    is new.pth "a zip archive, as PyTorch's"
    is legacy.pth 'a pickle, as older versions of PyTorch'
fi
done_testing
