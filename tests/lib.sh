# shellcheck shell=bash
# Sourced by the shell tests. The built programs are on PATH, the current directory is a scratch
# one ($T) that goes away at the end, $ROOT is the project's.
#
#   check "what" COMMAND...                passes when the command succeeds
#   check_fails STATUS "what" 'regex' COMMAND...
#                                          passes when it exits with STATUS and writes exactly one
#                                          line to stderr, which matches
#   skip "what" "why"
#   all_end PID...                       waits for all; succeeds when each ended with 0
#   done_testing                           prints the counts; the script's last line

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=${BIN:-$ROOT/bin}:$PATH
T=$(mktemp -d "${TMPDIR:-/tmp}/simclr-test.XXXXXX")
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 1
passed=0 failed=0 skipped=0

report() { # 0|1, what
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "not ok - $2"
    fi
}

check() {
    local what=$1 status=0
    shift
    "$@" >"$T/.out" 2>"$T/.err" </dev/null || status=1
    report $status "$what"
    [ $status = 0 ] || sed 's/^/# /' "$T/.out" "$T/.err" | head -n 20
}

check_fails() {
    local want=$1 what=$2 regex=$3 status=0
    shift 3
    "$@" >"$T/.out" 2>"$T/.err" </dev/null || status=$?
    if [ "$status" = "$want" ] && [ "$(wc -l <"$T/.err")" = 1 ] && grep -qE -- "$regex" "$T/.err"; then
        report 0 "$what"
    else
        report 1 "$what"
        echo "# exit status $status, wanted $want; stderr, wanted one line like $regex:"
        sed 's/^/# /' "$T/.err" | head -n 10
    fi
}

all_end() { # PID...: whether all end with 0
    local pid status=0
    for pid in "$@"; do
        wait "$pid" || status=1
    done
    return $status
}

skip() {
    skipped=$((skipped + 1))
    echo "ok - $1 # skipped: $2"
}

done_testing() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
