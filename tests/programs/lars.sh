#!/usr/bin/env bash
# Tests of lars: steps, state and model, resuming, several clients, and malformed requests.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "lars" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/optimizer.py" "$ROOT" "$@"
}
lars_() {
    lars --warmup-steps 2 "$@"
}
py run 0 6 6 >all.st
whole() {
    lars_ --state state.st --model model.st --save-every 0 <all.st >replies && py simulate replies
}
check "six steps agree with float64" whole
check "the state and the model contain the right tensors" py states state.st model.st

resumed() {
    # Resumes from the state after step 4.
    py run 0 4 6 | lars_ --state part.st --save-every 2 >first && py step part.st 4 &&
        py run 4 6 6 | lars_ --resume --state part.st --model part_model.st >second &&
        cmp part.st state.st && cmp part_model.st model.st
}
check "a resumed run has the same bits" resumed
interval() {
    # A NaN ends it in step 5, so the state is that of step 4.
    py run 0 6 6 nan | lars_ --state every.st --save-every 4 --model none.st >out 2>err && return 1
    py step every.st 4 && [ ! -e none.st ] && py run 4 6 6 | lars_ --resume --state every.st >out &&
        cmp every.st state.st
}
check "ended by a NaN and resumed from the last state, it has the same bits" interval

kept() {
    # Compares the model of every second step with that of a run that ends there, and the last one
    # with the model.
    lars_ --state kept.st --model dir.d/kept.st --keep-every 2 <all.st >out &&
        cmp dir.d/kept.st model.st && cmp dir.d/kept-6.st model.st &&
        [ "$(cd dir.d && echo *)" = "kept-2.st kept-4.st kept-6.st kept.st" ] &&
        py states kept.st dir.d/kept.st && cmp part_at_4.st dir.d/kept-4.st
}
mkdir dir.d
py run 0 4 6 | lars_ --model part_at_4.st >out
check "models of every second step are kept" kept
kept_and_resumed() {
    # A NaN ends it in step 5, after the state of step 4.
    py run 0 6 6 nan | lars_ --state again.st --model again_model.st --save-every 4 --keep-every 1 >out 2>err && return 1
    cp again_model-4.st before.st && [ ! -e again_model-6.st ] &&
        py run 4 6 6 | lars_ --resume --state again.st --model again_model.st --keep-every 2 >out &&
        cmp again_model-4.st before.st && cmp again_model-4.st dir.d/kept-4.st && cmp again_model-6.st model.st
}
check "a resumed run keeps them, too" kept_and_resumed
check_fails 1 "--keep-every without --model" '--keep-every needs --model' lars_ --state x.st --keep-every 2 --in all.st

bad() { # words of `run`
    py run "$@" >bad.st
    lars_ --model none.st --state none_state.st --in bad.st --out out
}
check_fails 1 "a NaN in a gradient" 'the gradient of fc.weight is not finite in step 2' bad 0 3 6 nan
check_fails 1 "a gradient of an unknown name" 'a gradient of fc.bias, which nobody joined with' bad 0 2 6 unknown
check_fails 1 "a gradient of another shape" 'fc.weight has another shape' bad 0 2 6 shape
check_fails 1 "a gradient twice in a step" 'the gradient of fc.weight came twice in step 1' bad 0 2 6 twice
check_fails 1 "a gradient of a later step" 'client 0 sent step 4, where step 2 is under way' bad 0 3 6 jump=2
check_fails 1 "a gradient of the next step" 'client 0 sent step 3, where step 2 is under way' bad 0 3 6 jump=1
check_fails 1 "a gradient of an earlier step" 'client 0 sent step 1, where step 2 is under way' bad 0 3 6 jump=-1
check_fails 1 "a step far below zero" 'sent step -9223372036854775' bad 0 3 6 jump=-9223372036854775800
check_fails 1 "a number of steps that is not an integer" "metadata steps is 'many', not an integer" bad 0 2 6 words
check_fails 1 "a batch of nothing" 'must be positive' bad 0 2 6 zero
check_fails 1 "a parameter that is not F32" 'conv1.weight is F16, not F32' bad 0 2 6 half
check_fails 1 "a name with a slash" "a/b: a parameter's name has no '/'" bad 0 2 6 slash
py run 0 2 6 noend >noend.st
check_fails 1 "no end frame" 'ended without an end frame' sh -c 'cat noend.st | lars --model none.st >out'
nothing_written() {
    [ ! -e none.st ] && [ ! -e none_state.st ] && [ -z "$(find . -name '*.tmp-*')" ]
}
check "none of the refused requests wrote a file" nothing_written

