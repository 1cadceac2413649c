#!/usr/bin/python3
"""method_pictures.py FOLDER: draws the pictures of docs/methods.md. They are in docs/methods.

A picture shows the stages of a training run in a row, the optimizer above them, the slow copies of a
momentum encoder below them, and at the right what the loss does with each pair of rows."""
import pathlib
import sys

LIGHT = {
    "page": "fill: #ffffff", "text": "fill: #1f2d3d", "role": "fill: #44546a",
    "stage": "fill: #e8f0fa; stroke: #1f2d3d", "slow": "fill: #ffffff; stroke: #1f2d3d",
    "state": "fill: #fff8e6; stroke: #1f2d3d", "edge": "stroke: #1f2d3d", "head": "fill: #1f2d3d",
    "pull": "fill: #2b7bba", "push": "fill: #e69f00", "none": "fill: #e6e9ee",
}
DARK = {
    "page": "fill: #0d1117", "text": "fill: #e6edf3", "role": "fill: #a9b4c0",
    "stage": "fill: #1b2b41; stroke: #a9b4c0", "slow": "fill: #0d1117; stroke: #a9b4c0",
    "state": "fill: #3a3015; stroke: #a9b4c0", "edge": "stroke: #c3ccd6", "head": "fill: #c3ccd6",
    "pull": "fill: #56b4e9", "push": "fill: #e69f00", "none": "fill: #262e38",
}
SHAPES = {
    "stage": "stroke-width: 1.5", "slow": "stroke-width: 1.2; stroke-dasharray: 3 3",
    "state": "stroke-width: 1.2", "edge": "fill: none; stroke-width: 1.5; marker-end: url(#head)",
    "reply": "stroke-dasharray: 6 4", "follow": "stroke-dasharray: 2 3", "name": "font-weight: bold; text-anchor: middle",
    "role": "font-size: 11px; text-anchor: middle", "note": "font-weight: normal", "left": "text-anchor: start", "right": "text-anchor: end",
    "tensor": "font-family: DejaVu Sans Mono, Menlo, monospace; font-size: 12.5px; text-anchor: middle",
}
BAR, ROW, SLOW, WIDE, HIGH, PAIR, CELL = 14, 104, 212, 116, 56, 44, 15
AT = [20, 192, 372, 552, 732]  # the left edges of the stages


def rules(theme):
    return " ".join(f"{'text' if name == 'text' else '.' + name} {{ {rule}; }}" for name, rule in theme.items())


def style():
    return f"{rules(SHAPES)} {rules(LIGHT)} @media (prefers-color-scheme: dark) {{ {rules(DARK)} }}"


def text(x, y, words, kind):
    return f'<text class="{kind}" x="{x}" y="{y}">{words}</text>'


def box(x, y, wide, high, name, role, kind="stage"):
    lines = [f'<rect class="{kind}" x="{x}" y="{y}" width="{wide}" height="{high}" rx="6"/>']
    middle = y + high / 2
    if name:
        lines.append(text(x + wide / 2, middle + (-2 if role else 5), name, "name"))
    if role:
        lines.append(text(x + wide / 2, middle + (15 if name else 4), role, "role"))
    return lines


def edge(path, kind=""):
    return f'<path class="{("edge " + kind).strip()}" d="{path}"/>'


# ---- what the loss does with pairs of rows: p pulls together, n pushes apart, . does nothing, b does both ----

def cell(x, y, kind):
    if kind == "b":  # the numerator and the denominator
        side = CELL - 2
        return [f'<path class="pull" d="M{x},{y} h{side} L{x},{y + side} z"/>',
                f'<path class="push" d="M{x + side},{y} v{side} h-{side} z"/>']
    name = {"p": "pull", "n": "push", ".": "none"}.get(kind, "push")
    strength = f' fill-opacity="{int(kind) / 9:.2f}"' if kind.isdigit() else ""
    return [f'<rect class="{name}"{strength} x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}"/>']


