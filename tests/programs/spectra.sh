#!/usr/bin/env bash
# Trains a ResNet on images of five channels of 16 bits: augment, encode, project and ntxent.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "images of five channels" "python3-numpy is not installed"
    done_testing
    exit
fi
/usr/bin/python3 - "$ROOT" <<'P'
import os, sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np
import frames, tiff_writer
rng = np.random.default_rng(0)
y, x = np.mgrid[:12, :12][:, :, :, None]
for part in "train/a", "train/b":
    os.makedirs("spectra/" + part)
    for i in range(16):
        waves = rng.uniform(-0.5, 0.5, (2, 5))
        pixels = 32768 + 20000 * np.sin(x * waves[0] + y * waves[1])
        with open(f"spectra/{part}/{i}.tif", "wb") as file:
            file.write(tiff_writer.write(pixels.astype(np.uint16), extra=[0] * 4))
P
export OMP_NUM_THREADS=1 # these networks are too small for more
train() {
    augment --data spectra --ops crop:0.9-1,flip --size 8 --batch 32 --steps 12 |
        encode --width 0.125 --opt 'exec:adam --lr 0.004 --warmup 0 --model model.safetensors' \
            --next 'exec:project --opt "exec:adam --lr 0.004 --warmup 0 --model head.safetensors" --next "exec:ntxent --temperature 0.2"' |
        inspect --meta loss >losses
}
loss_falls() {
    awk '{ loss[NR] = $1 } END { exit !(NR == 12 && loss[10] + loss[11] + loss[12] < 0.8 * (loss[1] + loss[2] + loss[3])) }' losses
}
first_convolution() {
    inspect model.safetensors | grep -qE 'conv1.weight +F32 +\[8,5,3,3\]'
}
check "five channels of 16 bits train" train
check "the loss falls" loss_falls
check "the first convolution has five channels" first_convolution
features() {
    augment --data "$1" --policy eval --batch 32 | encode --init model.safetensors | inspect --meta step
}
check "the model encodes such images" features spectra
check_fails 1 "colours need three channels" \
    'augment: spectra: jitter computes with red, green and blue, and its images have 5 channels: choose others' \
    augment --data spectra --size 8 --batch 32 --steps 1 --out none.st
check "and nothing is written" test ! -e none.st
check_fails 1 "gray needs colours, also among --ops2" 'gray computes with red' \
    augment --data spectra --ops crop --ops2 crop,gray --size 8 --batch 32 --steps 1
views() { # OPTION...
    augment --data spectra --ops crop,flip,noise --size 8 --batch 8 --epochs 2 "$@"
}
same() { # OPTION...: the same bytes as without it
    views >whole.st && views "$@" | cmp - whole.st
}
check "without a cache of decoded images: the same views" same --cache 0
check "on one thread: the same views" same --threads 1
# The frames that augment wrote are data: the whole images are the same as floats in frames.
again() {
    augment --data spectra --policy eval --size 12 --batch 8 --out whole.st
    augment --data whole.st --policy eval --size 12 --batch 8 --out again.st
    inspect --npy whole.npy --tensor x whole.st && inspect --npy again.npy --tensor x again.st && cmp whole.npy again.npy
}
check "frames of floats are data as well" again
if python_has PIL; then
    sheet() {
        inspect --png sheet.png again.st >printed 2>said &&
            grep -q 'sheet.png: the first three channels are drawn, as red, green and blue' said &&
            /usr/bin/python3 - <<'P'
import numpy as np
from PIL import Image
x, sheet = np.load("again.npy"), np.array(Image.open("sheet.png"))
want = np.rint(x.reshape(-1, 12, 12, 5)[0, ..., :3].astype(np.float64) * 255)
tile = sheet[10:10 + 96, 10:10 + 96][::8, ::8]  # the first image, enlarged by 8, after the margin
assert np.abs(tile - want).max() <= 0.5, np.abs(tile - want).max()
P
    }
    check "a contact sheet shows the first three channels" sheet
fi
done_testing
