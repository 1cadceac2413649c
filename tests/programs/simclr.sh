#!/usr/bin/env bash
# Tests of `make install`, of the program simclr, and of runs from an installed tree and from a checkout by
# a user that may write to neither, with blanks in each path, in languages with other numbers and
# letters, and with a TMPDIR that is too long for a socket.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
bin=${BIN:-$ROOT/bin}
plain_path=/usr/local/bin:/usr/bin:/bin # without the built programs
chmod 755 "$T"                          # other users enter it
stage="$T/sta ge"
mkdir -p 'da ta/images' "$stage/opt/a b/bin"
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/tiny_cifar.py" 'da ta/images' 40 40

# Runs make without building anything: the programs are there, and a build of another kind is left as it
# is. It gets no variables of a make that runs the tests.
installed() { # install or uninstall: into sta ge, for /opt/a b
    env -u MAKEFLAGS -u MAKELEVEL -u BIN -u BUILD -u SHARE -u PREFIX make --no-print-directory -s -C "$ROOT" -o all -o share \
        BUILD="$T/other" BIN="$bin" SHARE="$ROOT/build/share" PREFIX='/opt/a b' DESTDIR="$stage" "$1"
}

# ---- make install ----
tree() { # FOLDER: all that is in it, with what files hold
    (cd "$1" && find . -printf '%p %y %m %l\n' | sort && find . -type f -exec sha256sum {} + | sort)
}
echo mine >"$stage/opt/a b/bin/mine"
tree "$stage" >before
check "make install" installed install
at="$T/in stalled"
cp -a "$stage/opt/a b" "$at"
only_simclr() {
    [ "$(ls "$at/bin")" = "$(printf 'mine\nsimclr')" ] &&
        [ "$(find "$at" -path '*/man/*' -type f | grep -vc '/simclr[^/]*$')" = 0 ]
}
check "bin gets simclr alone" only_simclr
all_there() {
    local file
    for file in "$ROOT"/cmd/*/; do
        file=$(basename "$file")
        [ -x "$at/libexec/simclr/$file" ] || { echo "$file" && return 1; }
    done
    for file in "$ROOT"/pipelines/* "$ROOT"/pipelines/*/* "$ROOT"/examples/*.py; do
        [ "${file##*/}" = evaluate ] || [ ! -f "$file" ] || cmp "$file" "$at/share/simclr/${file#"$ROOT/"}" || return 1
    done
    [ -x "$at/share/simclr/pipelines/train" ] && [ ! -x "$at/share/simclr/pipelines/common.sh" ] &&
        [ -f "$at/share/doc/simclr/docs/tour.md" ] && [ -f "$at/share/doc/simclr/examples/ntxent.py" ] &&
        ! grep -rqF 'sta ge' "$at/libexec" "$at/share/simclr"
}
check "programs, pipelines, examples and documentation are installed, without a trace of DESTDIR" all_there
other_version() { # a file that only another version has goes, and one that somebody else added stays
    local libexec="$stage/opt/a b/libexec/simclr"
    echo "/opt/a b/libexec/simclr/old" >>"$stage/opt/a b/share/simclr/manifest"
    : >"$libexec/old" && : >"$libexec/theirs" && installed install && [ ! -e "$libexec/old" ] && [ -e "$libexec/theirs" ]
}
check "make install over another version" other_version
nothing_left() {
    installed uninstall && [ "$(find "$stage" -name theirs)" = "$stage/opt/a b/libexec/simclr/theirs" ] &&
        rm -r "$stage/opt/a b/libexec" && tree "$stage" | diff before -
}
check "make uninstall leaves only what was there before" nothing_left
check_fails 1 "make uninstall where nothing is installed" '^uninstall: nothing is installed below /opt/none' \
    env PREFIX=/opt/none BIN="$bin" "$ROOT/packaging/install" --remove
check_fails 1 "a PREFIX that is no absolute path" "PREFIX='usr' must begin with a slash" \
    env PREFIX=usr BIN="$bin" "$ROOT/packaging/install"

