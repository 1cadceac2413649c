#!/usr/bin/env bash
# Features with names: `augment --list`, `inspect --npy` and `--rows`, and the pipeline embed. The name
# of each row must lead to the file whose features it holds.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy PIL; then
    skip "features with names" "python3-numpy and python3-pil are not installed"
    done_testing
    exit
fi
tiny='encode --width 0.0625 --threads 1'
embed() { "$ROOT/pipelines/embed" --encoder "$tiny" "$@" >embed.out; }

# Folders of classes with odd names, at several depths, and an image that cannot be read.
/usr/bin/python3 - <<'END'
import os

import numpy as np
from PIL import Image

random = np.random.default_rng(1)
names = ["train/dog/a b.png", "train/dog/-x.png", "train/dog/deep/c.png", "train/ümlaut/1.png", "train/ümlaut/2.png",
         "train/cat/\t.png", "train/cat/back\\slash.png", "test/dog/only.png"]
for name in names:
    os.makedirs("photos/" + os.path.dirname(name), exist_ok=True)
    Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save("photos/" + name)
END
echo broken >photos/train/dog/broken.png
$tiny --seed 3 --opt 'exec:lars --lr 0 --model model.st' --next 'exec:project --opt exec:lars --next exec:ntxent' \
    < <(augment --data shapes --limit 16 --batch 8 --steps 1 --size 16 --policy simclr-cifar) >train.out 2>train.err