resume() { # words of `run`, for a state of step 6
    py run "$@" >bad.st
    lars_ --resume --state state.st --in bad.st --out out
}
cp state.st kept.st
check_fails 1 "resuming at another step" 'client 0 sent step 4, where step 6 is under way' resume 4 5 6
check_fails 1 "resuming with a tensor more" 'state.st has no tensor extra.weight' resume 6 7 8 extra
check_fails 1 "resuming with another shape" 'fc.weight has another shape' resume 6 7 8 narrow
check "a refused state is unchanged" cmp state.st kept.st
check_fails 1 "resuming from nothing" 'nothing.st: No such file' \
    lars --resume --state nothing.st --in all.st --out out
check_fails 1 "resuming from a model" 'model.st: not an optimizer' \
    lars --resume --state model.st --in all.st --out out
head -c 3000 state.st >cut.st
check_fails 1 "resuming from half a state" 'cut.st: truncated' \
    lars --resume --state cut.st --in all.st --out out
check_fails 1 "--resume alone" '--resume needs --state' lars --model m.st --resume --in all.st --out out

py run 0 4 6 | lars_ --clip --eta 0.02 --state clip.st >out
clipped() { # FLAG...: resumes the state of a run with --clip
    py run 4 6 6 >rest.st
    lars_ --eta 0.02 "$@" --resume --state clip.st --in rest.st --out out
}
check_fails 1 "resuming without --clip" 'clip.st: made with --clip yes, and now it is not given' clipped
unclipped() {
    py run 6 7 8 >bad.st
    lars_ --clip --resume --state state.st --in bad.st --out out
}
check_fails 1 "resuming with --clip" 'state.st: made with --clip not given, and now it is yes' unclipped
same_clipped() {
    lars_ --clip --eta 0.02 --state clipped.st --save-every 0 <all.st >out && clipped --clip &&
        cmp clip.st clipped.st && ! inspect --meta settings state.st | grep -q clip
}
check "a resumed run with --clip has the same bits; a state without it does not mention it" same_clipped

idle() {
    tail -c 64 all.st | lars_ --state state.st --model model.st >out && cmp state.st kept.st
}
check "a run that no client joins leaves the old files unchanged" idle

stopped() {
    local status=0
    py run 0 3 6 wait=20 noend >fifo &
    local source=$!
    lars --warmup-steps 2 --state stop.st <fifo >replies 2>err &
    local pid=$!
    for _ in $(seq 100); do
        [ "$(inspect replies 2>/dev/null | grep -c '^frame')" = 7 ] && break
        sleep 0.05
    done
    kill $pid && { wait $pid || status=$?; }
    kill $source
    [ $status = 1 ] && grep -q 'stopped by SIGTERM' err && py step stop.st 3 &&
        py run 3 6 6 | lars_ --resume --state stop.st >out && cmp stop.st state.st
}
mkfifo fifo
check "SIGTERM between two steps saves the state" stopped

stopped_alone() { # no client has joined, so there is no step to wait for, which would take 20 s
    local since=$SECONDS status=0
    lars --listen ipc://alone.ipc --model alone.st 2>err &
    catches_signals $! && kill $! && { wait $! || status=$?; }
    [ $status = 1 ] && [ $((SECONDS - since)) -lt 15 ] && grep -q 'stopped by SIGTERM' err && [ ! -e alone.st ]
}
check "SIGTERM before a client has joined ends it at once" stopped_alone

