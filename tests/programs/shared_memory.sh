#!/usr/bin/env bash
# Tests of shared memory on links: it changes no bit, gives way to whole frames, and leaves nothing.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive SIMCLR_EDGES=1

augment --data shapes --batch 32 --steps 2 --threads 1 >views.st
# Trains, with options for the encoder; writes NAME.model, NAME.state, NAME.head and NAME.err.
train() { # NAME, --opt of the encoder, loss, option...
    local name=$1 opt=$2 loss=$3
    shift 3
    encode --width 0.25 --threads 1 "$@" --opt "$opt" \
        --next "exec:project --threads 1 --opt 'exec:lars --model $name.head' --next 'exec:$loss'" \
        <views.st 2>"$name.err" >"$name.st"
}
opt() { # NAME, option...
    local name=$1
    shift
    echo "exec:lars --model $name.model --state $name.state $*"
}
same() { # NAME, NAME
    local part
    for part in model state head; do
        cmp "$1.$part" "$2.$part" || return 1
    done
}
# The bytes that went through shared memory, of an edge that the regex describes.
shared() { # NAME, regex
    grep "^$2" "$1.err" | sed -n 's/.*: shared memory of .*: [a-z]* [0-9]* out \([0-9]*\) in \([0-9]*\)$/\1 \2/p'
}

# ---- bits ----
whole() {
    SIMCLR_SHARED_MEMORY=0 train whole "$(opt whole)" ntxent && ! grep 'shared memory' whole.err
}
check "with SIMCLR_SHARED_MEMORY=0 all goes through pipes" whole
in_memory() {
    train memory "$(opt memory)" ntxent && same memory whole
}
check "a run whose links share memory ends in the same bits" in_memory
both_ways() {
    local out in
    read -r out in <<<"$(shared memory 'encode: shared memory of exec:lars')"
    [ "$out" -gt 4000000 ] && [ "$in" -gt 4000000 ] &&
        [ -n "$(shared memory 'lars: shared memory of stdin')" ] &&
        [ -n "$(shared memory 'encode: shared memory of exec:project')" ]
}
check "its lines say what went through shared memory" both_ways
same_edges() { # the edges' bytes are those of whole frames
    local name
    for name in whole memory; do
        sed -n "s/^\(.*: edge [a-z]*\).*\(: [a-z]* [0-9]*\) .* waited.*/\1\2/p" $name.err | sort >$name.edges
        sed -n "s/^encode: edge exec:project.* out \([0-9]* in [0-9]*\) .*/\1/p" $name.err >>$name.edges
    done
    cmp whole.edges memory.edges && [ "$(wc -l <whole.edges)" -ge 9 ]
}
check "frames and bytes of the edges are those of whole frames" same_edges
for side in client server; do
    off=--no-shared-memory
    one_side() {
        if [ $side = client ]; then
            train $side "$(opt $side)" ntxent $off
        else
            train $side "$(opt $side $off)" ntxent
        fi && same $side whole && ! grep 'shared memory of exec:lars .*state' $side.err
    }
    check "--no-shared-memory on the side of the $side" one_side
done
with_crc() {
    train crc "$(opt crc --crc)" ntxent --crc && same crc whole && [ -n "$(shared crc encode)" ]
}
check "with --crc" with_crc
rounded() {
    SIMCLR_SHARED_MEMORY=0 train round "$(opt round)" ntxent --wire bf16 &&
        train bf16 "$(opt bf16)" ntxent --wire bf16 && same bf16 round && ! cmp -s round.model whole.model &&
        [ -n "$(shared bf16 encode)" ]
}
check "--wire bf16 ends in the same bits" rounded
slow() {
    local v
    for v in 0 1; do
        SIMCLR_SHARED_MEMORY=$v encode --width 0.25 --threads 1 --ema 0.9 --opt "exec:adam --state slow$v.state" \
            --next 'exec:project --layers 0 --ema 0 --next exec:byol' <views.st >/dev/null 2>slow.err || return 1
    done
    cmp slow0.state slow1.state && grep -q '^encode: shared memory of exec:adam' slow.err
}
check "adam and --ema end in the same bits" slow

# ---- programs in the middle ----
recorded() {
    train tee "exec:tee log.st | lars --model tee.model --state tee.state | tee back.st" ntxent &&
        same tee whole && ! grep 'shared memory of exec:tee' tee.err || return 1
    inspect log.st >log.txt 2>log.err && inspect back.st >back.txt 2>back.err
    grep -q 'layer4.1.conv2.weight' log.txt && grep -q 'layer4.1.conv2.weight' back.txt &&
        [ "$(wc -c <log.st)" -gt 4000000 ] && [ "$(wc -c <back.st)" -gt 4000000 ]
}
check "tee in the middle sees whole frames" recorded
check "tee before the server alone, and after it alone" eval '
    train before "exec:tee log.st | lars --model before.model --state before.state" ntxent && same before whole &&
    train after "exec:lars --model after.model --state after.state | tee back.st" ntxent && same after whole &&
    ! grep "shared memory of exec:tee" before.err && ! grep "shared memory of exec:lars.*tee" after.err'
