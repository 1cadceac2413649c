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

# The words in a form that a shell reads back as they are.
quote() {
    printf '%q ' "$@" | sed 's/ $//'
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
