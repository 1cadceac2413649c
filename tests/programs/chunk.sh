#!/usr/bin/env bash
# Tests of encode --chunk: the same bits as without it if a chunk holds the whole batch, the same bits
# from any number of threads, and memory for one chunk only.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

run() { # folder, encode's options
    local folder=$1 optimizer="exec:lars --warmup-steps 1 --model $1"
    shift
    mkdir "$folder"
    augment --data shapes --batch 24 --seed 3 --steps 3 --grains 4 |
        encode --width 0.125 --seed 3 "$@" --opt "$optimizer/model.safetensors" \
            --next "exec:project --seed 3 --opt '$optimizer/head.safetensors' --next exec:ntxent" |
        progress --log "$folder/metrics.tsv" >"$folder.st" 2>"$folder.err"
}
same_model() {
    cmp "$1/model.safetensors" "$2/model.safetensors" && cmp "$1/head.safetensors" "$2/head.safetensors"
}
first_loss() {
    awk -F'\t' 'FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "loss") c = i } FNR == 2 { print $c }' \
        "$1/metrics.tsv"
}

check "a run with a whole batch at once" run whole --threads 2
for chunk in 24 100; do
    check "a run in chunks of $chunk of 24" run chunk$chunk --chunk $chunk
    check "chunks of $chunk give the same bits" same_model whole chunk$chunk
done
for chunk in 6 7 1; do
    check "a run in chunks of $chunk with 1 thread" run one$chunk --chunk $chunk --threads 1
    check "a run in chunks of $chunk with 3 threads" run three$chunk --chunk $chunk --threads 3
    check "chunks of $chunk give the same bits for any number of threads" same_model one$chunk three$chunk
done
check_fails 1 "batch norm uses the chunk's statistics, so the bits differ from those of a whole batch" '' \
    sh -c 'cmp whole/model.safetensors one6/model.safetensors >&2'
check "but the first loss is about the same" \
    awk "BEGIN { d = $(first_loss whole) - $(first_loss one6); exit !(d != 0 && d * d < 0.04) }"
check "a bf16 run in chunks of 7" run bf16 --chunk 7 --precision bf16
check_fails 2 "a negative chunk is refused" 'chunk' encode --chunk -1

# Measures the largest process of a step.
cat >peak.py <<'P'
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
with open(sys.argv[1], "w") as f:
    f.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
P
peak() { # file, encode's options
    local file=$1
    shift
    /usr/bin/python3 peak.py "$file" "$ROOT/pipelines/train" --run "$file-run" --batch 256 --steps 1 \
        --encoder "encode --width 0.125 $*"
}
check "a step with 512 views at once" peak whole.kib
check "a step with 512 views in chunks of 32 images" peak chunk.kib --chunk 32
check "chunks take less than a third of the memory" \
    sh -c '[ $((3 * $(cat chunk.kib))) -lt "$(cat whole.kib)" ]'
done_testing
