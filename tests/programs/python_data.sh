#!/usr/bin/env bash
# Tests data sets that come as files of Python programs and the like: CIFAR as pickles, and STL-10's
# binary files. Python's own pickle and numpy say what the images are.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    /usr/bin/python3 -B "$ROOT/tests/programs/python_data.py" "$@"
}
if ! python_has numpy; then
    skip "pickles and STL-10" "python3-numpy is not installed"
    done_testing
    exit
fi
py cifar .
py stl10 .

as_python_reads() { # SET SPLIT SIZE ARGUMENTS...: without augmentation
    augment --split "$2" --ops flip:0 --size "$3" --batch 10 --epochs 1 --out seen.st "${@:4}" && py same seen.st "$1" "$2"
}
python_10() { # the truth for the binary version, with which all other forms are compared
    as_python_reads p4-10 train 32 --data bin10 && as_python_reads p4-10 test 32 --data python2-10
}
python_100() {
    as_python_reads p4-100 train 32 --data bin100 && as_python_reads p4-100 test 32 --data python2-100
}
check "CIFAR-10's images and labels are what Python reads" python_10
check "CIFAR-100's images and labels are what Python reads" python_100
for n in 10 100; do
    for split in train test; do
        augment --data bin$n --split $split --batch 10 --epochs 1 --out bin$n-$split.st
    done
done
each_form() { # N: all give the same frames as the binary version, names of classes included
    local set split
    for set in p[0-5]-"$1" python2-"$1" python2-0-"$1" arrays-"$1" fortran-"$1"; do
        for split in train test; do
            augment --data "$set" --split $split --batch 10 --epochs 1 | cmp "bin$1-$split.st" - ||
                { echo "$set $split"; return 1; }
        done
    done
}
check "CIFAR-10 as pickles of every protocol, of Python 2 and with arrays of every kind" each_form 10
check "CIFAR-100 as pickles of every protocol, of Python 2 and with arrays of every kind" each_form 100
archive_of() { # N: has its files in another order
    local split
    for split in train test; do
        augment --data cifar-"$1"-python.tar.gz --split $split --batch 10 --epochs 1 | cmp "bin$1-$split.st" - || return 1
    done
}
check "CIFAR-10's archive of pickles" archive_of 10
check "CIFAR-100's archive of pickles" archive_of 100

refuse() { # "what" 'regex' FOLDER [ARGUMENTS...]
    check_fails 1 "$1" "$2" augment --data "$3" --batch 2 --steps 1 --out /dev/null "${@:4}"
}
refuse "--hold, as there is a test part" 'python2-10 has a test part, and --hold' python2-10 --hold 0.1
refuse "an unlabeled part of CIFAR" 'p2-100 has no unlabeled part' p2-100 --split unlabeled
rm p3-10/data_batch_3
refuse "one of the five files is missing" 'p3-10: has no data_batch_3; the training part is the five files' p3-10
py damage "$PWD" p2-10/test_batch
damaged() { # "what" 'regex' NAME
    refuse "$1" "$3/test_batch: .*$2" "$3" --split test
}
damaged "no labels" 'it has no labels' no_labels
damaged "no images" 'it has no data' no_data
damaged "a label beyond the classes" 'image 0 has label 10, and there are 10 classes' label
damaged "fewer labels than images" '9 labels for 10 images' few
damaged "labels that are words" 'the label of image 0 is no integer' words
damaged "images of another size" 'its data is no array of 3072 bytes' narrow
damaged "images of floats" 'whose values are no little-endian integers' floats
damaged "a pickle of a list" 'a pickle without a dict' list
damaged "a pickle that ends too soon" 'BINUNICODE at byte [0-9]+: the pickle ends too soon' cut
for name in call data_call evil; do
    damaged "a pickle that calls a program ($name)" 'GLOBAL at byte [0-9]+: the global posix.system' $name
done
damaged "an opcode that calls a program" 'INST at byte 13: not an opcode of plain data' inst
check "no program was run" test ! -e ran

# ---- STL-10 ----
for split in train test unlabeled; do
    augment --data stl10_binary --split $split --batch 10 --epochs 1 --size 96 --ops flip:0 --out $split.st
    check "STL-10's images and labels are what numpy reads: $split" py same $split.st stl10_binary $split
    for data in 'stl10_binary.tar' 'stl10_binary.tar.gz'; do
        stl10_archive() {
            augment --data "$data" --split "$split" --batch 10 --epochs 1 --size 96 --ops flip:0 | cmp "$split.st" -
        }
        check "$data gives the same frames: $split" stl10_archive
    done
    stl10_stream() {
        augment --data stl10_binary.tar.gz --cache 0 --shuffle 7 --split "$split" --batch 10 --epochs 1 --size 96 \
            --ops flip:0 --out seen.st && py same seen.st stl10_binary "$split"
    }
    check "a compressed archive as a stream: $split" stl10_stream
done
names() {
    augment --data "$1" --batch 2 --steps 1 --size 96 | inspect --meta class_names | grep -F '["airplane","bird","car"'
}
check "STL-10's class names" names stl10_binary
check "STL-10's class names in a compressed archive" names stl10_binary.tar.gz
refuse "--hold, as STL-10 has a test part" 'stl10_binary has a test part, and --hold' stl10_binary --hold 0.1
refuse "--hold with a compressed archive" 'has a test part, and --hold' stl10_binary.tar.gz --hold 0.1
stl10() { # makes a copy with small files that can be damaged
    rm -rf stl && mkdir stl && cp stl10_binary/{test_X.bin,test_y.bin,class_names.txt} stl
}
stl10
refuse "a part of STL-10 that is missing" 'stl has no train part' stl
rm stl/test_y.bin
refuse "STL-10 without labels" 'stl: has no test_y.bin' stl --split test
stl10 && truncate -s -1 stl/test_X.bin
refuse "STL-10 with a part of an image" 'test_X.bin: 276479 bytes are no whole number of images of 27648 bytes' stl --split test
stl10 && truncate -s 9 stl/test_y.bin
refuse "STL-10 with a label too few" 'test_y.bin: 9 labels for 10 images' stl --split test
stl10 && printf '\0\1\1\1\1\1\1\1\1\1' >stl/test_y.bin
refuse "STL-10 with label 0" 'test_y.bin: label 0 at byte 0; labels are 1 to 10' stl --split test
stl10 && printf 'cat\ndog\n' >stl/class_names.txt
refuse "STL-10 with two names" 'class_names.txt: 2 names of 10 classes' stl --split test
head -c 300000 stl10_binary.tar.gz >cut.tar.gz
refuse "a truncated archive of STL-10" 'cut.tar.gz: damaged archive' cut.tar.gz --split test --format stl10

done_testing
