#!/usr/bin/env bash
# Checks the tables of options (--option-table), and what is made from them: manual pages and completion.
set -eu
. "$(dirname "$0")/../lib.sh"

programs=() pipelines=()
for folder in "$ROOT"/cmd/*/; do
    programs+=("$(basename "$folder")")
done
for file in "$ROOT"/pipelines/*; do
    [ ! -f "$file" ] || [ ! -x "$file" ] || [[ $file == *.* || $file == */evaluate ]] || pipelines+=("$file")
done

# ---- tables ----

check "the programs' --option-table agrees with --help" python3 "$ROOT/tests/programs/option_tables.py" "${programs[@]}"
check "the pipelines' --option-table agrees with --help" python3 "$ROOT/tests/programs/option_tables.py" "${pipelines[@]}"

# Gives a pipeline all options that its table has, and then an unknown one, which it has to name.
knows_its_options() { # PIPELINE
    local words=() name kind
    while IFS=$'\t' read -r name kind _; do
        case $kind:$name in
        *:resume | *:recipe | *:version | *:help) ;; # they act before the others are read
        switch:*) words+=("--$name") ;;
        *) words+=("--$name" x) ;;
        esac
    done < <("$1" --option-table | grep -v '^	')
    [ ${#words[@]} -gt 10 ] && ! "$1" "${words[@]}" --zz >said 2>&1 </dev/null && grep -q "unknown option '--zz'" said
}
for pipeline in "${pipelines[@]}"; do
    check "$(basename "$pipeline") accepts the options of its table" knows_its_options "$pipeline"
done
pipelines_have_a_version() {
    local pipeline version
    version=$(supervise --version)
    for pipeline in "${pipelines[@]}"; do
        [ "$("$pipeline" --version)" = "${pipeline##*/} ${version#* }" ] || return 1
    done
}
check "pipelines print their version" pipelines_have_a_version
check "-h is --help" cmp <("$ROOT/pipelines/train" -h) <("$ROOT/pipelines/train" --help)

check_fails 2 "a pipeline takes no abbreviation" "^train: unknown option '--epoch'" "$ROOT/pipelines/train" --epoch 3
check_fails 2 "a pipeline says how options are written" 'a blank separates' "$ROOT/pipelines/train" --epochs=3
check_fails 2 "a word too many" "unexpected word 'images'" "$ROOT/pipelines/train" images
if command -v simclr >/dev/null; then
    check_fails 2 "a pipeline suggests the nearest option" "'--lose': did you mean --loss\? \(train --help" \
        "$ROOT/pipelines/train" --lose x
    check_fails 2 "a pipeline suggests the nearest choice" "did you mean train\?" \
        "$ROOT/pipelines/embed" --model m --data d --out o --split trian
    check_fails 2 "ablate suggests the nearest study" "did you mean loss\?" "$ROOT/pipelines/ablate" lose
else
    skip "a pipeline suggests the nearest option" "there is no simclr"
fi

check_fails 2 "a program suggests the nearest option" "^encode: unknown option '--wdith': did you mean --width\? \(encode --help lists the options\)$" \
    encode --wdith 2
check_fails 2 "a program suggests the nearest choice" "did you mean resnet18\?" encode --arch resnet81
check_fails 2 "a program takes no abbreviation" "did you mean --temperature\?" ntxent --temp 1

# ---- manual pages ----

share="$T/the share"
check "the pages and completions are made" "$ROOT/packaging/share/make-share" "$share"
man=$share/man

page_has_options() { # PAGE COMMAND
    diff <("$2" --option-table | cut -f 1 | grep .) <(sed -nE 's/^\.It Fl -([a-z0-9-]+)( .*)?$/\1/p' "$man/man1/$1.1")
}
for command in "${programs[@]}" "${pipelines[@]}"; do
    page=simclr-$(basename "$command")
    [ "$command" != simclr ] || page=simclr
    check "$page.1 has every option" page_has_options "$page" "$command"
done
pages_have_sections() {
    awk '/^\.Sh/ { has[FILENAME, substr($0, 5)] = 1 } FNR == 1 { pages[FILENAME] }
        END {
            n = split("NAME|SYNOPSIS|DESCRIPTION|OPTIONS|EXIT STATUS|EXAMPLES|SEE ALSO", sections, "|")
            for (page in pages)
                for (i = 1; i <= n; i++)
                    if (!((page, sections[i]) in has)) {
                        print page " has no " sections[i]
                        bad = 1
                    }
            exit bad
        }' "$man"/man1/*
}
check "every page has every section" pages_have_sections

every_reference_has_a_page() {
    local name section bad=0
    while read -r name section; do
        [ -f "$man/man$section/$name.$section" ] || { echo "no page $name($section)" && bad=1; }
    done < <(sed -nE 's/^\.(It )?Xr (simclr[a-z0-9-]*) ([0-9]).*/\2 \3/p' "$man"/man?/* | sort -u)
    return $bad
}
check "every page that is referred to is there" every_reference_has_a_page

# The rows of the page's tables, and its literal bytes.
frames_page_is_complete() {
    local key bad=0
    awk '/^```/ { code = !code; next } /^### Fuzzing/ { exit } code' "$ROOT/docs/frames.md" |
        sed 's/\\/\\e/g' >code.md
    awk '/^\.Ed/ { code = 0 } code; /^\.Bd/ { code = 1 }' "$man/man5/simclr-frames.5" >code.page
    head -n "$(wc -l <code.md)" code.page | cmp code.md - || bad=1
    for key in step steps_per_epoch class_names frozen crc32 end error; do
        grep -q "^\.It.*fB$key.fR" "$man/man5/simclr-frames.5" || { echo "no $key" && bad=1; }
    done
    return $bad
}
check "simclr-frames.5 has the tables and bytes of docs/frames.md" frames_page_is_complete

# Makes the page of encode with other notes.
other_page() { # TEXT
    encode --option-table >table
    encode --help >help
    printf '%s\n' "$1" >text
    awk -v name=encode -v pipeline=0 -v version=0 -v date=today -f "$ROOT/packaging/share/page.awk" table help \
        "$ROOT/packaging/share/shared.mdoc" text
}
check_fails 1 "a note on an option that is gone" 'text: there is no option --depth' \
    other_page $'.Sh OPTIONS\n.It Fl -depth\nMore layers.'
check_fails 1 "a text in an unknown section" 'the section HISTORY has no place' other_page $'.Sh HISTORY\nLong.'

if command -v mandoc >/dev/null; then
    silent() { [ -z "$("$@" 2>&1)" ]; }
    check "mandoc has nothing to say about the pages" silent mandoc -Tlint -Wwarning "$man"/man?/*
    rendered() { # PAGE TEXT
        mandoc -Tascii "$man/man1/$1.1" | sed 's/.\x08//g' | tr -s ' \n' ' ' | grep -qF -- "$2"
    }
    check "a page names choices and default" rendered simclr-encode '--wire fp32 | bf16 Type in which gradients and new weights are sent [fp32]. With bf16 half as many'
    check "a page has the shared options below their heading" rendered simclr-lars 'Learning rate --lr X Peak rate'
    check "a page has required options without brackets" rendered simclr-evaluate 'simclr evaluate --test STREAM [--train STREAM]'
    check "a pipeline's page has its commands" rendered simclr-train "simclr train --loss 'ntxent --temperature 0.1'"
else
    skip "mandoc has nothing to say about the pages" "mandoc is not installed"
fi

# ---- completion ----

mkdir folder && touch 'folder/a file.st' folder/other.st && mkdir folder/runs
# Compares what lines become by TAB. Words of expected lines are without the blank that follows a whole one.
completes() { # SHELL SETUP [LINE RESULT]...
    local lines=() want=() shell=$1 setup=$2
    shift 2
    while [ $# -gt 0 ]; do
        lines+=("$1") want+=("$2")
        shift 2
    done
    (cd folder && python3 "$ROOT/tests/programs/completion.py" "$shell" "$setup" "${lines[@]}") >got || return 1
    diff <(printf '%s\n' "${want[@]}") <(sed 's/[ =]*$//' got)
}
cases=(
    'simclr enc' 'simclr encode'
    'simclr di' 'simclr distributed'
    'simclr help fra' 'simclr help frames'
    'simclr encode --wid' 'simclr encode --width'
    'simclr encode --arch resnet1d3' 'simclr encode --arch resnet1d34'
    'simclr encode --arch=resnet1d3' 'simclr encode --arch=resnet1d34'
    'simclr encode --width 2 --stem cif' 'simclr encode --width 2 --stem cifar'
    'simclr encode --init a' 'simclr encode --init a\ file.st'
    'simclr inspect oth' 'simclr inspect other.st'
    'simclr train --resume --los' 'simclr train --resume --loss'
    'simclr train --run ' 'simclr train --run runs/'
    'simclr train --encoder enc' 'simclr train --encoder encode'
    'simclr judge --follow --test-l' 'simclr judge --follow --test-limit'
    'simclr ablate head temp' 'simclr ablate head temperature'
    'simclr encode --width ' 'simclr encode --width'
)
completion=$share/bash-completion/completions/simclr
check "bash completes, short names if asked" completes bash ". $(printf %q "$completion") && _simclr_short_names" \
    "${cases[@]}" 'encode --wid' 'encode --width' 'ntxent --temp' 'ntxent --temperature'
only_simclr() {
    # shellcheck disable=SC2016
    bash --norc -e -c '. "$1" && complete -p simclr && ! complete -p encode' bash "$completion"
    grep -qx '#compdef simclr' "$share/zsh/site-functions/_simclr"
}
check "the completions are for simclr alone" only_simclr
if command -v zsh >/dev/null; then
    setup="fpath=($(printf %q "$share/zsh/site-functions") \$fpath); autoload -Uz compinit; compinit -u -D"
    check "zsh completes, short names if asked" completes zsh "$setup; compdef _simclr encode ntxent" \
        "${cases[@]}" 'encode --wid' 'encode --width' 'ntxent --temp' 'ntxent --temperature'
else
    skip "zsh completes" "zsh is not installed"
fi
if command -v shellcheck >/dev/null; then
    check "shellcheck has nothing to say about the completion for bash" shellcheck "$completion"
fi
done_testing