def matrix(x, y, rows):
    """Cells from the words `rows`; a blank leaves a gap."""
    lines = []
    for r, row in enumerate(rows):
        for c, kind in enumerate(row):
            if kind != " ":
                lines += cell(x + c * CELL, y + r * CELL, kind)
    return lines


def views(positive, negatives="n", labels=(0, 1, 2)):
    """Six rows, the two views of three images, against the same six. The negatives take turns."""
    return ["".join("." if a == b else positive if labels[a // 2] == labels[b // 2]
                    else negatives[(a * b + a + b) % len(negatives)] for b in range(6)) for a in range(6)]


PARTNER = ["".join("p" if b == a ^ 1 else "." for b in range(6)) for a in range(6)]
DIAGONAL = ["".join("p" if a == b else "n" for b in range(6)) for a in range(6)]
ROWS = "rows: 2B views; columns: 2B views"
PAIRS = "together", "apart"

# name: title, the loss, its role, its cells, two lines below them, what the colors mean, what else there is
METHODS = {
    "simclr": ("SimCLR", "ntxent", "contrastive loss", views("b"), ROWS,
               "1 positive among 2B - 1 others", PAIRS, ""),
    "dcl": ("DCL", "dcl", "decoupled", views("p"), ROWS, "the sum leaves the positive out", PAIRS, ""),
    "hcl": ("HCL", "hcl", "hard negatives", views("b", "3597264"), ROWS, "the more similar, the heavier", PAIRS, ""),
    "supcon": ("SupCon", "supcon", "labels", views("b", labels=[0, 1, 0]), ROWS,
               "images 0 and 2 have one label", PAIRS, "y"),
    "barlow": ("Barlow Twins", "barlow", "cross-correlation", DIAGONAL, "rows: outputs of views 0, d",
               "columns: outputs of views 1, d", ("to 1", "to 0"), ""),
    "vicreg": ("VICReg", "vicreg", "three terms", DIAGONAL, "covariance of each view, d x d",
               "and z of the two views alike", ("up to 1", "to 0"), ""),
    "byol": ("BYOL", "byol", "cosine", PARTNER, "rows: z; columns: z_target", "there are no negatives", PAIRS,
             "slow predictor"),
    "moco": ("MoCo", "ntxent", "--queue N", [row + " nnnn" for row in PARTNER], "rows: z; columns: z_target, queue",
             "all negatives are in the queue", PAIRS, "slow queue"),
}


def link(x, to, y, out, back=""):
    lines = [edge(f"M{x},{y + 18} H{to}"), text((x + to) / 2, y + 12, out, "tensor")]
    return lines + ([edge(f"M{to},{y + 38} H{x}", "reply"), text((x + to) / 2, y + 53, back, "tensor")] if back else [])


def optimizer(columns, owns):
    """The bar over the stages that have parameters or a queue, and their links."""
    middle = (AT[1] + AT[columns[-1]] + WIDE) / 2
    lines = box(AT[1], BAR, AT[columns[-1]] + WIDE - AT[1], 34, "", "")
    lines.append(f'<text x="{middle}" y="{BAR + 22}" class="name">lars<tspan class="role note" dx="6">keeps {owns}</tspan></text>')
    for column in columns:
        x = AT[column] + WIDE / 2
        lines += [edge(f"M{x - 14},{ROW} V{BAR + 34}"), edge(f"M{x + 14},{BAR + 34} V{ROW}", "reply")]
    x = AT[1] + WIDE / 2
    return lines + [text(x - 20, 80, "gradients", "role right"), text(x + 20, 80, "parameters", "role left")]


def slow_copies(loss):
    """The slow copies of encode and project, and the way of their outputs to the loss."""
    lines, middle = [], SLOW + 20
    for column in 1, 2:
        lines += box(AT[column] + 12, SLOW, WIDE - 24, 40, "", "slow copy", "slow")
        lines.append(edge(f"M{AT[column] + WIDE / 2},{ROW + HIGH} V{SLOW}", "follow"))
    fork, end = (AT[0] + 106 + AT[1]) / 2, AT[loss] + 26
    lines += [edge(f"M{fork},{ROW + 18} V{middle} H{AT[1] + 12}"), edge(f"M{AT[1] + WIDE - 12},{middle} H{AT[2] + 12}"),
              edge(f"M{AT[2] + WIDE - 12},{middle} H{end} V{ROW + HIGH}")]
    return lines + [text((AT[1] + WIDE + AT[2]) / 2, middle - 7, "h_target", "tensor"),
                    text((AT[2] + WIDE + AT[3]) / 2, middle - 7, "z_target", "tensor")]


def queue():
    x = AT[3] + 44
    return box(x, SLOW, 72, 40, "", "queue of N", "state") + [
        edge(f"M{x + 28},{ROW + HIGH} V{SLOW}"), edge(f"M{x + 48},{SLOW} V{ROW + HIGH}", "reply"),
        text(AT[3] + WIDE / 2 - 20, 80, "queue", "role right")]


def pairs(x, cells, captions, colors):
    lines = matrix(x, PAIR, cells)
    lines += [text(x, PAIR + 108 + 16 * i, caption, "role left") for i, caption in enumerate(captions)]
    for i, (kind, meaning) in enumerate(zip(("pull", "push"), colors)):
        if i == 0 or any(set(row) - set("p. ") for row in cells):
            lines += [f'<rect class="{kind}" x="{x + 84 * i}" y="{PAIR + 135}" width="11" height="11"/>',
                      text(x + 84 * i + 17, PAIR + 145, meaning, "role left")]
    return lines


def draw(name):
    title, loss, role, cells, below, beneath, colors, extra = METHODS[name]
    slow, last = "slow" in extra, 4 if "predictor" in extra else 3
    wide, high = AT[last] + WIDE + 240, SLOW + 54 if slow else 206
    owns = "the parameters" + (", slow copies and the queue" if "queue" in extra else " and slow copies" if slow else "")
    lines = [f'<rect class="page" width="{wide}" height="{high}"/>']
    lines += optimizer(range(1, last + ("queue" in extra)), owns)
    lines += box(AT[0], ROW, 106, HIGH, "augment", "two views")
    lines += box(AT[1], ROW, WIDE, HIGH, "encode", "--ema 0.99" if slow else "ResNet")
    lines += box(AT[2], ROW, WIDE, HIGH, "project", "--ema 0.99" if slow else "projection head")
    lines += link(AT[0] + 106, AT[1], ROW, "x") + link(AT[1] + WIDE, AT[2], ROW, "h", "dh")
    for column in range(3, last + 1):
        lines += link(AT[column - 1] + WIDE, AT[column], ROW, "z", "dz")
    if last == 4:
        lines += box(AT[3], ROW, WIDE, HIGH, "project", "--predictor")
    lines += box(AT[last], ROW, WIDE, HIGH, loss, role)
    if slow:
        lines += slow_copies(last)
    if "queue" in extra:
        lines += queue()
    if extra == "y":
        lines += [edge(f"M{AT[0] + 53},{ROW + HIGH} V{ROW + HIGH + 26} H{AT[3] + WIDE / 2} V{ROW + HIGH}"),
                  text(AT[1] + WIDE / 2, ROW + HIGH + 20, "y", "tensor")]
    lines += pairs(AT[last] + WIDE + 40, cells, (below, beneath), colors)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="14" role="img">',
        f"  <title>Dataflow of {title}</title>",
        '  <defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0,0 L10,5 L0,10 z"/></marker></defs>',
        f"  <style>{style()}</style>"] + ["  " + line for line in lines] + ["</svg>", ""])


for name in METHODS:
    (pathlib.Path(sys.argv[1]) / f"{name}.svg").write_text(draw(name))
