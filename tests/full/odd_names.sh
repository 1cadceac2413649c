#!/usr/bin/env bash
# Runs every pipeline with file names that break careless scripts: figures and models must be those of
# plain names, and no name may be executed. tests/programs/environments.sh has a few of them.
# shellcheck disable=SC2016 # that is what they are called
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

small=(--batch 16 --steps 2 --restarts 0)
encoder=(--encoder 'encode --width 0.0625 --threads 1')
mkdir plain tmp
export TMPDIR=$T/tmp
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/tiny_cifar.py" plain 40 40
newline='new
line'

all_of() { # RUN DATA TUNED OUT: runs every pipeline with these names
    pipelines=$ROOT/pipelines
    "$pipelines/train" --run "$1" --data "$2" "${small[@]}" "${encoder[@]}" &&
        "$pipelines/distributed" --run "$1.2" --workers 2 --data "$2" "${small[@]}" "${encoder[@]}" &&
        "$pipelines/judge" --run "$1" --out "$4" --bootstrap 0 --on h,z &&
        "$pipelines/judge" --run "$1" --bootstrap 0 --task flip --on h &&
        "$pipelines/judge" --run "$1" --bootstrap 0 --checkpoints &&
        "$pipelines/finetune" --run "$3" --from "$1" "${small[@]}" &&
        "$pipelines/finetune" --run "$3.2" --data "$2" --from "$1/model.safetensors" "${small[@]}" "${encoder[@]}" &&
        "$pipelines/train" --run "$1" --resume && "$pipelines/finetune" --run "$3" --resume
}
same_results() { # NAME
    cmp "run $1/model.safetensors" ../run/model.safetensors && cmp "run $1.2/model.safetensors" ../run/model.safetensors &&
        cmp "out $1/results.tsv" ../out/results.tsv && cmp "tuned $1/test.json" ../tuned/test.json &&
        cmp "tuned $1.2/model.safetensors" ../tuned/model.safetensors
}
plainly() {
    all_of run plain tuned out >said 2>&1 || { cat said && return 1; }
}
check "every pipeline with plain names" plainly
named() { # NAME
    rm -rf here && mkdir here && cp -r plain "here/$1" && cd here || return 1
    all_of "run $1" "$1" "tuned $1" "out $1" >said 2>&1 ||
        { tail -n 5 said && return 1; }
    same_results "$1"
}
for name in "a b it's say \"so\"" '$(touch executed)`touch executed`' "$newline"'tab	x' 'gr'$'\303\274''n' \
    'x,exec:touch executed' 'exec:touch executed' 'tcp:' '-dash' '~a=b*[a]{a,b}%s' '#a\nb ends ' \
    '!;touch executed|touch executed&'; do
    check "names with ${name//[$'\n\t']/?}" named "$name"
    cd "$T"
done
check "nothing was executed" test -z "$(find . -name executed)"
check "nothing is left in TMPDIR" test -z "$(ls -A tmp)"

# Folders with such names, in which everything else is.
in_place() { # NAME
    rm -rf place && mkdir -p "place/$1/tmp" && cp -r plain "place/$1" && cd "place/$1" || return 1
    (
        export TMPDIR=$PWD/tmp
        all_of run plain tuned out >said 2>&1
    ) || { tail -n 5 said && return 1; }
    cmp run/model.safetensors "$T/run/model.safetensors" && cmp tuned/test.json "$T/tuned/test.json" && [ -z "$(ls -A tmp)" ]
}
for name in "it's a \$(touch executed)" "gr"$'\303\274'"n $newline" 'x,exec:touch executed'; do
    check "in a folder called ${name//[$'\n\t']/?}" in_place "$name"
    cd "$T"
done
check "nothing was executed there" test -z "$(find . -name executed)"
done_testing
