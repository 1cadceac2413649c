#!/usr/bin/env bash
# Tests tests/rooms, which `make lint` runs. Each kind of defect is added to a copy of lib/, and
# must give one line.
set -eu
. "$(dirname "$0")/../lib.sh"

rooms=$ROOT/tests/rooms
mkdir kept && cp -r "$ROOT/lib" "$ROOT/cmd" kept
"$rooms" kept >before 2>&1 || true

# Copies kept/ to planted/ and changes the copy with the command. Expects status 1 and one line more
# than before, which matches.
finds() { # regex of the line, command...
    local status=0
    rm -rf planted && cp -r kept planted
    (cd planted && "${@:2}") || return 1
    "$rooms" planted >after 2>&1 || status=$?
    diff before after | grep '^[<>]' >difference || true
    cat difference
    [ $status = 1 ] && [ "$(wc -l <difference)" = 1 ] && grep -qE "^> $1" difference
}
prepend() { # LINE, FILE
    sed -i "1i $1" "$2"
}

check "an include that the table does not allow is found" finds \
    'lib/engine/grains\.c: engine may not use frame \(frame/frame\.h; lib/rooms\)$' \
    prepend '#include "frame/frame.h"\nint planted(struct frame *f);' lib/engine/grains.c
check "a header's include of a room above is found" finds \
    'lib/engine/grains\.h: engine may not use network ' \
    prepend '#include "network/plan.h"\nstruct plan *planted(void);' lib/engine/grains.h
check "an include that the file does not use is found" finds \
    'lib/engine/grains\.c: uses nothing of base/random\.h$' \
    prepend '#include "base/random.h"' lib/engine/grains.c
check "an include of a header that does not exist is found" finds \
    'lib/engine/grains\.c: "base/nonesuch\.h" is no header of a room$' \
    prepend '#include "base/nonesuch.h"' lib/engine/grains.c
check "an include without the room is found" finds \
    'lib/engine/grains\.c: "grains\.h" is no header of a room$' \
    prepend '#include "grains.h"' lib/engine/grains.c
check "an include in a program is checked, too" finds \
    'cmd/keygen/keygen\.c: uses nothing of base/random\.h$' \
    prepend '#include "base/random.h"' cmd/keygen/keygen.c

check "a cycle in the table is found" finds \
    'lib/rooms:[0-9]*: frame may not use link, which is not above it$' \
    sed -i 's/^frame: .*/frame: base link/' lib/rooms
check "a folder that is not in the table is found" finds \
    'lib/attic: not in the table lib/rooms$' \
    mkdir lib/attic
check "a room without a folder is found" finds \
    'lib/rooms: no room attic in lib/$' \
    sh -c "echo 'attic: base' >>lib/rooms"

check "a file that is too long is found" finds \
    'lib/engine/planted\.c: 601 lines; ' \
    sh -c "seq -f '/* %g */' 601 >lib/engine/planted.c"
check "a function that is too long is found" finds \
    'lib/engine/planted\.c:2: a function of 61 lines; ' \
    sh -c "{ echo 'void planted(void)' && echo '{' && seq -f '/* %g */' 59 && echo '}'; } >lib/engine/planted.c"
check "a file name that another room has is found" finds \
    'lib: grains\.c is in 2 rooms: names of files are unique$' \
    sh -c "echo >lib/frame/grains.c"

check "a picture that does not show the table is found" finds \
    'docs/rooms\.svg: not the picture of lib/rooms; ' \
    sh -c "mkdir docs && echo '<svg/>' >docs/rooms.svg"
done_testing
