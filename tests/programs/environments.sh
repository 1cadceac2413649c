#!/usr/bin/env bash
# Runs pipelines in environments, and with file names, that break careless scripts. Each run must make
# the same model as in a plain environment, or fail with one line. No name may be executed, and only
# the run's own files may be removed. tests/full/odd_names.sh tests all names with all pipelines.
# shellcheck disable=SC2016 # that is what they are called
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

train=$ROOT/pipelines/train
options=(--batch 16 --steps 2 --seed 7 --encoder 'encode --width 0.0625 --threads 1' --restarts 0)
mkdir images
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/tiny_cifar.py" images 40 40
mkdir tmp
export TMPDIR=$T/tmp
run() { # FOLDER, command before the pipeline, ...: runs the pipeline in that environment
    local folder=$1
    shift
    in_time "$@" "$train" --run "$folder" --data images "${options[@]}" >out 2>&1 || { cat out "$folder/log.txt" && return 1; }
}
same() { # FOLDER
    cmp "$1/model.safetensors" plain/model.safetensors
}
run_same() {
    rm -rf r
    run r "$@" && same r && [ -z "$(ls -A tmp)" ]
}
check "a run in a plain environment" run plain
[ -f plain/model.safetensors ] || exit 1

# ---- environments ----
fixture locales
if export LOCPATH=$T/locales && [ "$(LC_ALL=de_DE.UTF-8 /usr/bin/printf '%.1f' 0 2>/dev/null)" = 0,0 ]; then
    for locale in de_DE tr_TR; do
        check "$locale" run_same env LC_ALL=$locale.UTF-8
    done
    german() {
        LC_ALL=de_DE.UTF-8 "$ROOT/pipelines/judge" --run plain --on h --bootstrap 0 >de.out 2>de.err || { cat de.err && return 1; }
        cp plain/evaluation/results.tsv de.tsv
        "$ROOT/pipelines/judge" --run plain --on h --bootstrap 0 >plain.out 2>/dev/null &&
            cmp plain.out de.out && cmp plain/evaluation/results.tsv de.tsv && ! grep -q '0,0' de.out
    }
    check "de_DE: judge prints the same figures" german
    german_tuned() {
        LC_ALL=de_DE.UTF-8 "$ROOT/pipelines/finetune" --run de-tuned --from plain --steps 2 --batch 16 >tuned.out 2>&1 || { cat tuned.out && return 1; }
        local top1
        top1=$(sed -n 's/.*"top1": *\([0-9.eE+-]*\).*/\1/p' de-tuned/test.json)
        grep -qF "top-1 on the test split: $(awk -v x="$top1" 'BEGIN { printf "%.1f", 100 * x }') %" tuned.out
    }
    check "de_DE: finetune prints its figure" german_tuned
else
    skip "de_DE and tr_TR" "no localedef, or no locales for it"
fi
check "noclobber" run_same env SHELLOPTS=noclobber
check "noclobber by bash, without -p" run_same env SHELLOPTS=noclobber bash
check "other options of bash" run_same env BASHOPTS=failglob:nullglob:nocasematch:xpg_echo SHELLOPTS=errexit:noglob bash
check "POSIXLY_CORRECT" run_same env POSIXLY_CORRECT=1
check "POSIXLY_CORRECT by bash, without -p" run_same env POSIXLY_CORRECT=1 bash
check "CDPATH" run_same env CDPATH="$T:/:/usr"
check "no HOME" run_same env -u HOME
check "IFS and BASH_ENV" run_same env IFS=/ BASH_ENV="$T/none"
printf 'touch executed\n' >rc
check "ENV and BASH_ENV are not run" run_same env BASH_ENV="$T/rc" ENV="$T/rc"
check "umask 077" run_same sh -c 'umask 077; exec "$@"' sh
private() {
    [ "$(stat -c %a r/model.safetensors r/options r/metrics.tsv r/state.safetensors | sort -u)" = 600 ]
}
check "umask 077 is respected" private
for closed in '>&-' '2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
    check "with $closed" run_same sh -c "exec \"\$@\" $closed" sh
done
check "functions of the environment" run_same env 'BASH_FUNC_dirname%%=() { touch executed; }' 'BASH_FUNC_date%%=() { touch executed; }'

for name in 'a b' '$(touch executed)' '`touch executed`' "quote's" 'comma,exec:touch executed' '-dash'; do
    mkdir -p "tmps/$name" && echo canary >"tmps/$name/canary" || exit 1