wrapped() {
    printf '#!/bin/sh\nnice env A=b lars "$@"\n' >wrapper && chmod +x wrapper &&
        train wrap "exec:./wrapper --model wrap.model --state wrap.state" ntxent && same wrap whole &&
        [ -n "$(shared wrap 'encode: shared memory of exec:./wrapper')" ]
}
check "a command that ends in the server shares memory" wrapped
elsewhere() { # the variable is inherited by programs whose stdin is another one
    train inner "exec:cat | lars --model inner.model --state inner.state" \
        'sh -c "sleep 0 | cat >/dev/null; exec ntxent"' && same inner whole &&
        ! grep 'shared memory of exec:cat' inner.err
}
check "a program that inherits an offer for another one does not take it" elsewhere
if python_has numpy; then
    in_python() {
        train python "$(opt python)" "/usr/bin/python3 $ROOT/examples/ntxent.py" &&
            ! grep 'shared memory of exec:/usr/bin/python3' python.err &&
            [ -n "$(shared python 'encode: shared memory of exec:lars')" ]
    }
    check "a loss in Python gets whole frames" in_python
else
    skip "a loss in Python" "python3-numpy is not installed"
fi

# ---- what is left ----
segments() { # of a process
    grep -c 'memfd:simclr' "/proc/$1/maps" || true
}
descriptors() {
    find "/proc/$1/fd" -mindepth 1 -printf '%l\n' 2>/dev/null | grep -c memfd || true
}
# Starts a run that reads its views from a fifo. Sets the numbers of its processes.
start() {
    rm -f in.fifo out.fifo lars.pid
    mkfifo in.fifo out.fifo
    encode --width 0.25 --threads 1 --opt 'exec:echo $$ >lars.pid; exec lars --model kill.model 2>lars.err' \
        --next 'exec:project --layers 0 --next exec:ntxent 2>/dev/null' <in.fifo >out.fifo 2>encode.err &
    encode=$!
    exec 8>in.fifo 9<out.fifo
    augment --data shapes --batch 8 --steps 9 --threads 1 >&8 2>/dev/null &
    augment=$!
    step 2 # the answer to the second step: buckets are known, both sets of segments made
    lars=$(cat lars.pid)
}
cat >answers.py <<'END_OF_ANSWERS'
"""Reads N frames without data from descriptor 9."""
import struct
import sys

with open(9, "rb", buffering=0, closefd=False) as f:
    def exactly(n):
        data = b""
        while len(data) < n:
            more = f.read(n - len(data))
            if not more:
                sys.exit("no more answers")
            data += more
        return data
    for _ in range(int(sys.argv[1])):
        exactly(struct.unpack("<Q", exactly(8))[0])
END_OF_ANSWERS
step() {
    in_time python3 answers.py "$1"
}
bounded() {
    start || return 1
    local first second
    first="$(segments $encode) $(segments "$lars")"
    [ "$(segments $encode)" -gt 4 ] && [ "$(descriptors $encode) $(descriptors "$lars")" = "0 0" ] || return 1
    step 6 || return 1
    second="$(segments $encode) $(segments "$lars")"
    echo "segments: $first, $second"
    [ "$first" = "$second" ] && [ "$(descriptors $encode) $(descriptors "$lars")" = "0 0" ]
}
check "the number of segments does not grow from step to step, and no descriptor stays open" bounded
stop() {
    exec 8>&- 9<&-
    wait $augment $encode 2>/dev/null || true
}
stop
killed_server() {
    start || return 1
    kill -9 "$lars"
    cat <&9 >/dev/null
    stop
    cat encode.err
    [ "$(grep -c . encode.err)" = 1 ] && grep -q '^encode: exec:echo .* was killed by SIGKILL$' encode.err
}
unset SIMCLR_EDGES
check "an optimizer that is killed is one line" killed_server
killed_client() {
    start || return 1
    kill -9 $encode
    stop
    in_time tail --pid="$lars" -f /dev/null
    cat lars.err
    [ "$(grep -c . lars.err)" = 1 ] && grep -q '^lars: stdin: \(ended without an end frame: its producer died\|truncated .*\)$' lars.err
}
check "a stage that is killed is one line" killed_client
done_testing