list='0	0	cat	photos/train/cat/\\t.png
1	0	cat	photos/train/cat/back\\\\slash.png
2	1	dog	photos/train/dog/-x.png
3	1	dog	photos/train/dog/a b.png
4	1	dog	photos/train/dog/broken.png
5	1	dog	photos/train/dog/deep/c.png
6	2	ümlaut	photos/train/ümlaut/1.png
7	2	ümlaut	photos/train/ümlaut/2.png'
lists() { # WANTED, arguments of augment
    diff <(echo -e "$1") <(augment --list "${@:2}")
}
check "a folder: index, label, class and path, with escapes" lists "$list" --data photos
check "another part" lists '0	1	dog	photos/test/dog/only.png' --data photos --split test
in_archive=${list//photos\//}
tar --sort=name -cf a.tar -C photos train test
gzip -k a.tar
check "an archive: the names of its members" lists "$in_archive" --data a.tar
check "a compressed archive" lists "$in_archive" --data a.tar.gz
check "a stream" lists "$in_archive" --data a.tar.gz --cache 0
tar --sort=name -cf s-0.tar -C photos/train cat ümlaut
tar --sort=name -cf s-1.tar -C photos/train dog
shards='0	0	cat	cat/\\t.png	s-0.tar
1	0	cat	cat/back\\\\slash.png	s-0.tar
2	2	ümlaut	ümlaut/1.png	s-0.tar
3	2	ümlaut	ümlaut/2.png	s-0.tar
4	1	dog	dog/-x.png	s-1.tar
5	1	dog	dog/a b.png	s-1.tar
6	1	dog	dog/broken.png	s-1.tar
7	1	dog	dog/deep/c.png	s-1.tar'
check "a list of archives: which archive, too" lists "$shards" --data 's-{0..1}.tar'
drawn() { augment --list --data shapes | sed -n '10p;$p' | diff - <(printf '%s\t9\t\tshapes:%s\n' 9 9 9999 9999); }
check "drawn images: their numbers" drawn
# Files of many images: CIFAR's in both versions, STL-10's and MNIST's.
/usr/bin/python3 - <<'END'
import io, os, pickle, struct, tarfile

import numpy as np

random = np.random.default_rng(3)
for folder in "cifar", "pickles", "stl", "mnist":
    os.makedirs(folder)
for k, n in enumerate((3, 1, 2, 2, 2), 1):
    data, labels = random.integers(0, 256, (n, 3072), np.uint8), random.integers(0, 10, n)
    open(f"cifar/data_batch_{k}.bin", "wb").write(b"".join(bytes([y]) + x.tobytes() for x, y in zip(data, labels)))
    pickle.dump({b"data": data, b"labels": [int(y) for y in labels]}, open(f"pickles/data_batch_{k}", "wb"), k)
open("stl/train_X.bin", "wb").write(random.integers(0, 256, 2 * 27648, np.uint8).tobytes())
open("stl/train_y.bin", "wb").write(bytes([4, 10]))
open("mnist/t10k-images-idx3-ubyte", "wb").write(struct.pack(">4i", 2051, 2, 4, 4) + bytes(32))
for name in "cifar", "stl":
    with tarfile.open(name + ".tar.gz", "w:gz") as tar:
        tar.add(name)
END
numbered() { # WANTED DATA, arguments: the last column of a list
    diff <(tr ' ' '\n' <<<"$1") <(augment --list --data "$2" "${@:3}" | cut -f 4)
}
batches='data_batch_1%:0 data_batch_1%:1 data_batch_1%:2 data_batch_2%:0 data_batch_3%:0 data_batch_3%:1 data_batch_4%:0 data_batch_4%:1 data_batch_5%:0 data_batch_5%:1'
in_folder() {
    local paths=${batches//%/$2}
    echo "${paths//data/$1/data}"
}
check "CIFAR-10: the file, and the number in it" numbered "$(in_folder cifar .bin)" cifar
check "... in an archive" numbered "${batches//%/.bin}" cifar.tar.gz
check "... as pickles" numbered "$(in_folder pickles '')" pickles
check "STL-10" numbered "stl/train_X.bin:0 stl/train_X.bin:1" stl
check "... in an archive" numbered "train_X.bin:0 train_X.bin:1" stl.tar.gz
check "... in a stream" numbered "train_X.bin:0 train_X.bin:1" stl.tar.gz --cache 0
check "MNIST" numbered "mnist/t10k-images-idx3-ubyte:0 mnist/t10k-images-idx3-ubyte:1" mnist --split test
check_fails 1 "a missing part is refused" 'has no unlabeled part' augment --data photos --split unlabeled --list
check_fails 1 "a full disk is reported" 'No space left' bash -c 'augment --data photos --list >/dev/full'
closed() { augment --data shapes --list | head -n 1 >first && [ "${PIPESTATUS[*]}" = "0 0" ]; }
check "a reader that has seen enough is no failure" closed
chosen() { # arguments of augment: the list has the images that the frames have
    diff <(augment --list "$@" | cut -f 1,2) <(augment --policy eval --batch 3 "$@" | inspect --rows index,y -)
}
check "with --limit, --hold and --labels-per-class, it lists the images of the frames" chosen --data shapes --hold 0.1 --split test --limit 50 --labels-per-class 2

# Each row's features are those of encode on the named file alone, in a batch of its own.
cat >alone.py <<'END'
import os, shutil, subprocess, sys, tarfile

import numpy as np

table, folder, tar = sys.argv[1:4]
rows = [line.rstrip("\n").split("\t") for line in open(table + "/features.tsv")]
array = np.load(table + "/features.npy")
assert array.dtype == "<f4" and array.shape == (len(rows), 32) and array.flags.c_contiguous, array.shape
assert len(np.unique(array, axis=0)) == len(rows) == int(sys.argv[4]), len(rows)
shutil.rmtree("alone", ignore_errors=True)
os.mkdir("alone")
for i, row in enumerate(rows):
    name = row[3].replace("\\t", "\t").replace("\\\\", "\\")
    file = open(name, "rb") if tar == "-" else tarfile.open(row[4] if len(row) > 4 else tar).extractfile(name)
    open(f"alone/{i:03}.png", "wb").write(file.read())
command = "augment --data alone --policy eval --size 16 --batch 1 | encode --width 0.0625 --init model.st | inspect --npy alone.npy"
subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
assert np.array_equal(np.load("alone.npy"), array)
END
names_its_rows() { # DATA ROWS TAR, further arguments
    embed --model model.st --data "$1" --out features --augment 'augment --size 16 --on-error skip' "${@:4}" 2>err &&
        /usr/bin/python3 alone.py features "$1" "$3" "$2"
}
rm photos/train/dog/broken.png
tar --sort=name -cf s-1.tar -C photos/train dog
rm a.tar.gz && tar --sort=name -czf a.tar.gz -C photos train test
check "a folder's rows are those of its files" names_its_rows photos 7 -
check "the rows of a compressed archive" names_its_rows a.tar.gz 7 a.tar.gz --batch 2
check "the rows of shards" names_its_rows 's-{0..1}.tar' 7 shards
# CIFAR: the pixels of the record that the name gives, as an image of their own.
cat >records.py <<'END'
import os, shutil, subprocess, sys

import numpy as np
from PIL import Image

shutil.rmtree("alone", ignore_errors=True)
os.mkdir("alone")
for i, line in enumerate(open("features/features.tsv")):
    file, number = line.rstrip("\n").split("\t")[3].rsplit(":", 1)
    record = open(file, "rb").read()[3073 * int(number):][:3073]
    assert record[0] == int(line.split("\t")[1])
    pixels = np.frombuffer(record[1:], np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)
    Image.fromarray(pixels).save(f"alone/{i:03}.png")
command = "augment --data alone --policy eval --size 16 --batch 1 | encode --width 0.0625 --init model.st | inspect --npy alone.npy"
subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
array = np.load("features/features.npy")
assert len(array) == 10 and np.array_equal(np.load("alone.npy"), array)
END
cifar_rows() {
    embed --model model.st --data cifar --out features --augment 'augment --size 16' 2>err && /usr/bin/python3 records.py
}
check "the rows of CIFAR" cifar_rows
check "the test part" names_its_rows photos 1 - --split test
check "some of the images" names_its_rows photos 3 - --limit 3
echo broken >photos/train/dog/broken.png
unreadable() {
    embed --model model.st --data photos --out features --augment 'augment --size 16 --threads 1' 2>err &&
        grep -q 'broken.png' err && [ "$(wc -l <features/features.tsv)" = 7 ] && ! grep -q broken features/features.tsv
}
check "an image that cannot be read has no row, and is named" unreadable
rm photos/train/dog/broken.png
projections() {
    augment --data shapes --limit 16 --batch 8 --steps 1 --size 16 --policy simclr-cifar |
        $tiny --opt ipc://opt --next 'exec:project --dim 6 --opt ipc://opt --next exec:ntxent' >/dev/null 2>&1 &
    lars --listen ipc://opt --lr 0 --model both.st 2>/dev/null && wait
    embed --model both.st --data photos --out z --on z --projector 'project --dim 6' --augment 'augment --size 16' 2>err &&
        /usr/bin/python3 -c 'import numpy as np; a = np.load("z/features.npy"); assert a.shape == (7, 6) and a.std() > 0, a.shape'
}
check "projections" projections

# The commands of a run have what a model without a description does not say: the normalization.
of_a_run() {
    "$ROOT/pipelines/train" --run run --steps 1 --batch 8 --encoder "$tiny --normalize cifar10" --projector 'project --dim 9' \
        >train.out 2>&1 || { cat train.out && return 1; }
    /usr/bin/python3 "$ROOT/tests/edit_frame.py" run/model.safetensors bare.st 'm.clear()'
    "$ROOT/pipelines/embed" --run run --split test --limit 5 --out described >embed.out &&
        "$ROOT/pipelines/embed" --run run --model bare.st --split test --limit 5 --out bare >embed.out &&
        cmp described/features.npy bare/features.npy
}
check "a run's commands, for a model that does not say what it is" of_a_run

refused() { # what, regex, arguments of embed: nothing is written
    rm -rf new
    check_fails 1 "$1" "$2" embed --out new "${@:3}"
    check "... and nothing is left" test ! -e new/features.npy -a ! -e new/features.tsv
}
refused "a missing model" 'nowhere.st: no such file' --model nowhere.st --data photos
check_fails 2 "stdin comes once" 'stdin comes once' embed --out new --model model.st --data -
check_fails 2 "a missing --data" 'data PATH is missing' embed --out new --model model.st
check_fails 2 "a missing --out" 'out DIR is missing' embed --model model.st --data photos

# inspect --rows and --npy
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$ROOT/tests" <<'END'
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import frames

random = np.random.default_rng(2)
with open("rows.st", "wb") as file:
    for n in 3, 0, 2:
        frames.write(file, {"a": random.normal(size=(n, 2, 3)).astype(np.float32), "h": random.normal(size=(n, 1, 4)).astype(np.float16),
                            "b": frames.bf16(random.normal(size=(n,))), "y": np.arange(n) - 2**60, "u": random.integers(0, 256, (n, 2), np.uint8),
                            "i": np.arange(n, dtype=np.int32)})
    frames.write_end(file)
with open("uneven.st", "wb") as file:
    frames.write(file, {"h": np.zeros((2, 1, 4), np.float32)})
    frames.write(file, {"h": np.zeros((2, 1, 5), np.float32)})
    frames.write_end(file)
END
cat >rows.py <<'END'
import subprocess, sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import frames

whole = {}
with open("rows.st", "rb") as file:
    for tensors, _ in frames.read_all(file):
        for name, value in tensors.items():
            whole.setdefault(name, []).append(value)
whole = {name: np.concatenate(parts) for name, parts in whole.items()}
for name in "ahyui":
    subprocess.run(["inspect", "--npy", "x.npy", "--tensor", name, "rows.st"], check=True)
    array = np.load("x.npy")
    wanted = whole[name][:, 0] if name == "h" else whole[name]
    assert array.dtype == wanted.dtype and np.array_equal(array, wanted), name
text = subprocess.run(["inspect", "--rows", "a,h,b,y,u,i", "rows.st"], check=True, capture_output=True, text=True).stdout
lines = [line.split("\t") for line in text.splitlines()]
assert len(lines) == 5
for n, line in enumerate(lines):
    values = [v for name in "ahbyui" for v in whole[name][n].reshape(-1)]
    assert len(line) == len(values) == 6 + 4 + 1 + 1 + 2 + 1
    for printed, value in zip(line, values):
        assert type(value)(printed) == value, (printed, value)
END
check "inspect --npy and --rows give the tensors' values, as numpy reads them" /usr/bin/python3 rows.py "$ROOT/tests"
check_fails 1 "a dtype that numpy lacks" 'b is BF16, which numpy lacks' inspect --npy none.npy --tensor b rows.st
check_fails 1 "rows that change their shape" 'h has rows of F32 \[\?,5\] after rows of F32 \[\?,4\]' inspect --npy none.npy uneven.st
check_fails 1 "a missing tensor" "no tensor 'q'" inspect --npy none.npy --tensor q rows.st
check_fails 1 "a missing tensor among rows" "no tensor 'q'" inspect --rows y,q rows.st
check_fails 1 "a stream that breaks off" 'truncated' bash -c 'head -c 1000 rows.st | inspect --npy none.npy'
check "... leaves no array" test ! -e none.npy
done_testing
