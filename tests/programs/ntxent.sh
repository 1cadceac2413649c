#!/usr/bin/env bash
# Tests of ntxent: agreement with the stage in Python, metadata that passes through, bad input.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "ntxent" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
py() {
    /usr/bin/python3 "$ROOT/tests/programs/optimizer.py" "$ROOT" "$@"
}
py losses
for t in 0.1 0.5; do
    agrees() {
        ntxent --temperature "$t" <losses.st >c.st &&
            /usr/bin/python3 "$ROOT/examples/ntxent.py" --temperature "$t" <losses.st >python.st &&
            py same_losses c.st python.st
    }
    check "agrees with the stage in Python, temperature $t" agrees
done
threads() {
    ntxent --threads 1 <losses.st >one.st && ntxent --threads 3 <losses.st | cmp - one.st
}
check "the same bytes with one and with three threads" threads
check "an empty stream is answered by an empty stream" sh -c 'tail -c 64 losses.st | ntxent | cmp - one_end.st'

check_fails 1 "a NaN" 'the loss is not finite in step 3' sh -c 'ntxent <nan.st >nan.out'
reported() {
    # The failure must reach the reader, as a stream without an end frame.
    inspect nan.out 2>&1 | grep -q 'ntxent: the loss is not finite in step 3'
}
check "a failure reaches the reader" reported
check_fails 1 "one view" 'tensor z is F32 \[3,1,4\], not F32 \[\?,2,\?\]' sh -c 'ntxent <view.st >out'
check_fails 1 "no z" 'the frame has no tensor z' sh -c 'ntxent <noz.st >out'
check_fails 1 "another type" 'tensor z is U8' sh -c 'ntxent <bytes.st >out'
check_fails 1 "no images" 'nothing to compare' sh -c 'ntxent <empty.st >out'
check_fails 1 "no negatives" 'z is of a single image, which has no negatives' sh -c 'ntxent <single.st >out'
check_fails 1 "an error frame" 'ntxent: stdin: augment: no data' sh -c 'ntxent <error.st >out'
check_fails 1 "no file" 'missing.st: No such file' ntxent --in missing.st --out out
check_fails 1 "a folder that is not there" 'nowhere/out' ntxent --in losses.st --out nowhere/out
check_fails 2 "a temperature of zero" '--temperature: 0 is not between' ntxent --temperature 0
check_fails 2 "no number" "'warm' is not a number" ntxent --temperature warm
check_fails 2 "an unknown option" "unknown option '--temprature'" ntxent --temprature 1
check_fails 2 "a word too many" "unexpected word 'z.st'" ntxent z.st
check "--help" ntxent --help
done_testing
