#!/usr/bin/env bash
# Failures of output: readers that stop early, closed standard streams, full disks, limits on the size
# of files, and the files that a killed writer leaves.
set -eu
. "$(dirname "$0")/../lib.sh"

augment --data shapes --size 8 --batch 4 --steps 4 >x.st
augment --data shapes --size 8 --batch 4 --steps 1 --policy eval >one.st
encode --width 0.0625 <x.st >h.st
for _ in $(seq 60); do cat x.st; done >long.st

# ---- readers that stop early ----
enough() { # COMMAND: must exit with 0, without a message, when its reader reads one line or none
    local lines status
    for lines in 0 1; do
        "$@" 2>err | head -n $lines >/dev/null
        status=${PIPESTATUS[0]}
        if [ "$status" != 0 ] || [ -s err ]; then
            echo "$* | head -n $lines: $status"
            cat err
            return 1
        fi
    done
}
check "inspect ends silently when its reader stops early" enough inspect long.st
check "inspect --tsv does so, too" enough inspect --tsv long.st
check "inspect --meta does so, too" enough inspect --meta step long.st
check "evaluate ends silently when its reader stops early" enough evaluate --train one.st --test one.st --method knn --k 3 --bootstrap 0
helps() {
    local program
    for program in "${BIN:-$ROOT/bin}"/*; do
        enough "$program" --help || return 1
    done
}
check "--help of each program does so, too" helps
check_fails 1 "--help to a full disk" 'augment: stdout: No space left' sh -c 'augment --help >/dev/full'
check_fails 1 "text to a full disk" 'inspect: stdout: No space left' sh -c 'inspect long.st >/dev/full'

# ---- closed streams ----
# A file or socket that gets the number of a closed stream would receive what is printed there.
check_fails 1 "inspect without stdout" 'inspect: stdout: Bad file descriptor' sh -c 'inspect x.st >&-'
check_fails 1 "frames without stdout" 'encode: stdout: ' sh -c 'encode --width 0.0625 --in x.st >&-'
check_fails 1 "a stage without stdin" 'ntxent: stdin: ' sh -c 'ntxent <&-'
check_fails 1 "--help without stdout" 'lars: stdout: Bad file' sh -c 'lars --help >&-'
closed() { # FLAGS of the shell: training must give the same model
    rm -f closed.st
    sh -c "exec $1
        augment --data shapes --size 8 --batch 4 --steps 4 --out x2.st &&
            encode --width 0.0625 --in x2.st --out m.st --opt 'exec:lars --model closed.st' \
                --next \"exec:project --dim 4 --opt 'exec:lars --model closed-head.st' --next exec:ntxent\" || exit 1" &&
        cmp closed.st open.st
}
training() {
    encode --width 0.0625 --in x.st --out m.st --opt 'exec:tee grads.st | lars --model open.st' \
        --next "exec:project --dim 4 --opt 'exec:lars --model open-head.st' --next exec:ntxent"
}
check "training with all standard streams" training
check "training without stdin" closed '<&-'
check "training without stdout" closed '>&-'
check "training without stderr" closed '2>&-'
check "training without any standard stream" closed '<&- >&- 2>&-'

# ---- files that cannot grow ----
limited() { # KIBIBYTES COMMAND...
    (ulimit -f "$1" && shift && exec "$@")
}
check_fails 1 "a limit on the size of files" 'lars: m2.st: File too large' \
    limited 8 lars --model m2.st --in grads.st --out /dev/null
nothing_left() {
    [ -z "$(find . -name '*.tmp-*')" ]
}
check "no temporary file is left" nothing_left
metrics_to() { # FILE
    progress --log "$1" <m.st >/dev/null 2>log.err && return
    tail -n 1 log.err >&2 # the line after the progress bar
    return 1
}
if [ -w /dev/full ]; then
    check_fails 1 "a log on a full disk" 'full: No space left' metrics_to /dev/full
fi
mkdir disk
if mount -t tmpfs -o size=16k tmpfs disk 2>/dev/null; then
    trap 'umount "$T/disk"; rm -rf "$T"' EXIT
    resumed_full() { # there is no room for the old rows and their copy
        {
            printf 'step\tloss\tlr\n'
            for step in $(seq 0 400); do printf '%d\t0.5\t0.25\n' "$step"; done
        } >disk/m.tsv
        head -c 16384 /dev/zero >disk/filler 2>/dev/null || :
        metrics_to disk/m.tsv
    }
    augment --data shapes --size 8 --batch 4 --steps 404 --start 400 >m.st
    check_fails 1 "a log that is resumed on a full disk" 'disk/m.tsv: No space left' resumed_full
    check "the old metrics are unchanged" test "$(wc -l <disk/m.tsv)" = 402
    umount disk
    trap 'rm -rf "$T"' EXIT
else
    skip "a log on a full disk" "no right to mount a tmpfs"
fi

# ---- files that a killed writer leaves ----
killed() { # kills a program while it writes a file
    local folder=$1
    mkdir -p "$folder"
    mkfifo "$folder/in"
    augment --data shapes --size 8 --batch 4 --steps 2 | head -c -64 >two.st # without the end frame
    sh -c "cat two.st; exec sleep 1000" >"$folder/in" &
    local source=$!
    encode --width 0.0625 --in "$folder/in" --out "$folder/out.st" &
    writer=$!
    for _ in $(seq 600); do
        [ -n "$(find "$folder" -name 'out.st.tmp-*' -size +0)" ] && break
        sleep 0.05
    done
    writing=$(find "$folder" -name 'out.st.tmp-*')
    sleeper=$source
    rm "$folder/in"
}
stale() {
    killed stale
    kill -9 $writer && ! wait $writer 2>/dev/null && kill $sleeper && [ -e "$writing" ] && : >stale/out.st.backup &&
        : >stale/out.st.tmp-abc && : >stale/other.st.tmp-abcdef &&
        encode --width 0.0625 --in x.st --out stale/out.st && [ ! -e "$writing" ] &&
        [ "$(ls stale)" = "$(printf '%s\n' other.st.tmp-abcdef out.st out.st.backup out.st.tmp-abc)" ]
}
check "the next save removes the file of a killed writer, and no other file" stale
living() {
    killed living
    encode --width 0.0625 --in x.st --out living/out.st && [ -e "$writing" ] && cmp living/out.st h.st || return 1
    kill $writer && kill $sleeper
    ! wait $writer 2>/dev/null
}
check "a file that is being written stays" living
at_start() {
    : >opt.st.tmp-abcdef && : >opt.state.tmp-000000 && tail -c 64 x.st | lars --model opt.st --state opt.state >out &&
        [ ! -e opt.st.tmp-abcdef ] && [ ! -e opt.state.tmp-000000 ]
}
check "an optimizer removes such files when it starts" at_start
done_testing
