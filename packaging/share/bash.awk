# Makes the completion for bash from lines "COMMAND<tab>ROW", where ROW is one of the command's --option-table, and
# "COMMAND<tab>operands<tab>WORDS" for words without a dash. WORDS are choices, or <file>. Variable: rest, the
# functions that use what is made here.

# What stands for a value: choices, <file>, <folder> or <command>; "" if it can't be completed.
function value_of(kind, argument) {
    if (kind == "choice") {
        gsub(/[|]/, " ", argument)
        return argument
    }
    if (argument ~ /^(FILE.*|PATH|ENDPOINT|STREAM|FROM)$/)
        return "<file>"
    return argument == "DIR" ? "<folder>" : argument == "CMD" ? "<command>" : ""
}

BEGIN { FS = "\t" }
!($1 in options) { commands[++n] = $1; options[$1] = "" }
$2 == "operands" && NF == 3 { operands[$1] = $3; next }
$3 == "heading" { next }
{
    options[$1] = options[$1] " --" $2
    if ($3 == "switch") {
        next
    }
    values[++v] = "    '" $1 " --" $2 "') echo '" value_of($3, $4) "' ;;"
}

END {
    print "# shellcheck shell=bash"
    print "# Completion of `simclr` for bash, made by packaging/share/make-share from the tables of options."
    print "# For the short names as well, once their folder is on PATH, a ~/.bashrc may have"
    print "#   PATH=$(simclr --exec-path):$PATH"
    print "#   . /usr/share/bash-completion/completions/simclr && _simclr_short_names"
    print ""
    printf "_simclr_commands() {\n    echo '"
    for (i = 1; i <= n; i++)
        if (commands[i] != "simclr")
            printf "%s%s", (i > 1 ? " " : ""), commands[i]
    print "'\n}"
    print "_simclr_options() { # COMMAND"
    print "    case $1 in"
    for (i = 1; i <= n; i++)
        print "    " commands[i] ") echo '" substr(options[commands[i]], 2) "' ;;"
    print "    esac\n}"
    print "_simclr_operands() { # COMMAND"
    print "    case $1 in"
    for (i = 1; i <= n; i++)
        if (commands[i] in operands)
            print "    " commands[i] ") echo '" operands[commands[i]] "' ;;"
    print "    esac\n}"
    print "# Prints what the value of an option is; fails if it has none."
    print "_simclr_value() { # COMMAND OPTION"
    print "    case \"$1 $2\" in"
    for (i = 1; i <= v; i++)
        print values[i]
    print "    *) return 1 ;;"
    print "    esac\n}"
    while ((getline line <rest) > 0)
        if (line !~ /^# shellcheck shell/)
            print line
}
