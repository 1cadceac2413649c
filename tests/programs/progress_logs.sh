#!/usr/bin/env bash
# Tests of progress's logs: lines of JSON, event files for TensorBoard, and both over kills and resuming.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/progress_logs.py" "$ROOT" "$@"
}
if ! python_has numpy; then
    skip "logs" "python3-numpy is not installed"
    done_testing
    exit
fi
py streams
# Checks only the message of progress: the lines about steps go to stderr as well.
message() {
    local status=0
    "$@" 2>err || status=$?
    grep '^progress: ' err >&2
    return $status
}
logged() { # FILE [STREAM]
    progress --log "$1" --out /dev/null --in "${2:-all.st}"
}

# ---- lines of JSON ----

rows() {
    logged all.jsonl && py rows all.jsonl 0 9
}
check "a JSON object for each frame has all metrics" rows
resumed() {
    # shellcheck disable=SC2002 # in a file that ends on a frame, nothing would be broken
    ! cat killed.st | logged run.jsonl - && printf '{"step":7,"lo' >>run.jsonl &&
        logged run.jsonl resumed.st && py rows run.jsonl 0 9 5
}
check "over a kill and a resume the lines are one series" resumed
same_bytes() {
    logged run.jsonl all.st && cmp run.jsonl all.jsonl
}
check "a run that starts from the beginning replaces them" same_bytes
first_row() {
    local begin
    for begin in '' '{' '{"ste' '{"step":0,"loss":5.'; do
        printf %s "$begin" >first.jsonl
        logged first.jsonl && cmp first.jsonl all.jsonl || return 1
    done
}
check "a run that was killed in its first row is resumed" first_row
refused() { # TEXT
    printf %b "$1" >notes.jsonl
    cp notes.jsonl notes.old
    message logged notes.jsonl
}
for text in 'shopping list\n' 'shopping list' 'step\tloss\n0\t5.5\n' '[0]\n' '{"loss":1}\n' '{"step":"0"}\n' '{"step":0\n' '\n'; do
    check_fails 1 "a file that begins with '$text' is no log" 'notes.jsonl: is there and is no log' refused "$text"
    check "it is unchanged" cmp notes.jsonl notes.old
done
other_kind() {
    cp all.jsonl all.tsv
    message logged all.tsv
}
check_fails 1 "lines of JSON in a table's place" 'all.tsv: is there and is no log' other_kind
check "they are unchanged" cmp all.tsv all.jsonl
ln -s /dev/full full.jsonl
check_fails 1 "lines of JSON on a full disk" 'full.jsonl: No space left on device' message logged full.jsonl

# ---- event files ----

if ! python_has google.protobuf; then
    skip "event files" "python3-protobuf is not installed"
    done_testing
    exit
fi
board() { # FOLDER [STREAM]
    progress --tensorboard "$1" --out /dev/null --in "${2:-all.st}"
}
events() {
    board a/b/tb && py events a/b/tb 0 9 && py starts a/b/tb 0
}
check "event files have each number of each frame" events
both() {
    progress --tensorboard both --log both.jsonl --out passed.st --in all.st && py events both 0 9 &&
        cmp both.jsonl all.jsonl && inspect passed.st >passed.txt && inspect all.st | cmp - passed.txt
}
check "a log, event files and the frames that are passed on" both
killed() {
    local file
    # shellcheck disable=SC2002 # as above
    ! cat killed.st | board tb - && file=$(echo tb/*) && truncate -s -9 "$file" && cp "$file" before &&
        board tb resumed.st && cmp "$file" before && py events tb 0 9 5 && py starts tb 0 5
}
check "over a kill and a resume TensorBoard shows each step once" killed
within_a_second() {
    local step
    for step in 0 2 1; do
        board fast from$step.st || return 1
    done
    py starts fast 0 2 1 && py events fast 0 6
}
check "starts within a second are read in their order" within_a_second
late_clock() {
    mkdir late && : >late/events.out.tfevents.4000000000.host.1.0 && board late &&
        [[ $(echo late/*) == *" late/events.out.tfevents.4000000001."* ]]
}
check "a start is read last even if the clock went back" late_clock
names() {
    [[ $(echo both/*) =~ ^both/events\.out\.tfevents\.[0-9]{10}\.[-A-Za-z0-9._]+\.[0-9]+\.0$ ]]
}
check "TensorBoard knows the files by their names" names

live() {
    local writer reader seen=0
    mkfifo live.fifo
    progress --tensorboard live --log live.jsonl --out /dev/null --in live.fifo &
    reader=$!
    { cat begin.st && until [ -e live.seen ]; do sleep 0.05; done && cat rest.st; } >live.fifo &
    writer=$!
    for _ in $(seq 600); do
        [ "$([ ! -d live ] || py count live 2>/dev/null)" != 3 ] || [ "$(wc -l <live.jsonl)" != 3 ] || seen=1
        [ $seen = 0 ] || break
        sleep 0.1
    done
    touch live.seen
    wait $writer && wait $reader && [ $seen = 1 ] && py events live 0 9
}
check "a running run can be watched, frame by frame" live
touch plain
check_fails 1 "event files in the place of a file" 'plain: not a folder' message board plain
check_fails 1 "event files below a file" 'plain/tb: Not a directory' message board plain/tb
limited() {
    (ulimit -f 1 && board small)
}
check_fails 1 "an event file that cannot grow" 'small/events.*: File too large' message limited
mkdir end && touch end/events.out.tfevents.9999999999.x
check_fails 1 "an event file of the last second" 'end: .*give an empty folder' message board end
check_fails 1 "a frame without a step" 'frames without .step. cannot be logged' message board none stepless.st
done_testing
