# Makes simclr-frames.5 from docs/frames.md. It knows what that page uses: headings, paragraphs, lists,
# tables, and blocks of code. Variables: version, date. The parts about fuzzing are for those who
# work on the programs, and stay out.

function inline(text,    at, rest, out) {
    gsub(/\\/, "\\e", text)
    # Links become their text; one to another page names the page.
    while (match(text, /\[[^]]*\]\([^)]*\)/)) {
        out = substr(text, RSTART, RLENGTH)
        at = index(out, "](")
        rest = substr(out, at + 2, length(out) - at - 2)
        out = substr(out, 2, at - 2)
        sub(/#.*/, "", rest)
        if (rest ~ /\.md$/)
            out = "docs/" rest
        text = substr(text, 1, RSTART - 1) out substr(text, RSTART + RLENGTH)
    }
    gsub(/\*\*/, "", text)
    while (match(text, /\*[^* ][^*]*\*/))
        text = substr(text, 1, RSTART - 1) "\\fI" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" substr(text, RSTART + RLENGTH)
    while (match(text, /`[^`]*`/))
        text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" substr(text, RSTART + RLENGTH)
    gsub(/--/, "\\-\\-", text)
    while (match(text, /[.!?] [A-Z\\]/)) # each sentence begins a line
        text = substr(text, 1, RSTART) "\n" substr(text, RSTART + 2)
    return text ~ /^[.']/ ? "\\&" text : text
}

# Ends what is open: a paragraph, a list, a table.
function close_block() {
    if (open == "list" || open == "table")
        print ".El"
    if (open != "")
        gap = 1
    open = ""
}
function begin_paragraph() {
    if (gap)
        print ".Pp"
    gap = 0
}

function cells_of(line,    i) {
    gsub(/^\| *| *\|$/, "", line)
    gsub(/\\\|/, "\001", line)
    n_cells = split(line, cells, / *\| */)
    for (i in cells)
        gsub("\001", "|", cells[i])
}

# A table is a list: the first cells of a row are its tag, the last two its text. The heads of the
# columns introduce the cells after the second.
function print_row(    i, text, tag) {
    if (n_cells == 2) {
        print ".It " inline(cells[1])
        print inline(cells[2])
        return
    }
    if (heads[1] == "offset") {
        print ".It " heads[1] " " inline(cells[1]) (cells[2] == "" ? "" : ", " inline(cells[2]) " bytes")
        print inline(cells[3])
        return
    }
    print ".It " inline(cells[1])
    print inline(cells[2]) "."
    for (i = 3; i <= n_cells; i++)
        print toupper(substr(heads[i], 1, 1)) substr(heads[i], 2) ": " inline(cells[i]) "."
}

BEGIN {
    print ".\\\" Made by packaging/share/make-share from docs/frames.md."
    print ".Dd " date
    print ".Dt SIMCLR-FRAMES 5"
    print ".Os simclr " version
    print ".Sh NAME"
    print ".Nm simclr-frames"
    print ".Nd the format of streams and checkpoints"
    print ".Sh DESCRIPTION"
}
/^```/ {
    if (skipped)
        next
    if (!code) {
        close_block()
        gap = 0
        print ".Bd -literal -offset indent"
    } else {
        print ".Ed"
        gap = 1
    }
    code = !code
    next
}
code {
    gsub(/\\/, "\\e")
    print ($0 ~ /^[.']/ ? "\\&" : "") $0
    next
}
/^#/ {
    close_block()
    gap = 0
    level = match($0, /[^#]/) - 1
    text = substr($0, level + 2)
    skipped = text == "Fuzzing" || (skipped && level > 2)
    if (skipped || level == 1)
        next
    print (level == 2 ? ".Sh " toupper(inline(text)) : ".Ss " inline(text))
    next
}
skipped { next }
/^$/ { close_block(); next }
/^\| --- / { next }
/^\|/ {
    cells_of($0)
    if (open != "table") {
        close_block()
        open = "table"
        gap = 0
        print ".Bl -tag -width Ds"
        for (i = 1; i <= n_cells; i++)
            heads[i] = cells[i]
        next
    }
    print_row()
    next
}
/^- / {
    if (open != "list") {
        close_block()
        gap = 0
        print ".Bl -bullet"
        open = "list"
    }
    print ".It"
    print inline(substr($0, 3))
    next
}
open == "list" { sub(/^ +/, ""); print inline($0); next }
{
    if (open == "")
        begin_paragraph()
    open = "paragraph"
    print inline($0)
}
END {
    close_block()
    print ".Sh SEE ALSO"
    print ".Xr simclr 1 ,"
    print ".Xr simclr-inspect 1"
}
