# shellcheck shell=bash

# Offers words that blanks separate; or paths, by readline's own completion, which quotes them.
_simclr_offer() { # WORDS, <file>, <folder> or <command>
    case $1 in
    '<file>') compopt -o default ;;
    '<folder>') compopt -o dirnames ;;
    '<command>') mapfile -t COMPREPLY < <(compgen -W "$(_simclr_commands)" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word") ;;
    esac
}
# Completes an option of the command, the value of the option before the cursor, or an operand.
_simclr_arguments() { # COMMAND
    local before=${COMP_WORDS[COMP_CWORD - 1]} value
    if [ "$word" = = ]; then # --arch=
        word=''
    elif [ "$before" = = ] && [ "$COMP_CWORD" -ge 2 ]; then # --arch=resnet
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if value=$(_simclr_value "$1" "$before"); then
        _simclr_offer "$value"
    elif [[ $word == -* ]]; then
        _simclr_offer "$(_simclr_options "$1")"
    else
        _simclr_offer "$(_simclr_operands "$1")"
    fi
}
_simclr() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case $COMP_CWORD:${COMP_WORDS[1]} in
    1:-*) _simclr_offer "$(_simclr_options simclr)" ;;
    1:*) _simclr_offer "$(_simclr_commands) help" ;;
    2:help) _simclr_offer "$(_simclr_commands) frames" ;;
    *:-*) ;;
    *) _simclr_arguments "${COMP_WORDS[1]}" ;;
    esac
}
_simclr_short() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    _simclr_arguments "${COMP_WORDS[0]##*/}"
}
_simclr_short_names() {
    local name
    for name in $(_simclr_commands); do
        complete -F _simclr_short "$name"
    done
}
complete -F _simclr simclr
