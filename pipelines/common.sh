# shellcheck shell=bash
# Sourced by the pipelines: where the programs are, and how options are read.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Programs that were built here come before those that are installed.
[ -d "${BIN:-$ROOT/bin}" ] && PATH=${BIN:-$ROOT/bin}:$PATH

# shellcheck disable=SC2034 # for the scripts
pipeline=$(basename "$0")

usage_error() {
    echo "$pipeline: $* ($pipeline --help lists the options)" >&2
    exit 2
}

die() {
    echo "$pipeline: $*" >&2
    exit 1
}

# The words in a form that a shell reads back as they are, and a person as well.
quote() {
    local word space=
    for word; do
        case $word in
        '' | *[!A-Za-z0-9_./:=,%+@-]*) word=${word@Q} ;;
        esac
        printf '%s%s' "$space" "$word"
        space=' '
    done
}

# An option that a run was started with.
recorded() { # folder of the run, option
    # shellcheck source=/dev/null
    (. "$1/options" 2>/dev/null && echo "${!2}") || die "$1/options: not a training run; give --$2"
}

# A figure of a JSON file; nan if it has none of that name. And the same in per cent.
number() { # file, key
    local value
    value=$(sed -n 's/.*"'"$2"'": *\([0-9.eE+-]*\).*/\1/p' "$1")
    echo "${value:-nan}"
}
percent() { # file, key
    number "$1" "$2" | awk '{ printf "%.1f\n", 100 * $1 }'
}

# Sets the variable that an option names, if it stands in the list of known ones: --save-every 5
# sets save_every.
#   set_option "data batch save_every" "$@"
set_option() {
    local known=$1 name=${2#--}
    name=${name//-/_}
    case " $known " in
    *" $name "*) ;;
    *) usage_error "unknown option '$2'" ;;
    esac
    [ $# -ge 3 ] || usage_error "$2 needs a value"
    printf -v "$name" '%s' "$3"
}

# Of the run in $run: step or steps, as its state says; and whether it has come to its end.
# shellcheck disable=SC2154 # $run
saved() {
    inspect --meta "$1" "$run/state.safetensors"
}
is_complete() {
    [ -f "$run/state.safetensors" ] && [ -f "$run/model.safetensors" ] &&
        [ "$(saved step)" = "$(saved steps)" ]
}