# On a small file system, the old state must stay complete if the new one does not fit.
mkdir disk
if mount -t tmpfs -o size=48k tmpfs disk 2>/dev/null; then
    trap 'umount "$T/disk"; rm -rf "$T"' EXIT
    full() {
        py run 0 2 6 | lars_ --state disk/state.st >out && cp disk/state.st small.st &&
            head -c 20000 /dev/zero >disk/filler 2>/dev/null
        py run 2 4 6 >bad.st
        lars_ --resume --state disk/state.st --in bad.st --out out
    }
    check_fails 1 "a full disk" 'disk/state.st: No space left' full
    whole_still() {
        cmp disk/state.st small.st && [ "$(find disk -type f | wc -l)" = 2 ]
    }
    check "the old state is complete, and there is no other file" whole_still
    umount disk
    trap 'rm -rf "$T"' EXIT
else
    skip "a full disk" "no right to mount a tmpfs"
fi
check_fails 1 "a folder that is not there" 'nowhere/m.st: No such file' \
    lars --model nowhere/m.st --in all.st --out out
check_fails 2 "a rate of zero" '--lr' lars --lr nought
check "--help" lars --help

if python_has zmq; then
    shared() {
        local server one
        lars --warmup-steps 2 --listen "ipc://$T/opt.ipc" --state shared.st --save-every 1 --model shared_model.st &
        server=$!
        py share "ipc://$T/opt.ipc" 0 6 0.02 &
        one=$!
        py share "ipc://$T/opt.ipc" 1 6 0 && wait $one && wait $server && py states shared.st shared_model.st &&
            py same shared_model.st model.st
    }
    check "two clients, one of which is a step ahead" shared
    beside_strangers() { # strangers come after both clients; the run ends as without them
        rm -f joined.*
        local server one other
        lars --warmup-steps 2 --listen "ipc://$T/both.ipc" --model both.st 2>both.err &
        server=$!
        py share "ipc://$T/both.ipc" 0 6 0.1 &
        one=$!
        py share "ipc://$T/both.ipc" 1 6 0 &
        other=$!
        py intrude "ipc://$T/both.ipc" && wait $one && wait $other && wait $server && cat both.err &&
            py same both.st model.st
    }
    check "two clients while strangers connect" beside_strangers
    told() {
        [ "$(wc -l <both.err)" = 2 ] && grep -qE 'refused a peer: clients [0-9] and [0-9] both joined with' both.err &&
            grep -qE 'refused a peer: client [0-9] sent gradients and has not joined' both.err
    }
    check "the strangers are reported" told
    dead() {
        rm -f joined.* # otherwise the first client would not wait for the second
        lars --listen "ipc://$T/dead.ipc" --state dead.st --save-every 1 &
        local server=$!
        (py share "ipc://$T/dead.ipc" 0 6 0.02 >/dev/null 2>&1 &)
        (py share "ipc://$T/dead.ipc" 1 6 die >/dev/null 2>&1 &)
        wait $server
    }
    check_fails 1 "a client that is killed" 'dead.ipc: client [01] went away without an end frame' dead
else
    skip "clients over ZeroMQ" "python3-zmq is not installed"
fi
# A device must stay a device, so no file may be renamed over it. The test uses a FIFO, which does
# not need root.
to_fifo() {
    mkfifo model.fifo
    cat model.fifo >from-fifo.st &
    augment --data shapes --batch 4 --steps 1 |
        encode --width 0.1 --opt "exec:lars --model model.fifo" \
            --next "exec:project --opt 'exec:lars --model model.st' --next exec:ntxent" >metrics.st &&
        wait && [ -p model.fifo ] && [ "$(inspect --meta kind from-fifo.st)" = model ]
}
check "a model written to a FIFO leaves it a FIFO" to_fifo
done_testing
