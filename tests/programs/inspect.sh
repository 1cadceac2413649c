#!/usr/bin/env bash
# Tests of inspect: the summary, the contact sheet, the metrics table, and damaged streams.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/evaluate_inspect_progress.py" "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "inspect" "python3-numpy is not installed"
    done_testing
    exit
fi
py images images.st
py metrics 0 3 10 >metrics.st

inspect images.st >summary
has_row() {
    sed 's/  */ /g; s/^ //' summary | grep -qxF -- "$1"
}
check "the first frame is summarized" has_row "step 4"
check "the second frame is summarized" has_row "frame 1: 0 tensors, 0 bytes of data"
check "a U8 tensor" has_row "x U8 [3,2,8,8,3] 0 62.3333 120 0 0"
check "an I64 tensor, exact beyond the range of a double" has_row "y I64 [3] -3 3.0024e+15 9007199254740993 0 0"
check "an F16 tensor" has_row "half F16 [4] -2 -0.75 0.5 1 1"
check "a BF16 tensor" has_row "brain BF16 [5] 1 2 3 2 1"
check "counts and mean of a long tensor" has_row "large F32 [100005] -5 -0.333333 3 20001 20001"
check "a tensor without elements" has_row "none F32 [0,2] - - - 0 0"
same() {
    inspect <images.st | cmp - summary && inspect --in images.st | cmp - summary
}
check "stdin, an operand and --in give the same output" same
limited() {
    test "$(inspect --limit 1 images.st | grep -c '^frame')" = 1
}
check "--limit ends the output early" limited

check "drawing a contact sheet" inspect --png sheet.png images.st
if python_has PIL; then
    check "the views are side by side, scaled up" py sheet sheet.png
else
    skip "the contact sheet's pixels" "python3-pil is not installed"
fi
check_fails 1 "--png without images" "no tensor 'x'" inspect --png none.png metrics.st
check_fails 1 "--png in a missing folder" 'nowhere/sheet.png' inspect --png nowhere/sheet.png images.st
nothing_left() {
    test ! -e none.png && test "$(find . -name 'sheet.png*')" = ./sheet.png
}
check "no incomplete file is left" nothing_left

printf 'step\tepoch\tloss\tcontrast_acc\tlr\tviews_per_s\n' >expect
printf '%s\t0\t%s\t0.25\t0.125\t64\n' 0 5.5 1 5.4000000000000004 2 5.2999999999999998 >>expect
table() {
    inspect --tsv metrics.st | cmp - expect
}
check "--tsv prints the metrics as a table" table

head -c 1000 images.st >cut.st
check_fails 1 "a truncated frame" 'cut.st: .*truncated' inspect cut.st
check_fails 1 "a file that is not a frame" 'expect' inspect expect
check_fails 1 "a missing file" 'missing.st' inspect missing.st
check_fails 1 "a full disk" 'No space left' sh -c 'inspect images.st >/dev/full'
check_fails 2 "two files" 'one stream' inspect images.st metrics.st
done_testing