done
echo canary >a # a file that `>$TMPDIR/...` without quotes would empty
temporary() { # TMPDIR
    run_same env TMPDIR="$1" && { [ ! -d "$1" ] || [ "$(ls -A "$1")" = "${2-}" ]; }
}
for name in tmps/*; do
    check "TMPDIR is ${name#tmps/}" temporary "$T/$name" canary
done
check "TMPDIR is relative" temporary 'tmps/a b' canary
check "TMPDIR is missing" temporary "$T/missing"
check "TMPDIR is a file" temporary "$T/rc"
check "TMPDIR cannot be written to" run_same env TMPDIR=/proc
long=$T/$(printf 'l%.0s' $(seq 90))
mkdir "$long"
check "TMPDIR is too long for a socket" temporary "$long"
canaries() {
    [ "$(cat tmps/*/canary | sort -u)" = canary ] && [ "$(find tmps -name canary | wc -l)" = 6 ] && [ "$(cat a)" = canary ]
}
check "nothing in TMPDIR was removed or emptied" canaries

# ---- names ----
newline='new
line'
everything="it's \"\$(touch executed)\`touch executed\` gr"$'\303\274'"n $newline	x,exec:touch executed"
named() { # NAME: of the data and of the run
    rm -rf named && mkdir named && cp -r images "named/$1" && cd named || return 1
    in_time "$train" --run "runs/$1" --data "$1" "${options[@]}" >out 2>&1 || { cat out "runs/$1/log.txt" && return 1; }
    cmp "runs/$1/model.safetensors" ../plain/model.safetensors && "$train" --run "runs/$1" --resume | grep -q complete
}
for name in "$everything" -dash 'exec:touch executed' 'a=b'; do
    check "a run and data called ${name//[$'\n\t']/?}" named "$name"
    cd "$T"
done
judged() { # NAME: evaluates a run of that name in the current folder
    rm -rf judged && mkdir judged && cp -r images judged && cd judged || return 1
    in_time "$train" --run "$1" --data images "${options[@]}" >out 2>&1 || { cat out && return 1; }
    in_time "$ROOT/pipelines/judge" --run "$1" --on h --bootstrap 0 --limit 30 >out 2>err || { cat err && return 1; }
    [ -s "./$1/evaluation/results.tsv" ] && [ "$(find "./$1/evaluation" | grep -c work)" = 0 ]
}
for name in "${everything//\//}" 'exec:touch executed'; do
    check "a run called ${name//[$'\\n\\t']/?} is evaluated" judged "$name"
    cd "$T"
done
check "nothing was executed" test -z "$(find . -name executed)"

# ---- no room ----
cut_off() { # a limit on file sizes below that of the state: no part of it may stay
    local status=0
    rm -rf full
    (ulimit -f 40 && in_time "$train" --run full --data images "${options[@]}" --save-every 1 >/dev/null 2>full.err) || status=$?
    cat full.err
    [ $status = 1 ] && grep -qE 'the optimizer (was killed by SIGXFSZ|exited with status 1)' full.err && [ ! -e full/model.safetensors ] || return 1
    "$train" --run full --data images "${options[@]}" --save-every 1 >out 2>&1 && same full && [ -z "$(find full -name '*.tmp-*')" ]
}
check "a truncated state leaves no file, and the run can be resumed" cut_off
if unshare -m sh -c 'mkdir -p small && mount -t tmpfs -o size=32k none small' 2>/dev/null; then
    rm -rf r
    full_disk() {
        mkdir -p none small
        unshare -m bash -c 'mount -t tmpfs -o size=32k none small && mount -t tmpfs -o nr_inodes=1 none none || exit 1
            export TMPDIR=$PWD/none
            "$@" --run small/r >small.out 2>small.err
            echo $? >small.status
            find small -name "*safetensors*" >small.left
            "$@" --run r >out 2>&1' bash timeout 120 "$train" --data images "${options[@]}" || { cat small.err out && return 1; }
        cat small.err
        [ "$(cat small.status)" = 1 ] && [ -s small.err ] && [ ! -s small.left ] && same r && [ -z "$(ls -A tmp)" ]
    }
    check "a run fails if its disk is full; if that of TMPDIR is full, another folder is used" full_disk
else
    skip "full disks" "no mounts here"
fi

# ---- where the pipelines are ----
linked() {
    mkdir -p 'l i n k' && ln -sf "$train" 'l i n k/train' && ln -sfn "$ROOT/pipelines" folder && rm -rf r &&
        'l i n k/train' --run r --data images "${options[@]}" >out 2>&1 && same r && rm -rf r &&
        (PATH="$T/l i n k:$PATH" && train --run r --data images "${options[@]}") >out 2>&1 && same r &&
        folder/judge --help >/dev/null && folder/finetune --help >/dev/null && folder/distributed --help >/dev/null &&
        folder/ablate --help >/dev/null
}
check "pipelines started through symbolic links" linked

