# shellcheck shell=bash
# All pipelines source this first. It makes the environment the same for every user, finds the
# programs, and reads options. `bash -p` in a pipeline's first line already ignores what the
# environment would set in the shell itself: SHELLOPTS, CDPATH and functions.

# Numbers have a decimal point, ranges such as [a-z] are ASCII, `cd` prints nothing, > overwrites.
export LC_ALL=C
set +o posix +o noclobber
unset -v CDPATH POSIXLY_CORRECT GREP_OPTIONS BASH_ENV ENV GLOBIGNORE
shopt -u failglob nullglob nocasematch xpg_echo
declare +x SHELLOPTS BASHOPTS
# Opens standard streams that are closed, so that no other file gets their numbers.
{ : 9<&0; } 2>/dev/null || exec </dev/null
{ : 9>&1; } 2>/dev/null || exec >/dev/null
{ : 9>&2; } 2>/dev/null || exec 2>/dev/null
# A TMPDIR that does not exist or is not writable is ignored.
if [ -d "${TMPDIR-}" ] && [ -w "${TMPDIR-}" ]; then TMPDIR=$(realpath -- "$TMPDIR"); else unset -v TMPDIR; fi

ROOT=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
# Puts the programs first on PATH: those of $BIN, of this checkout, or of the installation that these
# pipelines belong to. If there are none, PATH has to hold them already.
for programs in "${BIN:-$ROOT/bin}" "$ROOT/bin" "${ROOT%/*/*}/libexec/simclr" ''; do
    [ ! -x "$programs/supervise" ] || break
done
[ -n "$programs" ] || programs=$(type -P supervise) || {
    echo "${0##*/}: $ROOT/bin holds no programs; 'make' builds them" >&2
    exit 1
}
[ -d "$programs" ] || programs=$(dirname -- "$programs")
programs=$(realpath -- "$programs")
if [[ $programs == *:* ]]; then
    echo "${0##*/}: $programs: a folder with a colon in its name cannot be on PATH; move it" >&2
    exit 1
fi
PATH=$programs:$PATH

# shellcheck disable=SC2034 # the pipelines use it
pipeline=${0##*/}

usage_error() {
    echo "$pipeline: $* ($pipeline --help lists the options)" >&2
    exit 2
}

die() {
    echo "$pipeline: $*" >&2
    exit 1
}

# Prints the words, quoted where any shell needs it.
quote() {
    local word space='' quoted="'\\''"
    for word; do
        case $word in
        '' | *[!A-Za-z0-9_./:=,%+@-]*) word="'${word//\'/"$quoted"}'" ;;
        *) ;;
        esac
        printf '%s%s' "$space" "$word"
        space=' '
    done
}

# Prints the lines of --help about the options that every pipeline has.
common_help() {
    echo '  --version         print the version and exit'
    echo '  --help            print this and exit; also -h'
}

# Prints the options for machines, with the columns of the programs' --option-table (lib/cli/options.h).
# They come from --help, in which an option is a line "  --name ARGUMENT  text [default]" with more text on
# lines that are indented further, and a heading is a line just before options.
option_table() {
    help | awk '
        function flush(    value, kind) {
            if (name == "") return
            if (match(text, /(^| )\[[^[]*\]$/)) {
                value = substr(text, RSTART)
                text = substr(text, 1, RSTART - 1)
                gsub(/^ ?\[|\]$/, "", value)
            }
            kind = argument == "" ? "switch" : argument ~ /[|]/ ? "choice" : "string"
            printf "%s\t%s\t%s\t%s\t%s\n", name, kind, argument, value, text
            name = ""
        }
        /^  --[a-z]/ {
            flush()
            if (heading != "") printf "\theading\t\t\t%s\n", heading
            heading = ""
            sub(/^  --/, "")
            text = match($0, /  +/) ? substr($0, RSTART + RLENGTH) : ""
            if (RSTART > 0) $0 = substr($0, 1, RSTART - 1)
            name = $1
            argument = $2
            next
        }
        /^      / && name != "" { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0; next }
        { flush(); heading = $0 ~ /^[^ ]/ ? $0 : ""; sub(/:$/, "", heading) }
        END { flush() }'
}

# Prints ": did you mean WORD?" with the name that is nearest to the word, or nothing if none is near.
nearest() { # DASHES WORD NAME...
    local name
    name=$(simclr --nearest "${@:2}" 2>/dev/null) || name=''
    [ -z "$name" ] || echo ": did you mean $1$name?"
}

# Ends the pipeline after printing what one of the options that every pipeline has asks for, if the word
# is one. The pipeline defines help().
answer_option() { # WORD
    local version
    case $1 in
    -h | --help) help ;;
    --option-table) option_table ;;
    --version) version=$(supervise --version) && echo "$pipeline ${version##* }" ;;
    *) return 0 ;;
    esac
    exit
}

unknown_option() { # WORD
    local names name=${1%%=*}
    mapfile -t names < <(option_table | cut -f 1 | grep .)
    [[ $1 != *=* || " ${names[*]/#/--} " != *" $name "* ]] || usage_error "'$1': a blank separates an option from its value"
    [[ $name =~ ^-+(.*) ]] || usage_error "unexpected word '$1'"
    usage_error "unknown option '$name'$(nearest -- "${BASH_REMATCH[1]}" "${names[@]}")"
}

