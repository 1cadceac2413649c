#!/usr/bin/env bash
# Tests of supervise: a run's folder, lock, options, state, processes, and how they end.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

export TMPDIR=$T/tmp PYTHONDONTWRITEBYTECODE=1
mkdir "$TMPDIR"
python=/usr/bin/python3

# A stand-in for a run's processes: the state of a run of 4 steps, made by Python.
cat >state.py <<'END2'
"""state.py FILE KIND STEP STEPS: a state or a model of two tensors, written by hand."""
import json
import struct
import sys

path, kind, step, steps = sys.argv[1:]
header = {"__metadata__": {"kind": kind, "optimizer": "lars", "step": step, "steps": steps},
          "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
data = struct.pack("<2f", 1, 2)
if kind == "state":
    header["momentum/w"] = {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}
    data += struct.pack("<2f", 3, 4)
text = json.dumps(header).encode()
text += b" " * (-(8 + len(text)) % 64)
open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
END2
state() { # FILE KIND STEP STEPS
    $python state.py "$@"
}
state end.st state 4 4
state middle.st state 2 4
state model.st model 4 4
comes_to_its_end='cp end.st "$RUN/state.safetensors"; cp model.st "$RUN/model.safetensors"'
supervised() { # FOLDER, options and processes
    RUN=$1 in_time supervise --run "$@"
}

# ---- processes ----
ends_well() {
    supervised well optimizer="$comes_to_its_end" other='echo said >&2; test -d "$SIMCLR_SOCKETS"' >well.out &&
        grep -q 'the model is well/model.safetensors' well.out && grep -q said well/log.txt &&
        grep -q 'other:' well/commands.sh && [ -z "$(ls -A "$TMPDIR")" ]
}
check "processes end normally, and their temporary folder is removed" ends_well
sees() {
    rm -rf seen
    supervised seen optimizer="$comes_to_its_end" \
        look='stat -c %a "$SIMCLR_SOCKETS" >look; echo "$SIMCLR_START [$SIMCLR_RESUME] $SIMCLR_RUN" >>look; readlink /proc/self/fd/0 >>look' >/dev/null &&
        [ "$(sed -n 1p look)" = 700 ] && [[ $(sed -n 2p look) =~ ^0\ \[\]\ [0-9a-f]{16}$ ]] && [ "$(sed -n 3p look)" = /dev/null ]
}
check "each process finds a private folder, the first step and the attempt's number" sees
fails_once() { # COMMAND, expected message
    local status=0
    rm -rf failing
    supervised failing --restarts 0 "loss=$1" optimizer='sleep 100' 2>failing.err || status=$?
    cat failing.err
    [ $status = 1 ] && grep -qx "supervise: $2; the stages said:" failing.err && grep -qx '  why' failing.err &&
        [ -z "$(ls -A "$TMPDIR")" ]
}
check "an exit status is reported as a status" fails_once 'echo why >&2; exit 255' 'the loss exited with status 255'
check "a signal is reported as a signal" fails_once 'echo why >&2; kill -KILL $$' 'the loss was killed by SIGKILL'
check "a status that looks like that of a signal is reported as a status" fails_once 'echo why >&2; exit 137' 'the loss exited with status 137'
no_success() {
    supervised nothing --restarts 0 optimizer=true
}
check_fails 1 "a run without a model has failed" 'nothing/model.safetensors: No such file' no_success
half() {
    supervised half --restarts 0 optimizer='cp middle.st "$RUN/state.safetensors"; cp model.st "$RUN/model.safetensors"'
}
check_fails 1 "a run whose state is incomplete has failed" 'half has made 2 of 4 steps' half
counts() { # two failures with a new state each, then one without, and another one
    local status=0
    rm -rf counted n
    supervised counted --restarts 1 optimizer='echo >>n; case $(wc -l <n) in
        1) cp middle.st "$RUN/state.safetensors" ;;
        2) [ $SIMCLR_START = 2 ] && [ "$SIMCLR_RESUME" = --resume ] || exit 7
           sed s/x/x/ <end.st >"$RUN/state.safetensors" ;;
        esac; echo row >>"$RUN/metrics.tsv"; exit 3' 2>counted.err || status=$?
    cat counted.err
    [ $status = 1 ] && [ "$(wc -l <n)" = 3 ] && [ "$(grep -c 'again in 1 s, from the last state (1 of 1)' counted.err)" = 2 ]
}
check "failures are counted from the last state on" counts
children_of() { # FOLDER: prints the processes that have it in their environment
    grep -lz "^RUN=$1\$" /proc/[0-9]*/environ 2>/dev/null || true
}
none_left() { # FOLDER: succeeds if no process is left, including the guard
    for _ in $(seq 300); do
        [ -n "$(children_of "$1")" ] || return 0
        sleep 0.1
    done
    children_of "$1"
    return 1
}
appears() { # FILE: waits until it exists
    for _ in $(seq 600); do
        [ ! -s "$1" ] || return 0
        sleep 0.05
    done
    return 1
}
killed() {
    rm -f began
    RUN=killed supervise --run killed optimizer='sh -c "trap \"\" TERM; echo x >began; while :; do sleep 1; done" & wait' 2>killed.err &
    local pid=$!
    appears began && kill -KILL $pid || return 1
    wait $pid || true
    none_left killed && [ -z "$(ls -A "$TMPDIR")" ]
}
check "when supervise is killed, no process and no folder is left, not even a grandchild that ignores signals" killed
stopped_by() { # SIGNAL STATUS
    local status=0
    rm -rf stopped began
    RUN=stopped supervise --run stopped optimizer='trap "cp middle.st \"$RUN/state.safetensors\"; exit 1" TERM; echo x >began; while :; do sleep 0.1; done' \
        other='while :; do sleep 0.1; done' 2>stopped.err &
    local pid=$!
    appears began && catches_signals $pid && kill -"$1" $pid || return 1
    wait $pid || status=$?
    cat stopped.err
    [ $status = "$2" ] && grep -qx 'supervise: stopped after 2 steps; --resume --run stopped goes on' stopped.err && none_left stopped
}
check "SIGTERM: the optimizer receives it, and the status is 143" stopped_by TERM 143
check "SIGHUP: the status is 129" stopped_by HUP 129
halted() { # the command: SIGSTOP for the process itself, or for a process that it started
    local status=0
    rm -rf halted
    supervised halted --restarts 0 --timeout 1.5 optimizer='sleep 100' "augment=$1" 2>halted.err || status=$?
    cat halted.err
    [ $status = 1 ] && grep -q 'the augment has been stopped for 1.5 s (process [0-9]*, sh)' halted.err && none_left halted
}
check "a process that is stopped ends the run" halted 'kill -STOP $$'
check "a stopped process in a pipeline ends the run" halted 'sh -c "kill -STOP \$\$" | cat'
goes_on_again() {
    supervised short --restarts 0 --timeout 60 optimizer="$comes_to_its_end" augment='(sleep 1; kill -CONT $$) & kill -STOP $$; wait'
}
check "a process that continues after SIGSTOP does not end the run" goes_on_again