# ---- simclr ----
# The tree was copied after it was installed, so it does not know its own place.
simclr() { PATH=$at/bin:$plain_path command simclr "$@"; }
check "--exec-path is where the tree is now" test "$(simclr --exec-path)" = "$at/libexec/simclr"
check "--share-path, too" test "$(simclr --share-path)" = "$at/share/simclr"
mkdir links && ln -s "$at/bin/simclr" links/simclr && ln -s links/simclr simclr-here && ln -s "$at" tree-here
linked() {
    [ "$(links/simclr --exec-path)" = "$at/libexec/simclr" ] && [ "$(./simclr-here --share-path)" = "$at/share/simclr" ] &&
        [ "$(tree-here/bin/simclr --exec-path)" = "$at/libexec/simclr" ] && [ "$(tree-here/libexec/simclr/simclr --exec-path)" = "$at/libexec/simclr" ] &&
        ./simclr-here train --help | grep -q '^train: '
}
check "through symbolic links" linked
in_checkout() { # of this build, whichever it is
    [ "$("$bin/simclr" --exec-path)" = "$(realpath "$bin")" ] && [ "$("$bin/simclr" --share-path)" = "$(realpath "$ROOT")" ]
}
check "in a checkout" in_checkout
copied() { cp "$at/bin/simclr" links/alone && links/alone; }
check_fails 1 "a copy without its tree" 'it is neither installed, .* nor in a checkout' copied
mkdir 'a:b' && cp -r "$at"/* 'a:b'
check_fails 1 "a folder that PATH cannot hold" 'a:b/libexec/simclr: a folder with a colon' 'a:b/bin/simclr' train --help

short_names() { # PATH is what the issue promises, and all programs find each other
    local -x PATH=$plain_path:$at/bin
    PATH=$(command simclr --exec-path):$PATH
    augment --data shapes --batch 8 --steps 1 | encode --width 0.0625 --opt exec:lars \
        --next 'exec:project --opt exec:lars --next exec:ntxent' | inspect --meta loss
}
without_names() { # only simclr is on PATH
    simclr augment --data shapes --batch 8 --steps 1 | simclr encode --width 0.0625 --opt exec:lars \
        --next 'exec:project --opt exec:lars --next exec:ntxent' | simclr inspect --meta loss
}
by_build() {
    augment --data shapes --batch 8 --steps 1 | encode --width 0.0625 --opt exec:lars \
        --next 'exec:project --opt exec:lars --next exec:ntxent' | inspect --meta loss
}
same_loss() {
    local loss
    loss=$(by_build) && [ -n "$loss" ] && [ "$(short_names)" = "$loss" ] && [ "$(without_names)" = "$loss" ]
}
check "simclr NAME and short names compute the same as the programs" same_loss
others_answer() { # `progress` of another package
    printf '#!/bin/sh\necho another progress\n' >links/progress && chmod +x links/progress || return 1
    [ "$(env PATH="$at/bin:$T/links:$plain_path" progress)" = 'another progress' ] &&
        PATH=$T/links:$at/bin:$plain_path command simclr progress --help | grep -q '^progress: '
}
check "a program with the same name of another package still answers" others_answer
check "the exit status is the command's" sh -c '"$0" evaluate --train /nowhere --test /nowhere 2>/dev/null; [ $? = 1 ] &&
    "$0" train --batch 0 2>/dev/null; [ $? = 2 ]' "$at/bin/simclr"

lists_all() {
    local file name
    simclr >list && simclr -h >list2 && cmp list list2 || return 1
    for file in "$at"/libexec/simclr/* "$ROOT"/pipelines/*; do
        name=${file##*/}
        [[ -f $file && -x $file && $name != simclr && $name != *.* ]] || continue
        grep -qE "^  $name +[A-Za-z]" list || { echo "$name is not listed" && return 1; }
    done
    [ "$(grep -c '^  evaluate ' list)" = 1 ] && ! grep -qE '^  (common.sh|simclr|slurm.sbatch) *$' list && ! grep -q '^Others' list
}
check "without arguments and with -h it lists all commands in groups" lists_all
helps() {
    simclr help train >out && simclr train --help | cmp - out &&
        simclr help encode >out && simclr encode --help | cmp - out
}
check "help NAME prints --help where there is no terminal" helps
manual() { # on a terminal: the page beside the tree
    mkdir -p "$at/share/man/man1" "$at/share/man/man5" stubs && rm -f "$at/share/man/man1/simclr-"{sgd,lars}.1 && : >"$at/share/man/man1/simclr-encode.1" &&
        : | gzip >"$at/share/man/man1/simclr-lars.1.gz" && : >"$at/share/man/man5/simclr-frames.5" || return 1
    printf '#!/bin/sh\necho "page: $1"\n' >stubs/man && chmod +x stubs/man || return 1
    local -x PATH=$T/stubs:$at/bin:$plain_path
    script -qec 'simclr help encode; simclr help lars; simclr help sgd; simclr help frames' /dev/null </dev/null >out 2>&1 || return 1
    grep -qF "page: $at/share/man/man1/simclr-encode.1" out && grep -qF "page: $at/share/man/man1/simclr-lars.1.gz" out &&
        grep -q '^sgd: ' out && grep -qF "page: $at/share/man/man5/simclr-frames.5" out
}
if command -v script >/dev/null; then
    check "help NAME shows the man page on a terminal" manual
else
    skip "help NAME shows the man page on a terminal" "no script"
fi

nearest_is() { # WANTED WORD NAME...
    [ "$(simclr --nearest "${@:2}")" = "$1" ]
}
check "--nearest" nearest_is batch btach steps batch epochs
check "--nearest with words like options" nearest_is --help --hepl --version --help
check "--nearest of words that are far" nearest_is '' loss steps batch
check "--nearest of no words" nearest_is '' loss
printf '#!/bin/sh\ntouch executed\n' >"$at/share/evil" && cp "$at/share/evil" "$at/libexec/evil" &&
    cp "$at/share/evil" "$at/libexec/simclr/.evil" && chmod +x "$at/share/evil" "$at/libexec/evil" "$at/libexec/simclr/.evil"
