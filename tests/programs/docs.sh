#!/usr/bin/env bash
# Checks that links in the documentation have a target, and that --help is complete.
# tests/full/examples.sh runs the documentation's examples.
set -eu
. "$(dirname "$0")/../lib.sh"

pages=("$ROOT"/*.md "$ROOT"/docs/*.md)

# Prints the targets of links without a scheme.
links_of() { # page
    awk '/^```/ { code = !code } !code' "$1" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' |
        grep -vE '^[a-z]+:' || true
}
headings_of() { # page: as links name them
    awk '/^```/ { code = !code } !code && /^#/' "$1" | sed 's/^#* *//' | tr '[:upper:]' '[:lower:]' |
        sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}
links_have_targets() { # page
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

# Checks that each option with a value shows its default. Exceptions are options that name a thing
# which is absent without them (a file, a link, ...), and those whose text says what happens without them.
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

# share.sh checks the page that is made of it.
has_text() { # program
    [ -f "$ROOT/cmd/$1/$1.mdoc" ] || [ -f "$ROOT/packaging/share/$1.mdoc" ]
}

prints_version() { # program
    [ "$("$1" --version)" = "$1 $version" ]
}

# The options of links are the same for all programs; docs/links.md explains them.
link_options_are_documented() {
    local option bad=0
    while read -r option; do
        grep -q -- "\`$option" "$ROOT/docs/links.md" || {
            echo "docs/links.md lacks $option"
            bad=1
        }
    done < <(inspect --help | sed -n '/^links/,$s/^  \(--[a-z-]*\).*/\1/p' | grep -vxE -- '--(help|version)')
    return $bad
}

targets_exist() { # each `make TARGET` that the pages mention
    local target bad=0
    while read -r target; do
        grep -qE "^([a-z]+ )*$target( [a-z]+)*:" "$ROOT/Makefile" || {
            echo "make $target: no such target"
            bad=1
        }
    done < <(grep -ohE '(`|\$ )make [a-z][a-z_.-]*' "${pages[@]}" | awk '{ print $NF }' | sort -u)
    return $bad
}

version=$(sed -n 's/^VERSION = //p' "$ROOT/Makefile")
changelog_has_version() {
    [ -n "$version" ] && grep -qE "^## \[?$version\]?( |$)" "$ROOT/CHANGELOG.md"
}

for page in "${pages[@]}"; do
    check "$(basename "$page"): links have targets" links_have_targets "$page"
done
check "the Makefile has the targets that the pages name" targets_exist
check "CHANGELOG.md has the Makefile's version" changelog_has_version
for folder in "$ROOT"/cmd/*/; do
    program=$(basename "$folder")
    check "$program --help is complete" help_is_complete "$program"
    check "$program --help names every default" defaults_are_named "$program"
    check "$program --version" prints_version "$program"
    check "$program has a text for its manual page" has_text "$program"
done
check "docs/links.md has the options of links" link_options_are_documented
for pipeline in "$ROOT"/pipelines/*; do
    [ ! -f "$pipeline" ] || [ ! -x "$pipeline" ] || check "pipelines/$(basename "$pipeline") --help" "$pipeline" --help
done
done_testing
