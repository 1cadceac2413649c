# Makes the manual page of a command from four files, in this order:
#   1. its --option-table
#   2. its --help, for the summary and the examples
#   3. shared.mdoc, what there is to say about options that several programs share
#   4. its text NAME.mdoc: the other sections, and what there is to say about its own options
# Variables: name, pipeline (1 or 0), version, commands (a file with a line "NAME<tab>SUMMARY" for each), and date,
# for a text that has none.
#
# In the third and fourth file the lines after `.It Fl -NAME`, in the section OPTIONS, belong to that
# option, and in the third one only if it stands under the heading that `.Ss` names. In the fourth file
# the lines of SYNOPSIS say what is required (options first, `.Ar` last), and lines of OPTIONS
# that belong to no option come after the heading that `.Ss` names. `.Commands` lists all commands.

function fail(text) {
    print "make-share: " FILENAME ": " text >"/dev/stderr"
    failed = 1
    exit 1
}

# Writes a text of --help as mdoc: a sentence, unless it begins with a name.
function sentence(text) {
    gsub(/\\/, "\\e", text)
    gsub(/--/, "\\-\\-", text)
    while (match(text, /pipelines\/[a-z]/))
        text = substr(text, 1, RSTART - 1) "simclr " substr(text, RSTART + RLENGTH - 1)
    while (match(text, /`[^`]*`/))
        text = substr(text, 1, RSTART - 1) "\\(oq" substr(text, RSTART + 1, RLENGTH - 2) "\\(cq" substr(text, RSTART + RLENGTH)
    if (text ~ /^\[/)
        return text
    if (text ~ /^([a-z][a-z]+[ ,;]|a )/ && text !~ /^none,/)
        text = toupper(substr(text, 1, 1)) substr(text, 2)
    if (text ~ /^[.']/)
        text = "\\&" text
    while (match(text, /[.!?] [A-Z]/)) # each sentence begins a line
        text = substr(text, 1, RSTART) "\n" substr(text, RSTART + 2)
    return text ~ /[.!?]$/ ? text : text "."
}

# The words of an option after its name, for the macros .Op and .It.
function words_of(row, short,    argument) {
    argument = arguments[row]
    if (kinds[row] == "switch")
        return ""
    if (kinds[row] == "choice" && short && length(argument) > 24)
        argument = toupper(names[row])
    gsub(/[|]/, " | ", argument)
    gsub(/-/, "\\-", argument)
    return (kinds[row] == "choice" && argument ~ /[|]/ ? " Cm " : " Ar ") argument
}

function print_head() {
    print ".\\\" Made by packaging/share/make-share from the options of " name " and its text."
    print ".Dd " date
    print ".Dt " toupper(title) " 1"
    print ".Os simclr " version
    print ".Sh NAME"
    print ".Nm " title
    print ".Nd " summary
}

function print_synopsis(    row, links) {
    print ".Sh SYNOPSIS"
    print ".Nm " command
    printf "%s", required
    for (row = 1; row <= rows; row++) {
        if (kinds[row] == "heading" && helps[row] == "links")
            links = 1
        if (kinds[row] != "heading" && !links && names[row] !~ /^(version|help)$/ && index(required, " -" names[row] " ") == 0)
            print ".Op Fl -" names[row] words_of(row, 1)
    }
    if (links)
        print ".Op Ar options of links"
    printf "%s", operands
    print ".Nm " command
    print ".Fl -version | Fl -help | Fl h"
}

function print_options(    row, open, text) {
    if (!rows)
        return
    print ".Sh OPTIONS"
    printf "%s", under[""]
    delete under[""]
    for (row = 1; row <= rows; row++) {
        if (kinds[row] == "heading") {
            if (open)
                print ".El"
            open = 0
            print ".Ss " toupper(substr(helps[row], 1, 1)) substr(helps[row], 2)
            printf "%s", under[helps[row]]
            delete under[helps[row]]
            continue
        }
        if (!open)
            print ".Bl -tag -width Ds"
        open = 1
        print ".It Fl -" names[row] words_of(row, 0)
        text = helps[row]
        if (defaults[row] != "")
            text = text (text == "" ? "" : " ") "[" defaults[row] "]"
        print sentence(text)
        printf "%s%s", notes[names[row]], shared[heading_of[row] "/" names[row]]
        delete notes[names[row]]
    }
    if (open)
        print ".El"
    for (row in notes)
        fail("there is no option --" row)
    for (row in under)
        fail("there is no heading '" row "' among the options")
}

# Prints a section whose lines of commands, `.Dl LINE`, keep their length.
function print_examples(text,    lines, n, i, open) {
    n = split(text, lines, "\n")
    for (i = 1; i < n; i++) {
        if (lines[i] ~ /^\.Dl / && !open)
            print ".Bd -literal -offset indent"
        if (lines[i] !~ /^\.Dl / && open)
            print ".Ed"
        open = sub(/^\.Dl /, "", lines[i])
        print lines[i]
    }
    if (open)
        print ".Ed"
}

# Prints the sections in the order of the pages' manual; those that the text lacks may be made.
function print_page(    order, n, i) {
    print_head()
    print_synopsis()
    n = split("DESCRIPTION|OPTIONS|OUTPUT|FRAMES|ONNX|PYTORCH|SAFETENSORS|CLIENTS|COMMANDS|MEMORY|ENVIRONMENT|FILES|EXIT STATUS|EXAMPLES|SEE ALSO", order, "|")
    for (i = 1; i <= n; i++) {
        if (order[i] == "OPTIONS")
            print_options()
        else if (order[i] == "EXAMPLES" && examples != "" && !(order[i] in sections))
            print_examples(".Sh EXAMPLES\n" examples)
        else if (order[i] == "EXAMPLES")
            print_examples(sections[order[i]])
        else if (order[i] in sections)
            printf "%s", sections[order[i]]
        delete sections[order[i]]
    }
    for (i in sections)
        fail("the section " i " has no place in page.awk")
}

BEGIN {
    FS = "\t"
    title = name == "simclr" ? name : "simclr-" name
    command = name == "simclr" ? name : "simclr " name
}
FNR == 1 { file++ }

# the table
file == 1 {
    rows++
    names[rows] = $1
    kinds[rows] = $2
    arguments[rows] = $3
    defaults[rows] = $4
    helps[rows] = $5
    if ($2 == "heading")
        heading = $5
    heading_of[rows] = heading
    next
}

# the help
file == 2 && FNR == 1 { summary = substr($0, index($0, ": ") + 2) }
file == 2 && pipeline && /^Examples:/ { in_examples = 1; next }
file == 2 && in_examples && /^  / {
    sub(/^ +/, "")
    gsub(/pipelines\//, "simclr ")
    gsub(/\\/, "\\e")
    examples = examples ".Dl " $0 "\n"
    next
}
file == 2 { in_examples = 0; next }

# the texts
/^\.\\"/ { next }
file == 3 && /^\.Sh / { section = ""; next }
file == 3 && /^\.Ss / { heading = substr($0, 5); option = ""; next }
file == 3 && /^\.It Fl -/ { option = substr($0, 9); next }
file == 3 { if (option != "") shared[heading "/" option] = shared[heading "/" option] $0 "\n"; next }

/^\.Dd / { date = substr($0, 5); next }
/^\.Nm( [.,:;)]+)?$/ { sub(/^\.Nm/, ".Nm " name) }
/^\.Sh / {
    section = substr($0, 5)
    heading = option = ""
    if (section !~ /^(SYNOPSIS|OPTIONS)$/) {
        sections[section] = $0 "\n"
        if (section == "EXAMPLES" && !pipeline && name != "simclr")
            sections[section] = sections[section] "The short names of programs need their folder on\n.Ev PATH :\n" \
                ".Dl PATH=$(simclr --exec-path):$PATH\n"
        if (section == "SEE ALSO" && name != "simclr")
            sections[section] = sections[section] ".Xr simclr 1 ,\n"
    }
    next
}
section == "SYNOPSIS" && /^\.Ar/ { operands = operands $0 "\n"; next }
section == "SYNOPSIS" { required = required $0 "\n"; next }
section == "OPTIONS" && /^\.Ss / { heading = substr($0, 5); option = ""; next }
section == "OPTIONS" && /^\.It Fl -/ { option = substr($0, 9); next }
section == "OPTIONS" && option != "" { notes[option] = notes[option] $0 "\n"; next }
section == "OPTIONS" { under[heading] = under[heading] $0 "\n"; next }
/^\.Commands$/ {
    list = ".Bl -tag -width Ds\n"
    while ((getline line <commands) > 0) {
        split(line, word, "\t")
        list = list ".It Xr simclr-" word[1] " 1\n" sentence(word[2]) "\n"
    }
    sections[section] = sections[section] list ".El\n"
    next
}
section != "" { sections[section] = sections[section] $0 "\n"; next }
$0 != "" { fail("text before the first section: " $0) }

END {
    if (!failed)
        print_page()
    if (failed)
        exit 1
}
