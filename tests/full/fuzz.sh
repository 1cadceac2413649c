#!/usr/bin/env bash
# Runs each fuzzer on its corpus and then for three seconds. `make fuzz` runs them longer.
set -eu
. "$(dirname "$0")/../lib.sh"

libfuzzer_is_there() {
    echo 'int LLVMFuzzerTestOneInput(const char *b, long n) { return !b && n; }' >probe.c
    clang -fsanitize=fuzzer,address,undefined probe.c -o probe
}
build() {
    env -u MAKEFLAGS -u MAKELEVEL -u BUILD make --no-print-directory -s -C "$ROOT" -j2 FUZZ=1 fuzzers
}

if [[ ${BIN:-} == */san/bin ]]; then
    skip "the fuzzers" "they have sanitizers of their own"
elif ! libfuzzer_is_there >/dev/null 2>&1; then
    skip "the fuzzers" "clang and libclang-rt-dev are not installed"
else
    check "the fuzzers are built" build
    export BUILD=$ROOT/build/fuzz FUZZ_CORPUS=$T FUZZ_SECONDS=3
    for source in "$ROOT"/tests/fuzz/fuzz_*.c; do
        name=$(basename "${source#*/fuzz_}" .c)
        check "$name" "$ROOT/tests/fuzz/run" "$name"
    done
fi
done_testing