# ---- several at once ----
at_once() {
    local i status won=0 pids=()
    rm -rf shared
    for i in 1 2 3; do
        "$train" --run shared --data images "${options[@]}" --seed "$i" >"at$i.out" 2>"at$i.err" &
        pids+=($!)
    done
    for i in 1 2 3; do
        status=0
        wait "${pids[i - 1]}" || status=$?
        if [ $status = 0 ]; then
            won=$((won + 1))
            grep -qx -- "--seed $i" shared/options || return 1
        else
            cat "at$i.err"
            [ $status = 1 ] && [ "$(wc -l <"at$i.err")" = 1 ] || return 1
            grep -qE 'another run is at work|holds a run already' "at$i.err" || return 1
        fi
    done
    [ $won = 1 ]
}
check "three runs started in one second: one starts, with its own seed" at_once
own_names() {
    local i pids=()
    for i in 1 2 3; do
        "$train" --data images "${options[@]}" >/dev/null 2>&1 &
        pids+=($!)
    done
    all_end "${pids[@]}" && [ "$(find runs -name model.safetensors | wc -l)" = 3 ]
}
check "without --run each run has a folder of its own" own_names

# ---- a run's options are data ----
for line in 'touch executed' 'data="$(touch executed)"' '--data $(touch executed)' '--batch 16; touch executed'; do
    poisoned() {
        rm -rf poisoned && cp -r plain poisoned && echo "$line" >>poisoned/options
        for command in 'train --run poisoned --resume' 'judge --run poisoned --on h' 'finetune --run tuned-poisoned --from poisoned --steps 1'; do
            # shellcheck disable=SC2086
            if "$ROOT/pipelines/"$command >out 2>err; then cat out && return 1; fi
            [ "$(wc -l <err)" = 1 ] || { cat err && return 1; }
        done
    }
    check "options that contain the line: $line" poisoned
done
check "no option was executed" test -z "$(find . -name executed)"

# ---- a resumed run has its own settings ----
state_of() {
    sha256sum plain/options plain/state.safetensors plain/model.safetensors
}
before=$(state_of)
for option in '--batch 32' '--seed 8' '--limit 20' '--data shapes' '--steps 1' '--encoder encode' '--projector project --layers 1' \
    '--loss ntxent --temperature 1' '--optimizer sgd' '--augment augment --size 16' '--hold 0.5' '--epochs 3'; do
    check_fails 1 "--resume $option" "plain was started (with|without) ${option%% *}" "$train" --run plain --resume "${option%% *}" "${option#* }"
done
check "a refused run leaves no change" test "$before" = "$(state_of)"
check "options that change no figure may differ" "$train" --run plain --resume --restarts 2 --save-every 7 --timeout 30
longer() {
    rm -rf further && cp -r plain further
    "$train" --run further --resume --steps 5 >out 2>&1 && grep -q 'train: --steps is 5 now, after 2' out &&
        [ "$(inspect --meta step <further/state.safetensors)" = 5 ] && grep -qx -- '--steps 5' further/options
}
check "--resume --steps 5 resumes from step 2" longer

# ---- usage ----
for option in '--batch 0' '--batch x' '--batch -1' '--restarts x' '--steps 1.5' '--epochs 0' '--limit 1e3' '--seed' '--seed x' \
    '--timeout 0' '--timeout x' '--hold 2' '--hold 0' '--save-every -1' '--batch 99999999999999999999' '--lose x' '--=x' '-b 1' 'word'; do
    mapfile -d ' ' -t words < <(printf '%s' "$option")
    check_fails 2 "train $option" "^train: .*--help lists the options" "$train" "${words[@]}"
done
for option in '--batch 0' '--restarts x' '--workers 0' '--workers two' '--port 65534' '--port x' '--threads 0' '--address a;b'; do
    check_fails 2 "distributed $option" "^distributed: ${option%% *}" "$ROOT/pipelines/distributed" "${option%% *}" "${option#* }"
done
for option in '--batch 0' '--restarts x' '--labels 0' '--labels 2' '--labels x' '--freeze layer9'; do
    check_fails 2 "finetune $option" "^finetune: ${option%% *}" "$ROOT/pipelines/finetune" "${option%% *}" "${option#* }"
done
for option in '--k 0' '--k x' '--limit x' '--bootstrap x' '--hold x' '--l2 x' '--on q' '--timeout 0' '--seed -1'; do
    check_fails 2 "judge $option" "^judge: ${option%% *}" "$ROOT/pipelines/judge" --run plain "${option%% *}" "${option#* }"
done
check "none of the refused runs was begun" test "$(find runs -mindepth 1 -maxdepth 1 | wc -l)" = 3
printf '%s\n' '-oProxyCommand=touch executed' >hosts
check_fails 1 "a host that looks like an option" 'is no name of a host' "$ROOT/pipelines/distributed" --run h --hosts hosts
done_testing
