#!/usr/bin/env bash
# Compares the decoding of WebP, TIFF, BMP and PNM files with PIL and numpy.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has PIL numpy; then
    skip "image files" "python3-pil or python3-numpy is not installed"
    done_testing
    exit
fi
images() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/image_files.py" "$ROOT" "$(command -v augment)" "$1"
}
check "WebP, TIFF, BMP and PNM have PIL's pixels" images rgb
check "--pixels raw gives the files' own channels and 16 bits" images raw
check "a file that is cut off is refused" images damaged
if [[ ${BIN:-} == */san/bin || ${BIN:-} == */tsan/bin ]]; then
    skip "sizes that a file only claims take no memory" "sanitizers need more address space than the limit"
else
    check "sizes that a file only claims take no memory" images hostile
fi
done_testing
