#!/usr/bin/python3
"""Draws loss curves in one picture: plot_curves.py OUT.svg NAME=LOG.tsv...

A log is a TSV file as tests/bench/curve reads it: a line of column names, among them `loss`, and one
row for each step. Faint lines are single steps, strong lines the mean of the last 25. Needs Debian's python3-matplotlib."""
import csv
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "curves"  # the same bytes each time
from matplotlib import pyplot  # noqa: E402

WINDOW = 25
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind as well


def losses(path):
    with open(path, encoding="utf-8") as f:
        rows = csv.DictReader((line for line in f if not line.startswith("#")), delimiter="\t")
        return [float(row["loss"]) for row in rows]


def means(values):
    return [sum(values[max(0, i - WINDOW + 1) : i + 1]) / min(WINDOW, i + 1)
            for i in range(len(values))]


def main(out, *logs):
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for colour, log in zip(COLOURS, logs):
        name, _, path = log.partition("=")
        values = losses(path)
        axes.plot(values, color=colour, alpha=0.2, linewidth=0.7)
        axes.plot(means(values), color=colour, label=name)
    axes.set(xlabel="step", ylabel="NT-Xent loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all("=" in word for word in sys.argv[2:]):
        sys.exit(__doc__)
    main(*sys.argv[1:])