# Sets the variable that an option names, if it is in the list of known options: --save-every 5
# sets save_every.
#   set_option "data batch save_every" "$@"
set_option() {
    local known=$1 name=${2#--}
    answer_option "$2"
    name=${name//-/_}
    [[ $2 == --[a-z]* && $2 != *_* && $name =~ ^[a-z0-9_]+$ && " $known " == *" $name "* ]] || unknown_option "$2"
    [ $# -ge 3 ] || usage_error "$2 needs a value"
    printf -v "$name" '%s' "$3"
}

# Check options, by the names of their variables: whole numbers of at least LEAST, from which leading
# zeros are removed; seconds; shares; words of a list; and commands.
need_whole() { # LEAST NAME...
    local least=$1 name
    for name in "${@:2}"; do
        [[ ${!name} =~ ^[0-9]{1,18}$ && $((10#${!name})) -ge $least ]] ||
            usage_error "--${name//_/-} '${!name}': a whole number from $least on is needed"
        printf -v "$name" %d "$((10#${!name}))"
    done
}
need_seconds() { # NAME...
    local name
    for name; do
        [[ ${!name} =~ ^[0-9]{1,6}(\.[0-9]{1,9})?$ && ${!name} =~ [1-9] ]] ||
            usage_error "--${name//_/-} '${!name}': a number of seconds is needed"
    done
}
need_share() { # NAME...: more than 0, at most 1
    local name
    for name; do
        [[ ${!name} =~ ^(0?\.[0-9]{1,15}|1(\.0*)?)$ && ${!name} =~ [1-9] ]] ||
            usage_error "--${name//_/-} '${!name}': a share is needed, such as 0.1"
    done
}
need_choice() { # NAME CHOICE...
    local name=$1 choices
    printf -v choices ', %s' "${@:2}"
    [[ "$choices, " == *", ${!name}, "* ]] ||
        usage_error "--${name//_/-}: '${!name}' is none of ${choices#, }$(nearest '' "${!name}" "${@:2}")"
}
need_command() { # NAME...
    local name
    for name; do
        [[ ${!name} == *[![:space:]]* ]] || usage_error "--${name//_/-} '${!name}': a command is needed"
    done
}

# Prints a path in a form that no program takes for an option, a command or an address.
plain_path() {
    case $1 in
    -?* | exec:* | pipe:* | tcp:* | ipc:* | shm:*) [ ! -e "$1" ] || printf './' ;;
    *) ;;
    esac
    printf '%s' "$1"
}

# Calls FUNCTION NAME VALUE for each option that supervise prints, in this shell. Ends the pipeline if
# supervise fails, which has printed why. The status of a process substitution would not do: in bash 5.2
# `wait $!` fails for one in some hundred that succeeded.
each_option() { # FUNCTION OPTION OF SUPERVISE...
    local name value
    shopt -s lastpipe
    supervise "${@:2}" --tell options --name "$pipeline" |
        while IFS='' read -r -d '' name && IFS='' read -r -d '' value; do "$1" "$name" "$value"; done || exit 1
    shopt -u lastpipe
}

# The options that a run was started with, by name. recall() reads them as data.
declare -A recorded=()
remember() { # NAME VALUE
    # shellcheck disable=SC2034
    recorded[${1//-/_}]=$2
}
recall() { # FOLDER of the run
    recorded=()
    [ ! -f "$1/options" ] || each_option remember --run "$1"
}
# The same for pipelines that use the run's encoder and projector anew: without --ema, since slow copies are
# for the training that made them.
recall_stages() { # FOLDER of the run
    local name
    recall "$1"
    for name in encoder projector; do
        [ ! -v "recorded[$name]" ] ||
            recorded[$name]=$(sed -zE 's/([[:space:]])--ema(=|[[:space:]]+)[0-9.eE+-]+/\1/g' < <(printf %s "${recorded[$name]}"))
    done
}

# Whether a run is going on: its processes hold its lock.
is_at_work() { # FOLDER of the run
    [ -f "$1/lock" ] && ! flock --nonblock --shared "$1/lock" true
}
# Keeps a state or model as it is now: a run replaces the file by another one, and does not change it.
hold_file() { # FROM TO
    ln -f -- "$1" "$2" 2>/dev/null || cp -- "$1" "$2"
}

# Prints the command that reads images for an evaluation: augment with those options of the run's
# augment that give the size of views and, unless other data is evaluated, how to read the data.
reader_of() { # AUGMENT COMMAND, OTHER DATA or ''
    local kept='size|format|retries'
    [ -z "$2" ] || kept=size
    echo augment "$(grep -oE -- "--($kept)[ =]+[^ ]+|--orient" <<<"$1" | tr '\n' ' ' || true)"
}

# Prints the size of the images that an encoder was trained with, or nothing if the file does not say.
trained_size() { # MODEL
    inspect --limit 1 --meta encoder <"$1" 2>/dev/null | grep -oE '(^| )size=[1-9][0-9]*' | grep -oE '[0-9]+' || true
}

# Print the number that a JSON file has under a key, or nan if there is none; percent() prints it in %.
number() { # FILE KEY
    local value
    value=$(sed -n 's/.*"'"$2"'": *\([0-9.eE+-]*\).*/\1/p' <"$1")
    echo "${value:-nan}"
}
percent() { # FILE KEY
    number "$1" "$2" | awk '{ if ($1 == "nan") print; else printf "%.1f\n", 100 * $1 }'
}
