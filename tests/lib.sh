# shellcheck shell=bash
# The shell tests source this file. It puts the built programs on PATH and changes to a scratch
# folder, $T, which is removed at the end. $ROOT is the project's folder. Scripts run at the same time
# and share nothing: files and sockets go into $T, and tcp ports belong to the address $LOOPBACK.
#
#   check "what" COMMAND...                passes if the command succeeds
#   check_fails STATUS "what" 'regex' COMMAND...
#                                          passes if the command exits with STATUS and writes exactly
#                                          one line to stderr, which matches
#   skip "what" "why"                      counts a test that cannot run here
#   fixture NAME                           copies the output of tests/fixtures/NAME into $T; it is
#                                          made once and kept until its sources change
#   python_has MODULE...                   succeeds if Debian's Python has these modules
#   drop_class_names [FILE]                prints a stream without class_names
#   in_time COMMAND...                     fails with status 124 if the command hangs
#   catches_signals PID                    waits until the process handles SIGTERM
#   all_end PID...                         waits for all; succeeds if each exits with 0
#   done_testing                           prints the counts; must be the script's last line

export LC_ALL=C # figures have a decimal point, whatever the user's language
unset -v CDPATH POSIXLY_CORRECT
set +o noclobber
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=${BIN:-$ROOT/bin}:$PATH
T=$(mktemp -d "${TMPDIR:-/tmp}/simclr-test.XXXXXX")
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 1
# Each script has an address of its own: all of 127.0.0.0/8 is this machine, so scripts that run at the
# same time can listen on the same ports.
# shellcheck disable=SC2034 # the scripts use it
LOOPBACK=127.$((1 + $$ / 65536 % 254)).$(($$ / 256 % 256)).$(($$ % 256))
# Python's matrices are small here: more threads would only take time from the tested programs.
export OPENBLAS_NUM_THREADS=1
passed=0 failed=0 skipped=0

drop_class_names() {
    python3 "$ROOT/tests/drop_class_names.py" <"${1:-/dev/stdin}"
}

report() { # 0|1, what
    [ -z "${LAPS:-}" ] || echo "# $(awk -v a="${lap:-$EPOCHREALTIME}" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s"
    lap=$EPOCHREALTIME
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
    local want=$1 what=$2 regex=$3 status=0 said
    shift 3
    "$@" >"$T/.out" 2>"$T/.err" </dev/null || status=$?
    mapfile said <"$T/.err"
    if [ "$status" = "$want" ] && [ ${#said[@]} = 1 ] && [[ ${said[0]} == *$'\n' && ${said[0]%$'\n'} =~ $regex ]]; then
        report 0 "$what"
    else
        report 1 "$what"
        echo "# exit status $status, wanted $want; stderr, wanted one line like $regex:"
        sed 's/^/# /' "$T/.err" | head -n 10
    fi
}

# The key of a fixture is the hash of its script and of the files in the script's line "# Made of:",
# where bin/ is the folder of the programs. The script runs in an empty folder. If two tests need the
# same fixture, the second waits for the first.
fixture() {
    local maker=$ROOT/tests/fixtures/$1 kept=${FIXTURES:-$ROOT/build/fixtures} file key folder sources files=()
    read -ra sources <<<"$(sed -n 's/^# Made of: //p' "$maker")"
    for file in "${sources[@]}"; do
        case $file in
        bin/*) files+=("${BIN:-$ROOT/bin}/${file#bin/}") ;;
        *) files+=("$ROOT/$file") ;;
        esac
    done
    key=$(cat "$maker" "${files[@]}" | sha256sum | cut -c 1-16)
    folder=$kept/$1-$key
    mkdir -p "$kept"
    (
        flock 9
        if [ ! -d "$folder" ]; then
            rm -rf "$folder.new" && mkdir "$folder.new" && cd "$folder.new" || exit 1
            ROOT=$ROOT "$maker" && mv "$folder.new" "$folder"
        fi
    ) 9>>"$kept/$1.lock" && cp -r "$folder/." "$T"
}

python_has() { # looks for the modules, since importing them takes seconds
    /usr/bin/python3 -c 'import sys, importlib.util as u
sys.exit(not all(map(u.find_spec, sys.argv[1:])))' "$@"
}

in_time() { # its limit is far longer than any machine needs
    timeout -k 5 "${HANG:-120}" "$@"
}

catches_signals() {
    local mask
    for _ in $(seq 1200); do
        mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)
        [ $((0x${mask:-0} & 0x4000)) = 0 ] || return 0
        sleep 0.05
    done
    return 1
}

all_end() { # PID...
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
