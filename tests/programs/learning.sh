#!/usr/bin/env bash
# Tests of what shows whether an encoder learns: grad_norm in the metrics, the warning of progress, and
# evaluate --method geometry. losses.sh tests z_std and alignment of the losses.
# shellcheck disable=SC2016 # scripts that expand by themselves
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1

if ! python_has numpy; then
    skip "learning" "python3-numpy is not installed"
    done_testing
    exit
fi
learning="/usr/bin/python3 $ROOT/tests/programs/learning.py $ROOT" # in commands of links
py() {
    in_time /usr/bin/python3 "$ROOT/tests/programs/learning.py" "$ROOT" "$@"
}

# ---- grad_norm ----

train() { # NAME, LINK of encode's optimizer, options of encode: NAME.st has the metrics
    augment --data shapes --size 16 --batch 16 --steps 3 --grains 4 |
        encode --width 0.0625 --opt "$2" "${@:3}" \
            --next "exec:project --dim 8 --opt exec:lars --next exec:ntxent" >"$1.st"
}
is_recorded() { # NAME, optimizer, options of encode
    train "$1" "exec:tee $1.requests | $2" "${@:3}" && py norms "$1.requests" "$1.st"
}
lars="lars --warmup-steps 1"
check "grad_norm is the norm of the gradients on the link" is_recorded whole "$lars"
check "grad_norm is right with chunks" is_recorded chunks "$lars" --chunk 4
check "grad_norm is right with adam and --wire bf16: that of the rounded gradients" is_recorded bf16 adam --wire bf16
check "grad_norm is right with frozen blocks" is_recorded frozen "$lars" --freeze layer2
same_norms() { # NAME, LINK
    train "$1" "$2" && cmp <(inspect --meta grad_norm "$1.st") <(inspect --meta grad_norm whole.st) && [ -s whole.st ]
}
check "three optimizers of a shard give the same bits" same_norms shards \
    "exec:shard --next 'exec:$lars --model a,exec:$lars --model b,exec:$lars --model c'"
no_norm() { # NAME, ARGUMENTS of learning.py
    train "$1" "exec:$lars | $learning ${*:2}" && [ -z "$(inspect --meta grad_norm "$1.st" | tr -d '\n')" ] &&
        [ "$(inspect --meta lr "$1.st" | grep -c .)" = 3 ]
}
check "an optimizer that does not tell the squares: no grad_norm" no_norm silent silent none
check "an optimizer that tells some of the squares: no grad_norm" no_norm partial silent conv1.weight
wrong() { # VALUE
    train wrong "exec:$lars | $learning wrong $1" 2>err && return
    grep '^encode: ' err >&2 # the others lose their peers
    return 1
}
for value in -1 many; do
    check_fails 1 "an optimizer whose squares are $value" "squares/.* is '?$value'?(: a sum of squares|, not a number)" wrong $value
done

# ---- the warning ----

py metrics # writes the streams NAME.st
warns() { # NAME, REGEX or nothing: progress prints one such line, or none
    progress <"$1.st" 2>&1 >/dev/null | { grep '^progress: ' || true; } >said
    if [ -n "${2:-}" ]; then
        [ "$(wc -l <said)" = 1 ] && grep -qE "$2" said
    else
        [ ! -s said ]
    fi
}
collapse='z_std has been under 0.05 for 100 steps \(0.049 in step 99\)'
check "z_std under 0.05 in 100 frames is a collapse" warns collapsed "$collapse"
check "in 99 frames it is none" warns interrupted
check "a frame without z_std breaks the window" warns gap
check "z_std of 0.05 is none" warns border
check "another run in the same stream breaks the window" warns two-runs
check "unknown steps do not" warns no-steps 'z_std has been under 0.05'
chance='the loss has stayed within 1% of ln\(2B-1\) = 5.541, .* for 200 steps: nothing is being learned'
check "a loss at chance over 200 frames is reported" warns chance "$chance"
check "also if it scatters" warns scattered "$chance"
check "over 199 frames it is not" warns short
check "a loss that is 2 % off is not" warns near
check "a loss that passes through is not" warns falling
check "a classifier's loss is not" warns classifier
check "a frame without a loss breaks the window" warns loss-gap
check "two runs of 150 frames are not" warns two-losses
check "a run is warned of once" warns both "$collapse"
resumed() { # the log has 60 collapsed steps, and 60 follow
    progress --log log.tsv <begun.st >/dev/null 2>&1
    progress --log log.tsv <resumed.st 2>err >/dev/null &&
        [ "$(wc -l <log.tsv)" = 121 ] && ! grep -q z_std err
}
check "a resumed run does not warn from half a window" resumed
not_a_number() {
    progress <words.st >/dev/null 2>err || { grep '^progress: ' err >&2; return 1; }
}
check_fails 1 "a z_std that is no number" "metadata z_std is 'few', not a number" not_a_number

# The loss `pull` of docs/stages.md pulls all features together. tests/full/collapse.sh also trains SimCLR.
awk "/^cat > pull.py <<'END'/ { on = 1; next } on && /^END/ { exit } on" "$ROOT/docs/stages.md" >pull.py
ln -s "$ROOT/examples" examples
pulled() {
    "$ROOT/pipelines/train" --run pull --steps 200 --batch 16 --encoder 'encode --width 0.0625' \
        --augment 'augment --size 16' --loss '/usr/bin/python3 pull.py' >pull.out 2>&1 &&
        [ "$(grep -c '^progress: ' pull.out)" = 1 ] &&
        grep -q '^progress: z_std has been under 0.05 for 100 steps' pull.out
}
check "the loss pull is reported within 200 steps" pulled

# ---- evaluate --method geometry ----

check "geometry agrees with numpy in float64 to 1e-6" py geometry
check "the same output for any number of threads" py threads
check "equal rows, one image, rows of zeros, pixels" py corners
py bad
geometry() { # NAME, options
    evaluate --method geometry --test "$1.st" "${@:2}"
}
check_fails 1 "another number of views" "'h' holds 1 views of each image, earlier frames another number" geometry fewer
check_fails 1 "no views" "'h' holds 0 views of each image" geometry views
check_fails 1 "a NaN" "row 5 of 'h' holds NaN or infinity" geometry nan
check_fails 1 "no such tensor" "no tensor 'z' to evaluate" geometry nan --on z
check_fails 1 "no rows" 'holds no rows' geometry empty
check_fails 2 "geometry with --train" 'no --train' evaluate --method geometry --train a --test b
check_fails 2 "geometry without --test" '--test is needed' evaluate --method geometry
done_testing
