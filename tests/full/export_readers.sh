#!/usr/bin/env bash
# Foreign readers of what export-model writes, against encode: onnxruntime (by npm) runs ResNet-18, ResNet-50
# and selective kernels at two sizes and batch sizes, folded and not; PyTorch loads .pth files into
# torchvision's networks.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive

py() {
    /usr/bin/python3 "$ROOT/tests/full/export_readers.py" "$ROOT" "$@"
}
declare -A flags=([resnet18]='--arch resnet18 --stem imagenet --normalize imagenet'
    [resnet50]='--arch resnet50 --stem imagenet' [sk]='--arch resnet50 --stem imagenet --sk')

py make
for name in resnet18 resnet50 sk; do
    for size in 64 97; do
        # shellcheck disable=SC2086 # words
        encode ${flags[$name]} --init $name.st <images-$size.x >$name-$size.h
    done
done

# onnxruntime's own installer fetches a library for GPUs, which this does not need. A machine without a
# network, or whose registry lacks it, skips the test.
has_onnxruntime() {
    command -v node >npm.log && command -v npm >>npm.log &&
        ONNXRUNTIME_NODE_INSTALL=skip in_time npm install --no-audit --no-fund onnxruntime-node@1.30.0 >>npm.log 2>&1
}
cat >run.js <<'J'
// node run.js MODEL.onnx SIZE IN.raw OUT N...: writes the features of the first N images to OUT-N.raw.
const fs = require('fs'), ort = require('onnxruntime-node');
async function main([model, size, input, out, ...batches]) {
    const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
    const bytes = fs.readFileSync(input), pixels = 3 * size * size;
    const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    for (const n of batches.map(Number)) {
        const images = new ort.Tensor('float32', all.slice(0, n * pixels), [n, 3, +size, +size]);
        const { features } = await session.run({ images });
        if (features.dims.length !== 2 || features.dims[0] !== n)
            throw new Error(`features are ${features.dims}`);
        fs.writeFileSync(`${out}-${n}.raw`, Buffer.from(features.data.buffer, features.data.byteOffset, features.data.byteLength));
    }
}
main(process.argv.slice(2)).catch((e) => { console.error(e); process.exit(1); });
J
runs_there() { # NAME, size, flags of export-model...
    export-model --model "$1.st" --to "$1.onnx" --size "$2" "${@:3}" &&
        in_time node run.js "$1.onnx" "$2" "images-$2.raw" out 1 3 && py agree "$1-$2.h" out-1.raw out-3.raw
}
if has_onnxruntime; then
    for name in resnet18 resnet50 sk; do
        for size in 64 97; do
            check "onnxruntime computes encode's features: $name, $size pixels" runs_there $name $size
            check "the same with batch norms folded" runs_there $name $size --fold
        done
    done
else
    skip "onnxruntime computes encode's features" "onnxruntime-node is not installed: $(tail -n 1 npm.log)"
fi

if python_has torch torchvision; then
    for name in resnet18 resnet50; do
        export-model --model $name.st --to $name.pth
        check "torchvision's $name takes the .pth file with strict=True, and computes encode's features" \
            py torch $name.pth 97
    done
    export-model --model resnet18.st --to resnet18.pth --classifier
    check "the same with a classifier, whose logits are right" py torch resnet18.pth 97
else
    skip "torchvision takes .pth files" "python3-torchvision is not installed"
fi
done_testing
