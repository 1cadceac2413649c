#!/usr/bin/env bash
# The documentation: its examples run, its links lead somewhere, and --help says everything.
#
# In README.md and docs/*.md, fenced blocks marked sh are run by bash, those marked python by
# python3, one after the other in one scratch folder per page; a block may use what an earlier one
# on its page made. Blocks marked console or text are not run.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

pages=("$ROOT/README.md" "$ROOT"/docs/*.md)

# `python3` in the examples is whichever one has numpy and PIL.
python=
for candidate in python3 /usr/bin/python3; do
    [ -n "$python" ] || ! "$candidate" -c 'import numpy, PIL' 2>/dev/null || python=$(command -v $candidate)
done
mkdir "$T/path"
[ -z "$python" ] || ln -s "$python" "$T/path/python3"
PATH=$T/path:$PATH

# Writes the page's blocks as files LINE.sh and LINE.python into a folder.
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
    # The project's folder as a reader sees it, with room to write in.
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
                check "$name: line $line" timeout 60 bash -eu -o pipefail "$block"
            fi
            ;;
        *.python)
            if [ -z "$python" ]; then
                skip "$name: line $line" "python3-numpy or python3-pil is not installed"
            elif grep -q 'import torch' "$block" && ! python3 -c 'import torchvision' 2>/dev/null; then
                skip "$name: line $line" "python3-torchvision is not installed"
            else
                check "$name: line $line" timeout 60 python3 -B "$block"
            fi
            ;;
        esac
    done
    cd "$T"
}

# Targets of links without a scheme: the file is there, and so is the heading.
links_of() { # page
    awk '/^```/ { code = !code } !code' "$1" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' |
        grep -vE '^[a-z]+:' || true
}
headings_of() { # page: as they stand in links
    awk '/^```/ { code = !code } !code && /^#/' "$1" | sed 's/^#* *//' | tr '[:upper:]' '[:lower:]' |
        sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}
links_lead_somewhere() { # page
    local link file bad=0
    while read -r link; do
        file=$(dirname "$1")/${link%%#*}
        [ -n "${link%%#*}" ] || file=$1
        if [ ! -e "$file" ]; then
            echo "$link: no such file"
            bad=1
        elif [[ $link == *#* ]] && ! headings_of "$file" | grep -qxF -- "${link#*#}"; then
            echo "$link: no such heading"
            bad=1
        fi
    done < <(links_of "$1")
    return $bad
}

# The options of a program, as --help lists them: "--name VALUE", a tab, the text.
options_of() { # program
    "$1" --help | sed -n '/^options/,$p' | awk '
        function flush() { if (flag) print flag "\t" text; flag = "" }
        /^  --/ {
            flush()
            sub(/^  /, "")
            if (match($0, /  +/)) {
                flag = substr($0, 1, RSTART - 1)
                text = substr($0, RSTART + RLENGTH)
            } else { flag = $0; text = "" }
            next
        }
        /^            / { sub(/^ +/, ""); text = text $0; next }
        { flush() }
        END { flush() }'
}

# An option with a value shows its default, unless without it something is not there at all (a
# file, a link, ...) or its text says what then holds.
defaults_are_named() { # program
    options_of "$1" | awk -F '\t' '
        BEGIN {
            split("FILE FILE.tsv LINK ADDRESS STREAM PATH LIST KEY R/N I/K", names, " ")
            for (i in names) absent[names[i]] = 1
        }
        {
            n++
            split($1, word, " ")
            if ($2 == "") { print $1 ": no text"; bad = 1 }
            if (word[2] && !absent[word[2]] && $2 !~ /\[[^]]+\]$|without:|instead of|\(.* up to .*\)/) {
                print $1 ": no default in: " $2
                bad = 1
            }
        }
        END { exit bad || !n }'
}

help_is_complete() { # program
    local help
    help=$("$1" --help) || return 1
    head -n 1 <<<"$help" | grep -q "^$1: ." && grep -q "^usage: $1 " <<<"$help" &&
        grep -q "^options \[defaults in brackets\]" <<<"$help" &&
        grep -qE "^(Example: |  )?([a-z]+ .*\| )?$1 .*--|^Example: " <<<"$help"
}

# The options of links are the same for all programs and stand in docs/links.md.
link_options_are_told() {
    local option bad=0
    while read -r option; do
        grep -q -- "\`$option" "$ROOT/docs/links.md" || {
            echo "docs/links.md lacks $option"
            bad=1
        }
    done < <(inspect --help | sed -n '/^links/,$s/^  \(--[a-z-]*\).*/\1/p' | grep -v '^--help$')
    return $bad
}

man_page_is_complete() { # program
    local option bad=0 text
    text=$(sed 's/Fl -/--/g; s/\\//g' "$ROOT/cmd/$1/$1.1")
    while read -r option; do
        grep -qE -- "$option([^a-z-]|\$)" <<<"$text" || {
            echo "$1.1 lacks $option"
            bad=1
        }
    done < <("$1" --help | sed -n '/^options/,/^links$/s/^  \(--[a-z-]*\).*/\1/p')
    return $bad
}

targets_exist() { # every `make TARGET` that the pages mention
    local target bad=0
    while read -r target; do
        grep -qE "^([a-z]+ )*$target( [a-z]+)*:" "$ROOT/Makefile" || {
            echo "make $target: no such target"
            bad=1
        }
    done < <(grep -ohE '(`|\$ )make [a-z]+' "${pages[@]}" | awk '{ print $NF }' | sort -u)
    return $bad
}

for page in "${pages[@]}"; do
    check "$(basename "$page"): links lead somewhere" links_lead_somewhere "$page"
done
check "the Makefile has the targets that the pages name" targets_exist
for folder in "$ROOT"/cmd/*/; do
    program=$(basename "$folder")
    check "$program --help is complete" help_is_complete "$program"
    check "$program --help names every default" defaults_are_named "$program"
    [ ! -f "$folder/$program.1" ] || check "$program.1 has every option" man_page_is_complete "$program"
done
check "docs/links.md has the options of links" link_options_are_told
for pipeline in "$ROOT"/pipelines/*; do
    [ ! -x "$pipeline" ] || check "pipelines/$(basename "$pipeline") --help" "$pipeline" --help
done
for page in "${pages[@]}"; do
    run_page "$page"
done
if [ -e "$T/frames/frame.st" ]; then
    check "frames.md shows the bytes that the programs write" diff \
        <(od -A d -t x1z -v "$T/frames/frame.st" | grep '  >') <(grep -E '^[0-9]{7} ' "$ROOT/docs/frames.md")
fi
done_testing
