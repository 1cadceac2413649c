#!/usr/bin/env bash
# The pages of pipelines/report in headless Chromium: a finished run with hostile names, a run that goes on,
# fine-tuning, several workers, time series, and data from commands. No page asks for anything, reports an
# error, runs a text of the run, or is wider than its window; and its figures are the run's.
. "$(dirname "$0")/../lib.sh"

if ! python_has selenium numpy PIL || ! command -v chromedriver >/dev/null; then
    skip "pages in a browser" "chromium, chromium-driver and python3-selenium are not installed"
    done_testing
    exit
fi
export OMP_WAIT_POLICY=passive
looks() { HANG=600 in_time /usr/bin/python3 "$ROOT/tests/full/report_browser.py" "$@"; }
page_has() { /usr/bin/python3 "$ROOT/tests/report_check.py" "$@"; }
small=(--batch 16 --encoder 'encode --width 0.125' --projector 'project --dim 16')
train() { "$ROOT/pipelines/train" "${small[@]}" "$@" >>train.out 2>&1; }
make_report() { "$ROOT/pipelines/report" --limit 200 --test-limit 150 "$@" >said 2>&1; }

# ---- a run that goes on ----

"$ROOT/pipelines/train" "${small[@]}" --run runs/long --steps 100000 --save-every 2 >>train.out 2>&1 &
long=$!
for _ in $(seq 600); do
    [ ! -f runs/long/state.safetensors ] || break
    sleep 0.2
done
make_report --run runs/long
check "a run that goes on has all parts but accuracy" page_has runs/long/report.html has map near views metrics working -results
check "a browser shows it" looks runs/long/report.html running
kill "$long"
wait "$long" 2>/dev/null
make_report --run runs/long --quick
check "a run that was stopped" looks runs/long/report.html stopped

# ---- a finished run, with hostile names ----

cat >names.py <<'END'
import os

import numpy as np
from PIL import Image

random = np.random.default_rng(1)
for i, name in enumerate(["<img src=x onerror=pwned=1>", "'\"`${pwned=1}&lt;", "<!--<script>pwned=1<", "W" * 120]):
    for part, n in ("train", 30), ("test", 20):
        os.makedirs(f"photos/{part}/{name}")
        for j in range(n):
            pixels = np.clip(random.normal(70 + 40 * i, 30, (24, 24, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{part}/{name}/{j}.png")
END
/usr/bin/python3 names.py
run='runs/<img src=x onerror=pwned=1>'
train --run "$run" --data photos --steps 80 --keep-every 40
echo 'x: </script><script>pwned=1</script>' >>"$run/log.txt"
"$ROOT/pipelines/judge" --run "$run" --bootstrap 100 >judge.out 2>&1
"$ROOT/pipelines/judge" --run "$run" --checkpoints --bootstrap 100 >>judge.out 2>&1
make_report --run "$run"
check "a finished run is sound" page_has "$run/report.html" sound
check "its figures are the files'" page_has "$run/report.html" same "$run"
check "a browser shows it" looks "$run/report.html" complete accuracy classes views neighbours map cost
check "its figures are on the page as drawn" looks "$run/report.html" --figures "$run"

# A log of many steps, with gaps and a spike.
awk 'BEGIN { OFS = "\t"; print "step", "epoch", "loss", "lr", "views_per_s", "z_std", "odd<b>"
    for (i = 0; i < 100000; i++) print i, int(i / 500), (i == 70000 ? 1e30 : 5 - i / 4e4 + (i % 7) / 10), i / 1e5, (i % 9 ? 700 : "nan"), 0.5, -i }' >"$run/metrics.tsv"
make_report --run "$run" --quick
check "a log of 100,000 steps" looks "$run/report.html" complete
check "its page is small" test "$(wc -c <"$run/report.html")" -lt 700000

# ---- other runs ----

train --run runs/waves --data waves --augment 'augment --format series' --encoder 'encode --arch resnet1d --width 0.125' --steps 4
make_report --run runs/waves
check "time series have plots" looks runs/waves/report.html complete views neighbours map
"$ROOT/pipelines/finetune" --from runs/waves --augment 'augment --format series --ops crop --views 1' --batch 16 --steps 4 --run runs/tuned >>train.out 2>&1
make_report --run runs/tuned
check "fine-tuning" looks runs/tuned/report.html complete views map
"$ROOT/pipelines/distributed" "${small[@]}" --workers 2 --steps 4 --run runs/two >>train.out 2>&1
make_report --run runs/two
check "several workers" looks runs/two/report.html complete views map
tar -cf photos.tar -C photos/train .
train --run runs/stream --data "exec:cat '$T/photos.tar'" --steps 4
make_report --run runs/stream
check "images from a command" looks runs/stream/report.html complete views map neighbours
done_testing
