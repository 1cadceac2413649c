#!/usr/bin/env bash
# class_names, which only the first frame of a stream has: they pass through every forward-only stage.
# In training they reach the classifier, whose join tells the optimizer, and no loss or metrics.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "class names" "python3-numpy is not installed"
    done_testing
    exit
fi
names='["\u00fc \"quoted\"", "b", "c"]'
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$ROOT/tests" "$names" >x.st <<'END'
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import frames

random = np.random.default_rng(1)
for step in range(2):
    meta = {} if step else {"class_names": sys.argv[2], "classes": 3}
    tensors = {"x": random.integers(0, 256, (8, 2, 8, 8, 3), np.uint8), "y": np.arange(8) % 3, "index": np.arange(8)}
    frames.write(sys.stdout.buffer, tensors, step=step, steps=2, steps_per_epoch=2, batch=8, **meta)
frames.write_end(sys.stdout.buffer)
END
mentioned() { # FILE...: prints how often class_names occurs in them
    cat "$@" | grep -ao class_names | wc -l
}
tiny='encode --width 0.0625 --threads 1'
forward() {
    $tiny <x.st >h.st && project --dim 4 --threads 1 <h.st >z.st && classify --threads 1 <h.st >logits.st &&
        project --layers 0 <h.st >same.st &&
        for file in h z logits same; do
            [ "$(mentioned $file.st)" = 1 ] && inspect <$file.st | grep -F "$names" >/dev/null || return 1
        done
}
check "the forward stages pass class_names on with the first frame" forward
training() {
    $tiny --opt 'exec:tee grads.st | lars' \
        --next "exec:tee h.st | project --dim 4 --opt 'exec:tee head.st | lars' --next 'exec:tee z.st | ntxent | tee dz.st'" \
        <x.st >metrics.st 2>err && progress --log metrics.tsv <metrics.st >progress.st &&
        $tiny --opt 'exec:tee sup.st | sgd' --next "exec:tee h2.st | classify --opt 'exec:tee fc.st | sgd'" <x.st >super.st 2>err &&
        [ "$(mentioned grads.st head.st z.st dz.st metrics.st metrics.tsv sup.st super.st)" = 0 ] &&
        for file in h h2 fc; do
            [ "$(mentioned $file.st)" = 1 ] || return 1
        done
}
check "in training, no loss or metrics receive class_names, and the classifier's optimizer does" training
done_testing
