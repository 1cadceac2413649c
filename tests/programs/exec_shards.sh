#!/usr/bin/env bash
# Tests of data that commands deliver, one command a shard: the same images as from files, commands that
# break off and run again, --count, and what is left when augment ends.
# shellcheck disable=SC2016 # what is in single quotes is for the commands
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$ROOT/tests/programs/exec_shards.py" "$@"
}
(py make)
boundary=$(cat boundary)
export OMP_NUM_THREADS=1
views=(--batch 8 --epochs 2 --seed 3 --size 16)
stream=(--cache 0 --shuffle 10)

# ---- the same images as from files ----
augment --data 'd-{0..2}.tar.gz' "${views[@]}" "${stream[@]}" --out files.frames 2>files.err
augment --data 'd-{0..2}.tar' "${views[@]}" --out indexed.frames 2>files.err
augment --data 'd-{0..2}.tar.gz' "${views[@]}" "${stream[@]}" --count 30 --out counted.frames 2>files.err
same_as() { # FRAMES ARGUMENTS...
    in_time augment "${@:2}" "${views[@]}" --out other.frames && cmp "$1" other.frames
}
check "archives from commands, as a stream" same_as files.frames --data 'exec:cat d-{0..2}.tar' "${stream[@]}"
check "compressed archives" same_as files.frames --data 'exec:cat d-{0..2}.tar.gz' "${stream[@]}"
check "WebDataset's pipe:" same_as files.frames --data 'pipe:cat d-{0..2}.tar' "${stream[@]}"
check "a set that fits into the cache is indexed" same_as indexed.frames --data 'exec:cat d-{0..2}.tar'
check "a pipeline that unpacks" same_as files.frames --data 'exec:cat d-{0..2}.tar.gz | gzip -dc' "${stream[@]}"
if command -v zstd >/dev/null; then
    check "zstd" same_as files.frames --data 'exec:cat d-{0..2}.tar.zst' "${stream[@]}"
else
    skip "zstd" "zstd is not installed"
fi
mkdir 'odd $folder' && cp d-?.tar 'odd $folder'
check "blanks, quotes and braces in a command" same_as files.frames "${stream[@]}" \
    --data 'exec:f() \{ cat "odd \$folder/$1"; }; f '\''d-{0..2}.tar'\'
check "a file whose name looks like a command" eval 'cp d-0.tar exec:d && in_time augment --data exec:d "${views[@]}" >a && in_time augment --data d-0.tar "${views[@]}" | cmp a -'
parts() { # WORD...: each part of the work is that of the same work on files
    local part
    for part; do
        # shellcheck disable=SC2086
        augment --data 'd-{0..2}.tar.gz' "${views[@]}" "${stream[@]}" $part --out part.frames || return 1
        # shellcheck disable=SC2086
        same_as part.frames --data 'exec:cat d-{0..2}.tar' "${stream[@]}" $part || return 1
    done
}
check "shards, turns, a later start and a limit" parts '--shard 0/2' '--shard 1/2' '--turn 1/2' '--start 4' '--limit 16'
folders() { # classes are folders; parts, --hold and --split
    local words
    for words in 'photos --cache 0' 'photos --hold 0.25' 'photos --hold 0.25 --split test --policy eval' \
        'parts --split test --policy eval' 'parts --split train --cache 0' 'photos --limit 12 --labels-per-class 4'; do
        # shellcheck disable=SC2086
        set -- $words
        augment --data "$1.tar.gz" --batch 4 --epochs 1 "${@:2}" >a && augment --data "exec:cat $1.tar" --batch 4 --epochs 1 "${@:2}" | cmp a - || return 1
    done
}
check "folders as classes and parts, --hold, --labels-per-class" folders
check_fails 1 "a part that is missing" 'exec:cat photos.tar has no test part .*--hold' augment --data 'exec:cat photos.tar' --split test
check_fails 1 "--hold of a stream" 'images to hold back cannot be chosen from a stream' augment --data 'exec:cat photos.tar' --cache 0 --hold 0.1