# ---- one run in each folder ----
race() {
    local i status won=0
    rm -rf raced
    for i in 1 2 3; do
        RUN=raced supervise --run raced optimizer="sleep 1; echo $i >>raced/who; $comes_to_its_end" >"race$i.out" 2>"race$i.err" &
        eval "pid$i=$!"
    done
    for i in 1 2 3; do
        status=0
        eval "wait \$pid$i" || status=$?
        if [ $status = 0 ]; then won=$((won + 1)); else
            cat "race$i.err"
            [ $status = 1 ] && [ "$(wc -l <"race$i.err")" = 1 ] || return 1
            grep -qE 'another run is at work there|holds a run already' "race$i.err" || return 1
        fi
    done
    [ $won = 1 ] && [ "$(wc -l <raced/who)" = 1 ]
}
check "of three runs started at once one begins, and the others print a line" race
check_fails 1 "a folder that holds a run already" 'well holds a run already; --resume goes on with it' supervised well optimizer=true
mkdir link && ln -s "$T/precious" link/lock
check_fails 1 "a lock that is a link" 'link/lock: a symbolic link' supervised link optimizer=true
check "no file is made outside the folder" test ! -e precious
check_fails 1 "a folder that is a file" 'end.st: not a folder' supervised end.st optimizer=true

