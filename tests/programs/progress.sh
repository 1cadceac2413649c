#!/usr/bin/env bash
# Tests of progress: lines, bar, log, frames that pass through, resuming, and truncated streams.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/evaluate_inspect_progress.py" "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "progress" "python3-numpy is not installed"
    done_testing
    exit
fi
py metrics 0 400 400 >all.st
py metrics 0 350 400 falling broken >broken.st
py metrics 300 400 400 >resumed.st
py metrics 0 400 400 5.541 >stuck.st

pass() {
    progress --log log.tsv <all.st >passed.st 2>lines && inspect passed.st >passed.txt &&
        inspect all.st | cmp - passed.txt
}
check "frames are passed on unchanged" pass
lines() {
    head -n 1 lines | grep -q '^step 1/400  epoch 1/4  loss 5.5000  acc 25.0%  lr 0.125  64 views/s' &&
        tail -n 1 lines | grep -q '^step 400/400  epoch 4/4  loss 4.5025' &&
        test "$(wc -l <lines)" -ge 20 && test "$(wc -l <lines)" -le 50
}
check "lines are printed from time to time" lines
rows() {
    inspect --tsv all.st | cmp - log.tsv
}
check "the log has a row for each step" rows

# Checks only the message of progress: the lines about steps go to stderr as well.
message() {
    local status=0
    "$@" 2>err || status=$?
    grep '^progress: ' err >&2
    return $status
}
breaks() {
    # shellcheck disable=SC2002 # in a file that ends on a frame, nothing would be broken
    cat broken.st | progress --log cut.tsv >broke.st
}
check_fails 1 "a truncated stream" 'end frame' message breaks
no_end() {
    # shellcheck disable=SC2002 # as above
    test "$(wc -l <cut.tsv)" = 351 && ! cat broke.st | inspect >/dev/null 2>&1
}
check "its rows are kept and no end frame is written" no_end
resume() {
    printf '350\t3\t4.6' >>cut.tsv # the last row of a killed run
    progress --log cut.tsv <resumed.st >/dev/null 2>&1 && cmp cut.tsv log.tsv
}
check "the log of a resumed run has each step once" resume
anew() {
    progress --log cut.tsv <all.st >/dev/null 2>&1 && cmp cut.tsv log.tsv
}
check "a run that starts from the beginning replaces the log" anew

once() {
    test "$(progress <stuck.st 2>&1 >/dev/null | grep -c 'nothing is being learned')" = 1 &&
        ! progress <all.st 2>&1 >/dev/null | grep -q learned
}
check "a loss that stays at chance is reported once" once
for columns in 100 40; do
    check "a bar on a terminal of $columns columns" py terminal all.st $columns
done

echo "shopping list" >notes.txt
cp notes.txt notes.old
logged() {
    progress --log "$1" <all.st >/dev/null
}
check_fails 1 "a log that is another file" 'notes.txt: .*no log' message logged notes.txt
check "the other file is unchanged" cmp notes.txt notes.old
check_fails 1 "a log that cannot be written" 'nowhere/log.tsv' message logged nowhere/log.tsv
check_fails 1 "a log on a full disk" '/dev/full: No space left on device' message logged /dev/full
check_fails 2 "an unknown option" 'colour' progress --colour
done_testing