# ---- frames ----
augment --data d-0.tar --policy eval --size 16 --batch 4 --out s-0.st
augment --data d-1.tar --policy eval --size 16 --batch 4 --out s-1.st
cat s-0.st s-1.st >s.st
augment --data s.st "${views[@]}" "${stream[@]}" --out frames.frames
check "frames from commands" same_as frames.frames --data 'exec:cat s-{0,1}.st' "${stream[@]}"
check "frames by their format's name" same_as frames.frames --data 'exec:cat s-{0,1}.st' --format frames "${stream[@]}"
check_fails 1 "frames without an end" 'exec:head -c 9000 s-0.st: .*after [0-9]+ frames \(--retries' augment --data 'exec:head -c 9000 s-{0,1}.st' "${views[@]}"
check_fails 1 "archives after frames" 'exec:cat d-1.tar: ' augment --data 'exec:cat {s-0.st,d-1.tar}' "${views[@]}"
sometimes() { # NAME K COMMAND...: a command that breaks off after K bytes the first K times it runs
    printf '%s\n' '#!/bin/sh' 'n=$(cat n); echo $((n + 1)) >n' 'if [ "$n" -lt '"$1"' ]; then head -c '"$2"' "$1"; '"$3"'; fi' 'cat "$1"' >sometimes
    chmod +x sometimes
    echo 0 >n
}
again() { # FRAMES LINES ARGUMENTS...: the same frames, and LINES lines about retries
    echo 0 >n
    same_as "$1" "${@:3}" 2>again.err || { cat again.err; return 1; }
    [ "$(grep -c "it runs again in" again.err)" = "$2" ]
}
sometimes 3 7000 'exit 3'
check "frames that break off three times" again frames.frames 3 --data 'exec:./sometimes s-{0..1}.st' --retries 3 "${stream[@]}"
check "frames that break off, by their format's name" again frames.frames 3 --format frames --data 'exec:./sometimes s-{0..1}.st' --retries 3 "${stream[@]}"

# ---- commands that break off ----
breaks() { # WHAT REGEX COMMAND
    check_fails 1 "$1" "exec:.*: $2.*\(--retries N would run it again\)" in_time augment --data "exec:$3" "${views[@]}" --count 30 "${stream[@]}"
}
breaks "a status other than 0" "exited with status 7, after 30 entries" 'cat d-{0..2}.tar; exit 7'
breaks "death by a signal" "was killed by SIGKILL, after" 'head -c 9000 d-{0..2}.tar; kill -9 $$'
breaks "nothing" "delivered nothing, after 0 entries" true
breaks "a missing program" "exited with status 127, after 0 entries" 'no-such-program 2>/dev/null'
breaks "an archive that ends between two entries" "the archive breaks off, without the zeros that end it, after 12 entries" "cat d-{0..2}.tar | head -c $boundary"
breaks "an archive that ends in an entry" 'damaged archive: ' "head -c $((boundary + 700)) d-{0..2}.tar"
breaks "a compressed archive without its trailer" 'damaged archive: ' 'head -c -4 d-{0..2}.tar.gz'
breaks "what is no archive" 'damaged archive: ' 'echo "<html>no such page</html>"'
check_fails 1 "--on-error skip does not pass over it" 'without the zeros' in_time augment --data "exec:head -c $boundary d-1.tar" --on-error skip "${views[@]}"
check_fails 1 "two archives from one command" 'bytes follow the end of the archive' in_time augment --data 'exec:cat d-0.tar d-1.tar' "${views[@]}"
check_fails 1 "zeros without end" 'zeros without end' in_time augment --data 'exec:cat d-0.tar /dev/zero' "${views[@]}"
check_fails 1 "bytes without end" 'exec:yes: damaged archive' in_time augment --data 'exec:yes' "${views[@]}"
check_fails 1 "a command that is missing" 'exec:: a command is missing' augment --data 'exec: '
check_fails 1 "a brace of the command, which is taken for one of a list" 'a brace does not close .*is a brace of the command itself' augment --data "exec:awk '{ print"
check_fails 1 "another format" '--format cifar10: commands deliver archives' augment --data 'exec:cat d-0.tar' --format cifar10
check_fails 1 "--retries of files" 'd-0.tar: --retries is for data from commands' augment --data d-0.tar --retries 1
for bytes in 0 400 "$boundary" $((boundary + 1300)); do
    sometimes 2 "$bytes" 'exit 0'
    check "two breaks after $bytes bytes leave the same frames" again counted.frames 2 --count 30 --retries 2 "${stream[@]}" --data 'exec:./sometimes d-{0..2}.tar'
