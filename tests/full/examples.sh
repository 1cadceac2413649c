#!/usr/bin/env bash
# Runs the examples of the documentation.
#
# In *.md and docs/*.md, bash runs the fenced blocks marked sh, and python3 those marked python, one
# after the other in one scratch folder per page. A block may use files that an earlier block of its
# page made. Blocks marked console or text are not run.
set -eu
. "$(dirname "$0")/../lib.sh"

pages=("$ROOT"/*.md "$ROOT"/docs/*.md)

# `python3` in the examples is the first one that has numpy and PIL.
python=
for candidate in python3 /usr/bin/python3; do
    [ -n "$python" ] || ! "$candidate" -c 'import numpy, PIL' 2>/dev/null || python=$(command -v $candidate)
done
mkdir "$T/path"
[ -z "$python" ] || ln -s "$python" "$T/path/python3"
PATH=$T/path:$PATH

# Writes the page's blocks into a folder, as files LINE.sh and LINE.python.
extract() { # page, folder
    awk -v folder="$2" '
        /^```/ {
            if (out) { close(out); out = ""; next }
            if (open) { open = 0; next }
            language = substr($0, 4)
            if (language == "sh" || language == "python")
                out = sprintf("%s/%04d.%s", folder, NR, language)
            else open = 1
            next
        }
        out { print > out }
        END { exit open || out != "" }' "$1"
}

run_page() { # page
    local name block line
    name=$(basename "$1" .md)
    mkdir "$T/$name" "$T/$name.blocks"
    check "$name: every fence is closed" extract "$1" "$T/$name.blocks"
    # The scratch folder looks like the project's folder, and examples may write into it.
    ln -s "$ROOT/cmd" "$ROOT/docs" "$ROOT/examples" "$ROOT/lib" "$ROOT/pipelines" "$T/$name"
    ln -s "${BIN:-$ROOT/bin}" "$T/$name/bin"
    cd "$T/$name"
    for block in "$T/$name.blocks"/*; do
        [ -e "$block" ] || continue
        line=$(basename "${block%.*}")
        case $block in
        *.sh)
            if [ -z "$python" ] && grep -q python3 "$block"; then
                skip "$name: line $line" "python3-numpy or python3-pil is not installed"
            elif grep -q 'import zmq' "$block" && ! python3 -c 'import zmq' 2>/dev/null; then
                skip "$name: line $line" "python3-zmq is not installed"
            else
                check "$name: line $line" in_time bash -eu -o pipefail "$block"
            fi
            ;;
        *)
            if [ -z "$python" ]; then
                skip "$name: line $line" "python3-numpy or python3-pil is not installed"
            elif grep -q 'import torch' "$block" && ! python3 -c 'import torchvision' 2>/dev/null; then
                skip "$name: line $line" "python3-torchvision is not installed"
            else
                check "$name: line $line" in_time python3 -B "$block"
            fi
            ;;
        esac
    done
    cd "$T"
}

for page in "${pages[@]}"; do
    run_page "$page"
done
if [ -e "$T/frames/frame.st" ]; then
    check "frames.md shows the bytes that the programs write" diff \
        <(od -A d -t x1z -v "$T/frames/frame.st" | grep '  >') <(grep -E '^[0-9]{7} ' "$ROOT/docs/frames.md")
fi
done_testing
