#!/usr/bin/env bash
# Tests of methods with more stages than SimCLR's: a predictor, slow copies, a loss with a queue. The page
# docs/methods.md shows the pictures that tests/method_pictures.py draws.
# shellcheck disable=SC2016 # scripts that expand by themselves
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

train=$ROOT/pipelines/train
run() { # FOLDER, options
    local folder=$1
    shift
    "$train" --run "$folder" --batch 8 --steps 6 --save-every 2 --seed 7 --augment 'augment --size 8' \
        --encoder 'encode --width 0.0625 --threads 1' "$@" >>"$folder.out" 2>&1 || {
        cat "$folder.out"
        return 1
    }
}
same_model() {
    cmp "$1/model.safetensors" "$2/model.safetensors"
}

# ---- the stages get their links: stand-ins that write down their arguments ----

cat >predict <<'END'
#!/bin/sh
# A predictor that changes nothing, so it runs the next stage in its place.
printf '%s\n' "$@" >"$0.said"
while [ "$1" != --next ]; do shift; done
exec sh -c "exec ${2#exec:}"
END
cat >lose <<'END'
#!/bin/sh
printf '%s\n' "$@" >"$0.said"
exec ntxent
END
chmod +x predict lose
says() { # FILE LINE...: the arguments, with the run's folder of sockets as S
    sed -E 's,ipc:///[^ "]*/,ipc://S/,' "$1" | diff - <(printf '%s\n' "${@:2}")
}
check "a run without a predictor" run plain
between() {
    run between --predictor "./predict --name 'a  b'" --loss "./lose --note 'it'\''s' --queue 8" &&
        same_model plain between && says predict.said --name 'a  b' --seed 7 --opt ipc://S/optimizer \
            --next "exec:./lose --note 'it'\''s' --queue 8 --opt \"ipc://\$SIMCLR_SOCKETS/optimizer\""
}
check "a predictor is between projector and loss, and gets the seed, the optimizer and the loss" between
check "a loss with a queue gets the optimizer" says lose.said --note "it's" --queue 8 --opt ipc://S/optimizer
without_queue() {
    run none --steps 1 --loss "./lose --note ' --queue 8' \"--queue\"s --queues" &&
        says lose.said --note ' --queue 8' --queues --queues &&
        run zero --steps 1 --loss './lose --queue 0' && says lose.said --queue 0
}
check "a loss without one does not" without_queue
with_workers() {
    rm predict.said
    "$ROOT/pipelines/distributed" --recipe between/options --run workers --workers 2 --loss './lose --queue=8' &&
        same_model plain workers && [ -s predict.said ] && says lose.said --queue=8 --opt ipc://S/optimizer
}
check "so it is with several workers" with_workers
check_fails 2 "an empty command" "--predictor ' ': a command is needed" "$train" --predictor ' '
check_fails 1 "a run that began without a predictor" 'plain was started with --predictor ' "$train" --run plain --resume --predictor ./predict
older() { # a run of a version without predictors
    cp -r plain older && sed -i '/^--predictor/d' older/options && run older --resume --steps 7 &&
        grep -qx -- '--predictor ' older/options
}
check "a run that knows of no predictor is resumed" older
listed() {
    "$train" --help | grep -qx -- '  --predictor CMD   \[none\]' && "$train" --option-table | grep -q $'^predictor\tstring\tCMD\tnone\t' &&
        ! "$ROOT/pipelines/finetune" --help | grep -- --predictor
}
check "--help has it, but for finetune's" listed
# ---- BYOL and MoCo: slow copies and a queue, whose state the optimizer keeps ----

small='encode --width 0.0625 --threads 1 --ema 0.9'
# shellcheck disable=SC2034 # by their names
byol=(--encoder "$small" --projector 'project --dim 16 --ema 0.9' --predictor 'project --predictor --hidden 32 --dim 16' --loss byol)
# shellcheck disable=SC2034
moco=(--encoder "$small" --projector 'project --dim 16 --ema 0.9' --loss 'ntxent --queue 24 --temperature 0.2')
cat >once <<END
#!/bin/sh
# The command, which the first time fails after 3 replies.
if mkdir "\$0.began" 2>/dev/null; then exec "$ROOT/tests/programs/fail-after" 3 "\$@"; fi
exec "\$@"
END
chmod +x once
is_another() { # METHOD
    ! same_model plain "$1" && [ "$(wc -l <"$1/metrics.tsv")" = 7 ]
}
two_workers() { # METHOD
    "$ROOT/pipelines/distributed" --recipe "$1/options" --run "$1-2" --workers 2 && same_model "$1" "$1-2"
}
interrupted() { # METHOD, options: its loss dies in step 3, after the state of step 2
    rm -rf once.began
    run "$1-again" "${@:2}" --loss "./once ${*: -1}" && grep -q 'from the last state' "$1-again.out" && same_model "$1" "$1-again"
}
for method in byol moco; do
    declare -n options=$method
    check "$method: a run" run $method "${options[@]}"
    check "$method: it is another run than SimCLR's" is_another $method
    check "$method: 2 workers end with the same bits" two_workers $method
    check "$method: so does a run whose loss died and came back" interrupted $method "${options[@]}"
done
readable() { # the options of a run with a predictor and slow copies
    "$ROOT/pipelines/judge" --run byol --limit 40 --test-limit 20 --on h,z --bootstrap 10 &&
        "$ROOT/pipelines/embed" --run byol --limit 4 --on z --out embedded &&
        "$ROOT/pipelines/finetune" --from byol --steps 1 --batch 8 --run tuned &&
        "$ROOT/pipelines/report" --run byol --quick && grep -q 'project --predictor' byol/report.html
}
check "judge, embed, finetune and report read such a run" readable

# ---- the pictures ----

mkdir drawn
same_pictures() {
    "$ROOT/tests/method_pictures.py" drawn && diff -r drawn "$ROOT/docs/methods"
}
check "the pictures are drawn by the program (tests/method_pictures.py docs/methods)" same_pictures
are_shown() {
    diff <(grep -oE '\(methods/[a-z]+\.svg\)' "$ROOT/docs/methods.md" | tr -d '()' | sort) \
        <(cd drawn && printf 'methods/%s\n' *.svg)
}
check "the page shows each of them once" are_shown
done_testing