# ---- which files of an earlier run are removed, and which are not ----
leaves() {
    mkdir -p left precious-folder "$TMPDIR/simclr.0123456789abcdef" "$TMPDIR/simclr.fedcba9876543210" "$TMPDIR/simclr.mine" &&
        chmod 700 "$TMPDIR"/simclr.* && echo keep | tee precious-folder/file "$TMPDIR/simclr.fedcba9876543210/owner" >"$TMPDIR/simclr.mine/owner" || return 1
    : >"$TMPDIR/simclr.0123456789abcdef/owner"
    echo key >"$TMPDIR/simclr.0123456789abcdef/worker.key"
    echo "1 $(hostname) $T/precious-folder" >left/lock
    touch left/state.safetensors.tmp-aB3dE9 left/model-12.safetensors.tmp-aB3dE9 left/state.safetensors.backup left/notes.tmp-aB3dE9
    supervised left optimizer="$comes_to_its_end" >/dev/null || return 1
    find left "$TMPDIR" precious-folder | sort
    [ ! -e "$TMPDIR/simclr.0123456789abcdef" ] && [ -e "$TMPDIR/simclr.fedcba9876543210/owner" ] &&
        [ -e "$TMPDIR/simclr.mine/owner" ] && [ -e precious-folder/file ] && [ ! -e left/state.safetensors.tmp-aB3dE9 ] &&
        [ ! -e left/model-12.safetensors.tmp-aB3dE9 ] && [ -e left/state.safetensors.backup ] && [ -e left/notes.tmp-aB3dE9 ]
}
check "the files of killed runs are removed, and no others" leaves
rm -rf "${TMPDIR:?}"/*
trusted() { # the lock's file names a folder of another owner
    mkdir -p trusting precious-folder/simclr.0123456789abcdef && echo keep >precious-folder/simclr.0123456789abcdef/file || return 1
    echo "1 $(hostname) $T/precious-folder/simclr.0123456789abcdef" >trusting/lock
    supervised trusting optimizer="$comes_to_its_end" >/dev/null && [ -e precious-folder/simclr.0123456789abcdef/file ]
}
check "another folder that the lock's file names is not removed" trusted
elsewhere() { # TMPDIR, expected folder of the temporary files
    local where
    rm -rf elsewhere
    TMPDIR=$1 supervised elsewhere optimizer="$comes_to_its_end; echo \"\$SIMCLR_SOCKETS\" >where" >/dev/null || return 1
    where=$(cat where)
    [ "${where%/simclr.*}" = "$2" ] && [ ! -e "$where" ]
}
check "TMPDIR is missing" elsewhere "$T/missing" /tmp
mkdir "$T/a b" "$T/a,exec:touch x" 'T$(touch executed)' && long=$T/$(printf 'l%.0s' $(seq 80)) && mkdir "$long"
check "TMPDIR has a blank" elsewhere "$T/a b" "$T/a b"
check "TMPDIR has a comma, which an endpoint cannot contain" elsewhere "$T/a,exec:touch x" /tmp
check "TMPDIR is too long for a socket" elsewhere "$long" /tmp
check "TMPDIR has \$( )" elsewhere "$T/T\$(touch executed)" "$T/T\$(touch executed)"
check "nothing was executed" test ! -e executed

# ---- the state ----
broken() { # WHAT, regex: resumes a run whose state has this defect
    rm -rf broken && mkdir broken && echo '--batch 16' >broken/options && cp model.st broken/model.safetensors
    case $1 in
    cut) head -c -4 <end.st >broken/state.safetensors ;;
    header) head -c 60 <end.st >broken/state.safetensors ;;
    empty) : >broken/state.safetensors ;;
    zeros) head -c 400 /dev/zero >broken/state.safetensors ;;
    model) cp model.st broken/state.safetensors ;;
    *) mkdir broken/state.safetensors ;;
    esac
    check_fails 1 "a state that is $1" "^supervise: broken/state.safetensors: $2" supervised broken --resume optimizer="$comes_to_its_end"
}
broken cut 'has 12 bytes of data where its header says 16'
broken header 'cut short'
broken empty 'empty'
broken zeros 'a header of 0 bytes'
broken model "not an optimizer's state"
broken folder 'not a regular file'
complete() { # the run is complete and its model is deleted
    rm -rf ended && mkdir ended && echo '--batch 16' >ended/options && cp end.st ended/state.safetensors
    supervised ended --resume optimizer='echo ran >ran' 2>ended.err >ended.out && [ ! -e ran ] && cat ended.err &&
        grep -q 'ended is complete: 4 steps' ended.out && grep -q 'model.safetensors was missing or damaged, and is made anew' ended.err &&
        [ "$(inspect ended/model.safetensors | grep -c ' F32 ')" = 1 ] &&
        [ "$(inspect --meta kind ended/model.safetensors)$(inspect --meta step ended/model.safetensors)" = model4 ]
}
check "a complete run is not started again, and its model is made from the state" complete
tells() { # expected output, FOLDER
    [ "$(supervise --run "$2" --tell state)" = "$1" ]
}
check "--tell state: complete" tells '4 4 complete' ended
mkdir fresh
check "--tell state: none" tells none fresh
mv ended/model.safetensors kept
check "--tell state: incomplete without its model" tells '4 4 incomplete' ended
check_fails 1 "no run to resume" 'nowhere/options: no run to resume' supervised nowhere --resume optimizer=true
check "--tell made no folder" test ! -e nowhere

# ---- options ----
value=$(printf 'a\\n b \\ $(touch executed) `touch executed` "q" \047s\047 \303\274,exec:x\n-x\ty')
kept() {
    local line
    rm -rf kept-options
    line=${value//\\/\\\\}
    printf -- '--data %s\n--batch 16\n--hold \n' "${line//$'\n'/\\n}" >given
    supervised kept-options --options - optimizer="$comes_to_its_end" <given >/dev/null || return 1
    printf 'data\0%s\0batch\00016\0hold\0\0' "$value" >want
    supervise --run kept-options --tell options | cmp - want
}
check "options are stored byte for byte" kept
old_form() {
    mkdir -p old && printf 'data="a \\"b\\" \\$c \\`d\\` \\\\e"\nsave_every="5"\n' >old/options || return 1
    printf 'data\0a "b" $c `d` \\e\0save-every\0005\0' >want
    supervise --run old --tell options | cmp - want
}
check "options in the format of earlier versions are read" old_form
bad_options() { # TEXT, regex
    mkdir -p bad && printf %b "$1" >bad/options
    check_fails 1 "options: $2" "$2" supervise --run bad --tell options
}
bad_options '' 'no options of a run'
bad_options 'touch executed\n' 'line 1: not an option'
bad_options '--batch 16\n--batch 17\n' 'line 2: an option that is there twice'
bad_options 'data="$(touch executed)"\n' 'cannot be read'
bad_options '--data a\\x\n' 'cannot be read'
bad_options '--data a\000b\n' 'zero byte'
check "no option is executed" test ! -e executed

differs() { # WHAT, regex, or '' if the run is resumed, line of an option
    rm -rf differs && mkdir differs && cp middle.st differs/state.safetensors
    printf -- '--batch 16\n--steps 4\n--encoder encode --threads 2 --width 1\n--restarts 3\n' >differs/options
    cp differs/options before
    { grep -v -- "${3%% *} " before || true; } >now && echo "$3" >>now
    resume() {
        supervised differs --resume --options - --free restarts --raise steps --commands encoder optimizer="$comes_to_its_end" <now
    }
    if [ -n "$2" ]; then
        local status=0
        resume >differs.out 2>differs.err || status=$?
        check "$1: refused, and the options are unchanged" test "$status$(wc -l <differs.err)$(cmp before differs/options; grep -cE -- "$2" differs.err)" = 111
    else
        check "$1" resume
    fi
}
differs "another batch" 'was started with --batch 16, not 32' '--batch 32'
differs "fewer steps" 'was started with --steps 4, not 3; it may only be raised' '--steps 3'
differs "another encoder" 'was started with --encoder encode' '--encoder encode --threads 2 --width 2'
differs "one that was not there" 'was started without --hold' '--hold 0.1'
differs "other threads" '' '--encoder encode --threads 1 --width 1'
differs "what may change" '' '--restarts 9'
raised() { # a complete run with more steps, also after a failure before the next state
    rm -rf raised && mkdir raised && cp end.st raised/state.safetensors && cp model.st raised/model.safetensors
    printf -- '--steps 4\n' >raised/options
    echo '--steps 8' >now
    supervised raised --resume --restarts 0 --options - --raise steps optimizer='exit 3' <now 2>raised.err && return 1
    cat raised.err
    grep -q 'supervise: --steps is 8 now, after 4' raised.err || return 1
    grep -qx -- '--steps 4' raised/options || return 1 # options of a failed attempt are not stored
    state more.st state 8 8
    supervised raised --resume --options - --raise steps optimizer='[ $SIMCLR_START = 4 ] && cp more.st "$RUN/state.safetensors"' <now &&
        supervised raised --resume --options - --raise steps optimizer='exit 3' <now | grep -q 'complete: 8 steps'
}
check "a complete run is resumed with more steps" raised
killed_longer() { # the new number of steps stays if a signal, and not a failure, ended the run
    rm -rf longer && mkdir longer && cp end.st longer/state.safetensors && cp model.st longer/model.safetensors
    printf -- '--steps 4\n' >longer/options && echo '--steps 8' >now
    supervised longer --resume --options - --raise steps optimizer='kill -TERM $PPID; sleep 60' <now 2>longer.err && return 1
    state more.st state 8 8
    supervised longer --resume --options - optimizer='[ $SIMCLR_START = 4 ] && cp more.st "$RUN/state.safetensors"' <longer/options
}
check "also after a signal before the next state" killed_longer

# ---- usage ----
check_fails 2 "a missing --run" '--run PATH is missing' supervise a=b
check_fails 2 "no process" 'no process is named' supervise --run x
check_fails 2 "a process without a name" "'b' is not NAME=CMD" supervise --run x b
check_fails 2 "two processes with the same name" 'two processes are called a' supervise --run x a=b a=c
done_testing