done
sometimes 2 3000 'kill -9 $$'
check "two breaks of a compressed archive, while it is counted" again files.frames 2 --retries 2 "${stream[@]}" --data 'exec:./sometimes d-{0..2}.tar.gz'
check "two breaks of a set that fits into the cache" again indexed.frames 2 --retries 2 --data 'exec:./sometimes d-{0..2}.tar'
echo 0 >n
check "more breaks than retries" eval '! in_time augment --data "exec:./sometimes d-1.tar" --retries 1 "${views[@]}" 2>err && grep -q "status 137, after [0-9]* entries (retries: 1)" err'

# ---- --count ----
runs() { # TIMES ARGUMENTS...: commands are run that often
    rm -f ran
    augment "${@:2}" "${stream[@]}" "${views[@]}" >/dev/null && [ "$(wc -l <ran)" = "$1" ]
}
check "a stream is counted first" runs 9 --data 'exec:echo >>ran; cat d-{0..2}.tar'
check "--count spares that" runs 6 --data 'exec:echo >>ran; cat d-{0..2}.tar' --count 30
counted() { # ARGUMENTS...: --count N changes no tensor
    in_time augment --batch 8 --size 16 "$@" | py tensors >a && [ "$(wc -l <a)" -gt 2 ] &&
        in_time augment --batch 8 --size 16 "${@:1:$#-2}" | py tensors | cmp a -
}
check "--count that is right changes no tensor" counted --data 'exec:cat d-{0..2}.tar' --epochs 2 "${stream[@]}" --count 30
check "--count of compressed files" counted --data 'd-{0..2}.tar.gz' --epochs 2 "${stream[@]}" --count 30
check "--count in an evaluation" counted --data 'exec:cat d-{0..2}.tar' --policy eval "${stream[@]}" --count 30
check "--count of a set that fits into the cache" counted --data 'exec:cat d-{0..2}.tar' --epochs 2 --count 30
check "--count of a part, and a limit" counted --data 'exec:cat parts.tar' --split test --policy eval "${stream[@]}" --limit 12 --count 16
for count in 29 31; do
    check_fails 1 "--count $count of 30" "--count says $count images, and there are (30|more)" in_time augment --data 'exec:cat d-{0..2}.tar' --count $count "${views[@]}" "${stream[@]}" --out none
    check_fails 1 "--count $count of 30 in an evaluation" "--count says $count images, and there are (30|more)" in_time augment --data 'exec:cat d-{0..2}.tar' --count $count --policy eval --batch 7 "${stream[@]}" --out none
    check_fails 1 "--count $count of 30 that are indexed" "--count says $count images, and there are 30" augment --data 'd-{0..2}.tar' --count $count --out none
done
check "a wrong count is found in the last batch of a rank" eval '! in_time augment --data "exec:cat d-{0..2}.tar" --count 29 --batch 8 --epochs 1 --shard 1/2 --cache 0 --shuffle 1 >/dev/null 2>&1'
counted_stdin() {
    in_time augment --data - --count 10 --cache 0 --policy eval --batch 4 --size 16 <d-0.tar.gz | py tensors >a &&
        in_time augment --data d-0.tar.gz --cache 0 --policy eval --batch 4 --size 16 | py tensors | cmp a -
}
check "--count of stdin" counted_stdin
check_fails 1 "--count of stdin that is wrong" '--count says 11 images, and there are 10' eval 'augment --data - --count 11 --cache 0 --policy eval --batch 4 --size 16 <d-0.tar.gz >none'
check_fails 1 "--count and several epochs of stdin" 'comes once: --epochs 2' eval 'augment --data - --count 10 --cache 0 --epochs 2 --batch 4 <d-0.tar.gz'
check "folders give no labels with --count, which a line says" eval 'in_time augment --data "exec:cat photos.tar" --count 24 --cache 0 --batch 4 --epochs 1 2>err >/dev/null && grep -q "no labels: with --count" err'

# ---- --list ----
listed() { # ARGUMENTS...: the images of each command, as of the files
    in_time augment --list --data 'd-{0..2}.tar.gz' "$@" | sed 's/\.gz$//' >a && [ "$(wc -l <a)" = 30 ] &&
        in_time augment --list --data 'exec:cat d-{0..2}.tar' "$@" | sed 's/\texec:cat /\t/' | cmp a -
}
check "--list" listed
check "--list of a stream" listed --cache 0
check "--list of a stream with --count" listed --cache 0 --count 30
check_fails 1 "--list of a stream with a wrong --count" '--count says 29 images, and there are more' eval 'in_time augment --list --data "exec:cat d-{0..2}.tar" --cache 0 --count 29 >none'

