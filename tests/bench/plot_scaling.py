#!/usr/bin/python3
"""Draws the share of a step in which workers compute, over their number: plot_scaling.py OUT.svg

The picture has the predictions of tests/bench/scaling for ResNet-18 (32 px) and ResNet-50 (224 px),
with 32 images for each worker, 10 Gbit/s, and --sync. Needs Debian's python3-matplotlib."""
import sys

import matplotlib

sys.dont_write_bytecode = True
import cluster  # noqa: E402

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "scaling"  # the same bytes each time
from matplotlib import pyplot  # noqa: E402

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
IMAGES, SPEED, LATENCY = 32, 10e9 / 8, 50e-6
WAYS = (  # name, fan-in, optimizers, wire, colour
    ("star", 0, 1, "fp32", "#d55e00"),
    ("star, --wire bf16", 0, 1, "bf16", "#cc79a7"),
    ("tree, 8 clients a reduce", 8, 1, "fp32", "#0072b2"),
    ("4 such trees by shard, --wire bf16", 8, 4, "bf16", "#009e73"),
)
NETWORKS = ((18, 32, 159), (50, 224, 14.3))  # depth, pixels, views a second of a worker


def efficiency(network, speed, workers, way):
    compute = 2 * IMAGES / speed
    run = cluster.Run(cluster.COSTS, network, workers, IMAGES, compute,
                      cluster.head_of(network.features, 2), SPEED, LATENCY, way[1], way[2], way[3],
                      sync=True).go(steps=2)
    return 100 * compute / run.step


def main(out):
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    for axes, (depth, pixels, speed) in zip(both, NETWORKS):
        network = cluster.Network(depth, pixels)
        for way in WAYS:
            axes.plot(WORKERS, [efficiency(network, speed, n, way) for n in WORKERS],
                      color=way[4], label=way[0], marker=".")
        axes.set_xscale("log", base=2)
        axes.set_xticks(WORKERS, [str(n) for n in WORKERS])
        axes.set(title=f"ResNet-{depth}, {pixels} px, a step of {2 * IMAGES / speed:.1f} s",
                 xlabel="workers", ylim=(0, 102))
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_ylabel("% of a step that workers compute")
    both[1].legend(frameon=False, loc="lower left")
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
