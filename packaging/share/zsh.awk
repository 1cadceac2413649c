# Makes the completion for zsh, from the summaries, and the same lines as bash.awk. Variable: pipelines, their
# names, each between blanks; their options take no "=".

function quoted(text) {
    gsub(/'/, "'\\''", text)
    return "'" text "'"
}
# The message and the action of a value, as _arguments takes them.
function value_of(kind, argument) {
    if (kind == "choice") {
        gsub(/[|]/, " ", argument)
        return ":choice:(" argument ")"
    }
    if (argument ~ /^(FILE.*|PATH|ENDPOINT|STREAM|FROM)$/)
        return ":" argument ":_files"
    if (argument == "DIR")
        return ":" argument ":_files -/"
    if (argument == "CMD")
        return ":" argument ":(" all ")"
    return ":" argument ": "
}
function spec_of(    help) {
    help = $6 ($5 == "" ? "" : ($6 == "" ? "" : " ") "[" $5 "]")
    gsub(/\\/, "\\\\", help)
    gsub(/\[/, "\\[", help)
    gsub(/\]/, "\\]", help)
    if ($2 == "help")
        return quoted("(-h --help)-h[" help "]") " " quoted("(-h --help)--help[" help "]")
    return quoted("--" $2 ($3 == "switch" || index(pipelines, " " $1 " ") ? "" : "=") "[" help "]" ($3 == "switch" ? "" : value_of($3, $4)))
}

BEGIN { FS = "\t" }
NR == FNR { # the summaries
    all = all (all == "" ? "" : " ") $1
    described = described "        " quoted($1 ":" $2) "\n"
    next
}
!($1 in options) { commands[++n] = $1; options[$1] = "" }
$2 == "operands" && NF == 3 {
    options[$1] = options[$1] "            " quoted("*: :" ($3 == "<file>" ? "_files" : "(" $3 ")")) "\n"
    next
}
$3 == "heading" { next }
{ options[$1] = options[$1] "            " spec_of() "\n" }

END {
    print "#compdef simclr"
    print "# Completion of `simclr` for zsh, made by packaging/share/make-share from the tables of options."
    print "# For the short names as well, once their folder is on PATH, a ~/.zshrc may have, after compinit,"
    print "#   path=($(simclr --exec-path) $path)"
    print "#   compdef _simclr encode augment train"
    print "# with the names that are wanted."
    print ""
    print "local curcontext=$curcontext state line command=$service"
    print "typeset -A opt_args"
    print "local -a names specs"
    print "if [[ $command == simclr ]]; then"
    print "    names=("
    printf "%s", described
    print "        'help:shows the manual of a command, or of frames'"
    print "    )"
    print "    _arguments -C \\"
    printf "%s", front_of(options["simclr"])
    print "        '1: :->command' '*:: :->arguments' && return"
    print "    case $state in"
    print "    command) _describe command names && return ;;"
    print "    arguments) command=$words[1] ;;"
    print "    *) return 1 ;;"
    print "    esac"
    print "fi"
    print "case $command in"
    print "help) specs=('1: :(" all " frames)') ;;"
    for (i = 1; i <= n; i++)
        if (commands[i] != "simclr") {
            print commands[i] ")"
            print "    specs=("
            printf "%s", options[commands[i]]
            print "    ) ;;"
        }
    print "*) return 1 ;;"
    print "esac"
    print "_arguments $specs"
}
function front_of(specs) {
    gsub(/\n/, " \\\n", specs)
    return specs
}