# ---- the end ----
none_left() { # MARK: no process has it among its arguments
    ! pgrep -f "[s]leep $1" >/dev/null || { pgrep -af "[s]leep $1" && false; }
}
mark=$((100000 + $$))
stops() { # ARGUMENTS...: one step, which ends the command early
    in_time augment --count 30 --steps 1 --cache 0 --shuffle 1 --batch 8 --size 16 "$@" >/dev/null && none_left $mark.1
}
check "an early end ends a pipeline" stops --data "exec:(cat d-0.tar; sleep $mark.1) | cat"
check "an early end ends a command that ignores SIGTERM" stops --data "exec:trap '' TERM; cat d-0.tar; sleep $mark.1"
check "what a command leaves running is ended" eval 'in_time augment --data "exec:sleep $mark.2 >/dev/null & cat d-0.tar" "${views[@]}" >/dev/null && none_left $mark.2'
check_fails 1 "a command that stalls" 'delivered nothing for 0.2 s \(--timeout\), after' in_time augment --timeout 0.2 --data "exec:head -c 9000 d-0.tar; sleep $mark.3" "${views[@]}"
check_fails 1 "a command that does not exit" 'did not exit within 0.2 s' in_time augment --timeout 0.2 --data "exec:cat d-0.tar; exec >&-; sleep $mark.3" "${views[@]}"
check "nothing is left of them" none_left $mark.3
signalled() { # SIGTERM while a command stalls
    augment --data "exec:touch runs; sleep $mark.4" 2>err &
    local pid=$!
    for _ in $(seq 1200); do [ ! -e runs ] || break; sleep 0.05; done
    kill $pid && ! wait $pid && grep -q 'stopped by SIGTERM' err && none_left $mark.4
}
check "a signal ends the command" signalled

# ---- over HTTP ----
if ! command -v curl >/dev/null; then
    skip "HTTP" "curl is not installed"
    done_testing
    exit
fi
(py serve "$LOOPBACK") &
server=$!
trap 'kill $server; rm -rf "$T"' EXIT
for _ in $(seq 1200); do [ ! -e port ] || break; sleep 0.05; done
site=http://$LOOPBACK:$(cat port)
n=0
recovers() { # BEHAVIOURS RETRIES FORM: the frames are those of the files
    n=$((n + 1))
    again counted.frames "$2" --retries "$2" "${stream[@]}" --count 30 --data "exec:curl $options $site/$n/$1/d-{0..2}.$3" 2>err || { cat err && false; }
}
options="-sf --noproxy '*'"
check "curl" recovers whole 0 tar
check "connections that break off" recovers cut=3000+cut=20000 2 tar
check "connections that are reset, also while images are passed over" recovers reset=9000+cut=2000+reset=12000 3 tar.gz
check "errors of the server" recovers 500+500+whole 2 tar
check "a proxy that shortens files" recovers "short=$boundary+short=8000" 2 tar
check "a proxy that cuts the trailer off" recovers "short=$(($(wc -c <d-1.tar.gz) - 4))" 1 tar.gz
check "an error before the first image, and all epochs" eval '[ "$(grep -c "^4 d-1.tar$" requests)" = 4 ] && [ "$(grep -c "^4 d-2.tar$" requests)" = 2 ]'
options="-s --noproxy '*'"
check "error pages, which curl without -f takes for the file" recovers 500+cut=4000+500 3 tar
failing() { # BEHAVIOURS RETRIES FILES
    n=$((n + 1))
    in_time augment --retries "$2" "${views[@]}" "${stream[@]}" --count 30 --data "exec:curl -sf --noproxy '*' $site/$n/$1/d-{0..2}.$3" >none
}
check_fails 1 "no retries" 'd-1.tar: exited with status 18, after [0-9]+ entries \(--retries' failing cut=9000 0 tar
check_fails 1 "no retries after an error" 'd-1.tar: exited with status 22, after 0 entries' failing 500 0 tar
check "too few retries" eval '! failing 500+cut=9000+cut=9000 2 tar 2>err && [ "$(wc -l <err)" = 3 ] && grep -q "status 18, after [0-9]* entries (retries: 2)" err'
check "a shard that changes between two tries" eval '! failing cut=20000+other 1 tar 2>err && [ "$(wc -l <err)" = 2 ] && grep -q "delivers another archive than before: its first [0-9]* entries have changed" err'

done_testing