check_fails 2 "a misspelt name" "^simclr: 'trian' is no command; did you mean 'train'\? \(simclr --help lists all\)" simclr trian --steps 5
check_fails 2 "a name like none" "^simclr: 'xyzzy' is no command \(simclr" simclr xyzzy
for name in ../evil ../../share/evil ./augment "$at/libexec/evil" .. . .evil '' common.sh slurm.sbatch simclr 'augment ' $'augment\n'; do
    check_fails 2 "a name that is none of a command: '${name//$'\n'/?}'" 'is no command' simclr "$name"
done
check_fails 2 "help for a name that is none" "'trian' is no command; did you mean 'train'" simclr help trian
check_fails 2 "an unknown option" "^simclr: " simclr --exec-paht
check_fails 2 "two options" '--exec-path or --share-path' simclr --exec-path --share-path
check_fails 1 "stdout cannot be written to" 'simclr: stdout' sh -c '"$0" --exec-path >/dev/full' "$at/bin/simclr"
check "none of these was executed" test ! -e executed

# ---- runs by other users, in odd places ----
options=(--data 'da ta/images' --batch 16 --steps 2 --seed 7 --encoder 'encode --width 0.0625 --threads 1' --restarts 0)
check "a run in a plain environment" "$ROOT/pipelines/train" --run plain "${options[@]}"
[ -f plain/model.safetensors ] || exit 1
rm -rf 'che ckout' && mkdir 'che ckout' work && cp -r "$ROOT/pipelines" 'che ckout' && cp -r "$bin" 'che ckout/bin'
chmod -R a-w,a+rX "$at" 'che ckout' 'da ta' plain
touch stamp
long="$T/work/$(printf 'long er%.0s' $(seq 20))"
mkdir "$long"
language=(LC_ALL=C)
fixture locales
if [ "$(LOCPATH=$T/locales LC_ALL=de_DE.UTF-8 /usr/bin/printf '%.1f' 0 2>/dev/null)" = 0,0 ]; then
    language=(LOCPATH="$T/locales" LC_ALL=tr_TR.UTF-8)
else
    skip "other languages" "no localedef, or no locales for it"
fi
user=()
if [ "$(id -u)" = 0 ]; then
    user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown 65534:65534 work "$long"
fi
check "the tree cannot be written to" sh -c '! "$@" 2>/dev/null' sh "${user[@]}" touch "$at/new"
strange() { # COMMAND...: by that user, with a TMPDIR that is too long for a socket
    in_time "${user[@]}" env -i PATH="$at/bin:$plain_path" HOME=/nonexistent TMPDIR="$long" OMP_WAIT_POLICY=passive "${language[@]}" "$@" \
        >out 2>&1 || { cat out && return 1; }
    [ -z "$(ls -A "$long")" ]
}
new() { # NAME: the folder of a run, which has blanks in its name
    echo "work/ru n/$1"
}
same_model() {
    cmp "$(new "$1")/model.safetensors" plain/model.safetensors
}
strange_run() { # NAME COMMAND...
    strange "${@:2}" --run "$(new "$1")" "${options[@]}" && same_model "$1"
}
check "train, installed" strange_run train simclr train
check "train in a read-only checkout" strange_run checkout 'che ckout/pipelines/train'
ln -s "$at/share/simclr/pipelines/train" links/train
check "an installed pipeline through a symbolic link" strange_run linked links/train
check "distributed" strange_run two simclr distributed --workers 2 --threads 1
if [ "${language[0]}" != LC_ALL=C ]; then
    language[1]=LC_ALL=de_DE.UTF-8
fi
tuned() {
    strange simclr finetune --run "$(new tuned)" --from plain --steps 2 --batch 16 && grep -q 'top-1 on the test split: [0-9]*\.[0-9] %' out
}
check "finetune" tuned
judged() {
    strange simclr judge --run "$(new train)" --on h --bootstrap 0 --limit 30 && grep -q '^trained encoder  *[0-9]*\.[0-9]' out &&
        [ -s "$(new train)/evaluation/results.tsv" ]
}
check "judge" judged
check "embed" strange simclr embed --run "$(new train)" --limit 10 --out 'work/em bedded'
python_stage() { # a stage from the installed examples
    strange sh -c 'simclr augment --data shapes --batch 8 --steps 1 | simclr encode --width 0.0625 | simclr project |
        /usr/bin/python3 "$(simclr --share-path)/examples/ntxent.py" | simclr inspect --meta loss' && grep -qE '^[0-9.]+$' out
}
check "an installed example" python_stage
nowhere() { # without --run, the folder is below the current one
    cd 'che ckout' && "${user[@]}" "$at/bin/simclr" train --data shapes --steps 1 >../out 2>../err && return 1
    [ "$(wc -l <../err)" = 1 ] && grep -qE '^train: runs: (Permission denied|Read-only file system)' ../err
}
check "a run in a folder that cannot be written to is one line" nowhere
cd "$T"
check "the trees are as they were" sh -c '! find "$@" -newer stamp | grep .' sh "$at" 'che ckout'
chmod -R u+w "$at" 'che ckout' 'da ta' plain
done_testing
