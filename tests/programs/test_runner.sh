#!/usr/bin/env bash
# Tests of tests/run: what it counts, in which order it runs files, and that every failure is counted.
set -eu
. "$(dirname "$0")/../lib.sh"

mkdir -p tests/programs tests/full unit
cp "$ROOT/tests/run" tests/
script() { # PATH, LINE...
    local path=$1
    shift
    printf '%s\n' "$@" >"tests/$path"
}
script programs/fine.sh 'echo "ok - one"' 'echo "ok - two # skipped: why"' 'sleep 1; touch fine.done'
script programs/alone.sh '# Runs alone: it looks for what the others leave' '[ -e fine.done ] && echo "ok - last"'
script full/long.sh 'echo "ok - long"'
run() { # WORDS of tests/run: returns its status; its output is in the file out
    local status=0
    UNIT=$T/unit BIN=$T JOBS=2 bash tests/run "$@" >out 2>err || status=$?
    cat out err
    return $status
}
closes() { # LAST LINE, WORDS
    run "${@:2}" && [ "$(tail -n 1 out)" = "$1" ]
}
check "the quick tier, with the script that runs alone at the end" closes '2 passed, 0 failed, 1 skipped'
check "--all runs both tiers" closes '3 passed, 0 failed, 1 skipped' --all
check "the slowest script is in the last row" sh -c 'tail -n 2 out | head -n 1 | grep -q fine'
check "a script of the other tier, by its name" closes '1 passed, 0 failed, 0 skipped' long
check_fails 2 "a word that matches no test" '^no test matches: nonesuch$' bash tests/run nonesuch
check_fails 2 "a word that matches no test, after one that does" '^no test matches: nonesuch$' bash tests/run long nonesuch

fails() { # EXPECTED MESSAGE, LINES of the script
    script programs/bad.sh "${@:2}"
    ! run bad && tail -n 1 out | grep -q ', 1 failed, 0 skipped$' && grep -q "$1" out
}
check "a check that fails" fails 'not ok - it' 'echo "ok - that"' 'echo "not ok - it"' 'exit 1'
check "a script that stops early" fails 'ended with status 3' 'echo "ok - that"' 'exit 3'
check "a script that is killed" fails 'ended with status' 'echo "ok - that"' 'kill -KILL $$'
check "a script without checks" fails 'ended with status 0' 'exit 0'
hangs() {
    TEST_TIMEOUT=1 fails 'did not end within 1 s' 'echo "ok - that"' 'sleep 1000'
}
check "a script that hangs" hangs
done_testing
