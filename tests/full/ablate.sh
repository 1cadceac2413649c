#!/usr/bin/env bash
# Tests of pipelines/ablate: grids, shared and resumed runs, tables and pictures.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive
ablate=$ROOT/pipelines/ablate
# A study of the smallest possible runs.
mkdir images
/usr/bin/python3 "$ROOT/tests/programs/tiny_cifar.py" images 64 60
small=(--data "$T/images" --encoder 'encode --width 0.0625' --batch 16 --epochs 1 --limit 64)

check_fails 2 "no study" 'which study' "$ablate"
check_fails 2 "an unknown study" 'unknown study' "$ablate" heads
check_fails 2 "an unknown scale" 'scale' "$ablate" head --scale huge
check_fails 2 "no data" 'data' "$ablate" head --scale small
check_fails 2 "a batch that is no number" 'batch' "$ablate" head --batch x

# The commands of every study must consist of options that the other pipelines and the programs
# know.
lists() { # scale: runs each command with --help in place of a run
    "$ablate" all --list --scale "$1" --data shapes >"list.$1" || return
    ! grep -vE '^pipelines/(train|finetune) --run [^ ]+ --data shapes ' "list.$1"
}
for scale in tiny small full; do
    check "$scale: all studies are listed" lists $scale
done
stages_know() { # --help comes last, so the options before it are checked
    grep -oE -- "--(loss|projector|predictor|encoder|augment|optimizer) ('[^']*'|[^ ]+)" list.full | sort -u |
        sed -E "s/^--[a-z]+ //; s/^'(.*)'\$/\1/" >stages
    [ "$(wc -l <stages)" -gt 20 ] || return
    local stage
    while read -r stage; do
        bash -c "$stage --help" >/dev/null || { echo "$stage"; return 1; }
    done <stages
}
check "each stage of each study has only options that its program knows" stages_know
has_methods() { # programs of losses are those that call loss_run()
    "$ablate" loss --list --run r | grep -oE -- "--loss ('[a-z]+|[a-z]+)" | tr -d "'" | awk '{ print $2 }' | sort -u >shown
    grep -l 'loss_run(' "$ROOT"/cmd/*/*.c | sed 's,.*/,,; s,\.c$,,' | sort | diff - shown
}
check "the study of losses has each program that is a loss" has_methods
lists_base_once() {
    [ "$("$ablate" head loss temperature --list | grep -c 'run runs/ablate-tiny/base ')" = 3 ] &&
        [ "$("$ablate" head loss temperature --list | grep 'run runs/ablate-tiny/base ' | sort -u | wc -l)" = 1 ]
}
check "studies share the base run" lists_base_once

check "a study runs" "$ablate" head "${small[@]}" --run "$T/a b" --jobs 2
rows() { # each head has a row, evaluated before and after the head
    awk -F '\t' 'NR > 1 { if (!($3 > 1 && $4 <= $3 && $3 <= $5 && $6 > 1 && $7 > 1)) exit 1 } END { exit NR != 5 }' "$T/a b/head.tsv"
}
check "its table has a row for each head" rows
is_picture_of() { # MARKS (before and after each head), FILE
    grep -q '<svg ' "$2" && [ "$(grep -c "xlink:href='#gpPt" "$2")" -ge "$1" ]
}
check "the picture has a mark for each result" is_picture_of 8 "$T/a b/head.svg"
same_figures() { # in the Markdown table
    grep -q "| nonlinear | 128 | $(awk -F '\t' '$1 == "nonlinear" { printf "%.1f", $3 }' "$T/a b/head.tsv") (" "$T/a b/head.md"
}
check "the table in Markdown has the same figures" same_figures
again() { # nothing may be trained twice
    local before after
    before=$(stat -c %y "$T/a b/base/state.safetensors")
    cp "$T/a b/head.tsv" before.tsv
    "$ablate" head "${small[@]}" --run "$T/a b" 2>again.err || return
    after=$(stat -c %y "$T/a b/base/state.safetensors")
    [ "$before" = "$after" ] && cmp before.tsv "$T/a b/head.tsv" && [ ! -s again.err ]
}
check "the same command again: nothing is computed twice" again
tables_alone() { # of the runs that exist; none may be made, even beside another ablate
    cp -r "$T/a b" part && rm -r part/head-none part/base/evaluation || return
    exec 8>>part/lock && flock 8
    "$ablate" head loss "${small[@]}" --run "$T/part" --table >part.out 2>part.err || return
    exec 8>&-
    grep -vE '^(none|nonlinear)' before.tsv | cmp - part/head.tsv && is_picture_of 4 part/head.svg &&
        [ ! -e part/head-none ] && [ ! -e part/loss.tsv ] &&
        printf 'ablate: %s runs are done\n' 'head: 2 of 4' 'loss: 0 of 13' | cmp - part.err
}
check "--table makes tables and pictures of the finished runs" tables_alone
check_fails 1 "--table where no study was run" 'no study' "$ablate" head "${small[@]}" --run "$T/none" --table
check "--table makes no folder for a run" test ! -e none
restarts() { # an incomplete run must be resumed, and a missing one made again
    rm -r "$T/a b/head-none" "$T/a b/base/evaluation"
    "$ablate" head "${small[@]}" --run "$T/a b" && cmp before.tsv "$T/a b/head.tsv"
}
check "missing results are made again and are the same" restarts
check_fails 1 "a folder with other settings" 'other settings' "$ablate" head "${small[@]}" --seed 1 --run "$T/a b"
fails() {
    ! "$ablate" head "${small[@]}" --encoder 'encode --arch none' --run "$T/bad" 2>bad.err &&
        grep -q 'arch' bad.err && [ ! -e "$T/bad/head.tsv" ]
}
check "a run that fails ends the study without a table" fails
done_testing
