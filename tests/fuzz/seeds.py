#!/usr/bin/env python3
"""Writes the seeds of the fuzzers into tests/fuzz/corpus/NAME: what is well-formed, and by hand what
is known to be nasty. Files there whose names begin with "found" are findings, and stay.

    tests/fuzz/seeds.py
"""

import io
import itertools
import os
import shutil
import struct
import tarfile
import zipfile
import zlib

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
CUT = b"\xff"


def put(target, name, content):
    with open(os.path.join(CORPUS, target, name), "wb") as file:
        file.write(content)


def tensor(dtype, shape, begin, end):
    return '{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}' % (dtype, shape, begin, end)


def header(meta=None, **tensors):
    parts = []
    if meta is not None:
        pairs = ",".join('"%s":"%s"' % pair for pair in meta.items())
        parts.append('"__metadata__":{%s}' % pairs)
    parts += ['"%s":%s' % (name, tensor(*t)) for name, t in tensors.items()]
    return "{" + ",".join(parts) + "}"


X = ("F32", [2, 3], 0, 24)
HUGE = 2**62
HEADERS = {
    "empty": ("{}", 0),
    "end": (header({"end": "1"}), 0),
    "error": (header({"error": "no\\u001b[31m hope"}), 0),
    "one": (header({"step": "3"}, x=X), 24),
    "scalar": (header(s=("I64", [], 0, 8)), 8),
    "types": (header(a=("F32", [2], 0, 8), b=("BF16", [2], 8, 12), c=("F16", [2], 12, 16),
                     d=("U8", [3], 16, 19), e=("I32", [1], 19, 23), f=("I64", [1], 23, 31)), 31),
    "misaligned": (header(a=("U8", [1], 0, 1), b=("I64", [2], 1, 17)), 17),
    "reordered": (header(b=("U8", [2], 4, 6), a=("F32", [1], 0, 4)), 6),
    "nothing": (header(a=("F32", [0, HUGE, HUGE], 0, 0), b=("U8", [0], 0, 0)), 0),
    "eight_dims": (header(a=("U8", [1] * 8, 0, 1)), 1),
    "nine_dims": (header(a=("U8", [1] * 9, 0, 1)), 1),
    "overflow": (header(a=("F32", [2**32, 2**32], 0, 0)), 0),
    "overflow_at_end": (header(a=("F32", [HUGE, 4], 0, 0)), 0),
    "negative": (header(a=("F32", [-1, -8], 0, 32)), 32),
    "gap": (header(a=("U8", [2], 0, 2), b=("U8", [2], 3, 5)), 5),
    "overlap": (header(a=("U8", [2], 0, 2), b=("U8", [2], 1, 3)), 3),
    "same_place": (header(a=("U8", [2], 0, 2), b=("U8", [2], 0, 2)), 2),
    "late": (header(a=("U8", [2], 8, 10)), 10),
    "backward": (header(a=("U8", [2], 2, 0)), 2),
    "span": (header(a=("F32", [2], 0, 4)), 4),
    "span_negative": ('{"a":{"dtype":"U8","shape":[0],"data_offsets":[-1,-1]}}', 0),
    "over_limit": (header(a=("U8", [2**40], 0, 2**40)), 0),
    "largest": (header(a=("U8", [2**63 - 1], 0, 2**63 - 1)), 0),
    "too_large_integer": ('{"a":{"dtype":"U8","shape":[99999999999999999999],'
                          '"data_offsets":[0,0]}}', 0),
    "real": ('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1e0]}}', 1),
    "no_shape": ('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1),
    "one_offset": ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1),
    "unknown_entry": ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}}', 1),
    "unknown_dtype": (header(a=("F8", [1], 0, 1)), 1),
    "number": ('{"a":7}', 0),
    "nameless": (header(**{"": ("U8", [1], 0, 1)}), 1),
    "twice": ('{"a":%s,"a":%s}' % ((tensor("U8", [1], 0, 1),) * 2), 1),
    "metadata_twice": ('{"__metadata__":{"a":"1","a":"2"}}', 0),
    "two_metadatas": ('{"__metadata__":{},"__metadata__":{}}', 0),
    "metadata_number": ('{"__metadata__":{"step":3}}', 0),
    "metadata_list": ('{"__metadata__":[]}', 0),
    "numbers": (header({"step": " -9223372036854775808", "seq": "9223372036854775808",
                        "loss": "nan", "rank": "1e3", "": "0x1p3"}), 0),
    "crc": (header({"crc32": "00000000"}), 0),
    "crc_wrong": (header({"crc32": "0badcafe"}, x=X), 24),
    "crc_of_zeros": (header({"crc32": "%08x" % zlib.crc32(bytes(24))}, x=X), 24),
    "crc_odd": (header({"crc32": "-0000001"}), 0),
    "nul": ('{"a\\u0000b":%s}' % tensor("U8", [1], 0, 1), 1),
    "unicode": (header({"\u00fc\\ud83d\\ude00": "\u20ac"}, **{"\u00e9": ("U8", [1], 0, 1)}), 1),
    "surrogate": ('{"__metadata__":{"a":"\\ud800"}}', 0),
    "trailing": ("{}x", 0),
    "array": ("[]", 0),
    "padded": ("{}" + " " * 54, 0),
    "space_first": (" {}", 0),
    "deep": ('{"a":' + "[" * 200 + "]" * 200 + "}", 0),
    "unfinished": ('{"a":{"dtype":"F', 0),
}


def frame(text, data):
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text + data


def loose(text, data=None):
    """As input_frame() takes it."""
    return text.encode() + (b"" if data is None else b"\0" + data)


def frames():
    for name, (text, size) in HEADERS.items():
        put("header", name, loose(text, bytes(range(1, 9)) if size else None))
        put("frame", name, frame(text, bytes(size)))
    put("header", "not_utf8", b'{"__metadata__":{"a":"\xc3\x28"}}')
    put("header", "many_metas", loose(header({str(i): "" for i in range(300)})))
    put("header", "nans", loose(header(x=X), struct.pack("<3f", float("nan"), float("inf"), -0.0)))
    one, size = HEADERS["one"]
    whole = frame(one, bytes(size))
    put("frame", "short", whole[:5])
    put("frame", "cut_in_header", whole[:30])
    put("frame", "cut_in_data", whole[:-1])
    put("frame", "trailing", whole + b"\0")
    put("frame", "length_huge", struct.pack("<Q", 2**64 - 1) + b"{}")
    put("frame", "length_limit", struct.pack("<Q", 100_000_001) + b"{}")
    put("frame", "length_long", struct.pack("<Q", 3) + b"{}")
    put("frame", "length_zero", bytes(8))


def lines(meta=None, data=None, **tensors):
    """The same as lines of text; the places of tensors follow from their shapes."""
    text = ["%s=%s" % pair for pair in (meta or {}).items()]
    text += [" ".join(map(str, [name, t[0], *t[1]])) for name, t in tensors.items()]
    return loose("\n".join(text), data)


def message(who, meta=None, data=b"\0\0\x80\x3f", **tensors):
    return who.encode() + lines(meta, data, **tensors)


def rank(who, world, at, **more):
    return {"rank": str(who), "world": str(world), "step": str(at), **more}


END = {"end": "1"}


def streams():
    one, end = loose(HEADERS["one"][0], b"abc"), loose(header(END))
    cuts = bytes([0, 7, 63, 2, 200])
    later = [loose(header({"seq": str(i)}, x=X)) for i in (0, 2, 1)]
    for target, first in ("reader", cuts + CUT), ("source", b"\0"), ("source", b"\1"):
        way = "" if target == "reader" or first == b"\0" else "socket_"
        who = b"0" if way else b""
        for name, parts in {
            "two": [one, one, end],
            "no_end": [one],
            "end_between": [one, end, one, end],
            "error": [one, loose(HEADERS["error"][0])],
            "bad": [one, loose(HEADERS["overlap"][0])],
            "out_of_turn": later + [end],
            "twice": [later[0], later[0]],
            "seq_odd": [loose(header({"seq": "-5"}))],
            "nothing": [],
        }.items():
            put(target, way + name, first + CUT.join(who + part for part in parts))
    raw = frame(*HEADERS["one"][:1], bytes(24))
    put("reader", "raw_cut", cuts + CUT + b"!" + raw[:-3])
    put("reader", "raw_length", b"\0" + CUT + b"!" + struct.pack("<Q", 2**40))
    put("reader", "raw_zero", b"\0" + CUT + b"!" + bytes(8))
    put("source", "socket_gone", b"\1" + b"0" + one + CUT + b"-0")
    put("source", "socket_silent", b"\1~")
    put("source", "socket_all_late", b"\1" + CUT.join(
        b"0" + loose(header({"seq": str(i)})) for i in range(1, 70)))
    put("source", "status", b"\2" + one + CUT + end)
    for name, parts in {"two": [one, one, end], "ends": [end, one, end], "nothing": []}.items():
        put("source", "turns_" + name, b"\4" + CUT.join(parts))
        put("source", "turns_socket_" + name, b"\5" + CUT.join(b"0" + part for part in parts))


def links():
    answer = {"seq": "0", "step": "0", "lr": "0.5"}
    # projector.0.weight [3,2], projector.1: weight and three buffers, as head_plan(1, 2, 0, 3)
    model = dict([("projector.0.weight", ("F32", [3, 2], 0, 24)),
                  ("projector.1.weight", ("F32", [3], 24, 36)),
                  ("projector.1.running_mean", ("F32", [3], 36, 48)),
                  ("projector.1.running_var", ("F32", [3], 48, 60)),
                  ("projector.1.num_batches_tracked", ("I64", [], 60, 68))])
    for how, who in (b"0", ""), (b"1", "0"), (b"4", ""):
        name = {b"0": "", b"1": "socket_", b"4": "crc_"}[how]
        first = message(who, answer, **model)
        second = message(who, {**answer, "seq": "1"}, **model)
        put("link", name + "ask", how + b"sre" + CUT + message(who, answer, x=X))
        put("link", name + "two", how + b"ssarre" + CUT + first + CUT + second)
        put("link", name + "train", how + b"jte" + CUT + first + CUT + second)
        put("link", name + "join_lacks", how + b"j" + CUT + message(who, answer, x=X))
        put("link", name + "wrong_seq", how + b"sr" + CUT + message(who, {"seq": "7"}))
        put("link", name + "error", how + b"sr" + CUT + message(who, {"error": "no"}))
        put("link", name + "end", how + b"sr" + CUT + message(who, END))
        put("link", name + "unasked", how + b"ae" + CUT + message(who, answer, x=X))
    put("link", "silent", b"1sr" + CUT + b"~")
    put("link", "status", b"2sre" + CUT + message("", END))


def workers():
    def rows(who, n, world=2, at=0, width=2, **more):
        size = 4 * n * width
        return message(str(who), rank(who, world, at, **more), bytes([who, 0, 0, 64]),
                       z=("F32", [n, width], 0, size), y=("I64", [n], size, size + 8 * n))

    ends = [message(str(i), END) for i in range(2)]
    answers = message("9", {"loss": "4"}, dz=("F32", [5, 2], 0, 40), s=("F32", [1], 40, 44))
    two, asks = b"\2", b"\3"
    cases = {
        "round": two + CUT.join([rows(0, 2), rows(1, 2)] + ends),
        "unequal": two + CUT.join([rows(0, 2), rows(1, 3)] + ends),
        "asked": asks + CUT.join([rows(1, 3), rows(0, 2), answers] + ends),
        "asked_error": asks + CUT.join([rows(1, 3), rows(0, 2), message("9", {"error": "no"})]),
        "ahead": two + CUT.join([rows(0, 2), rows(0, 2, at=1), rows(1, 2), rows(1, 2, at=1)]),
        "other_step": two + CUT.join([rows(0, 2), rows(1, 2, at=1)]),
        "other_width": two + CUT.join([rows(0, 2), rows(1, 2, width=3)]),
        "one_ended": two + CUT.join([rows(0, 2), ends[1]]),
        "no_rank": two + message("0", {"step": "0"}, x=X),
        "rank_odd": two + message("0", {"rank": "-1", "world": "0"}),
        "world_odd": two + message("0", {"rank": "9223372036854775806",
                                         "world": "9223372036854775807"}),
        "world_large": b"\0" + message("0", {"rank": str(2**62), "world": str(2**63 - 1)}),
        "group": two + CUT.join([rows(2, 1, 4), message("3", rank(3, 4, 0), z=("F32", [1, 2], 0, 8),
                                                        y=("I64", [1], 8, 16))]),
        "twice": two + CUT.join([rows(0, 2), b"1" + rows(0, 2)[1:]]),
        "gone": two + CUT.join([rows(0, 2), b"-0"]),
        "silent": two + CUT.join([rows(0, 2), b"~"]),
        "uneven": two + CUT.join(message(str(i), rank(i, 2, 0), z=X, y=("I64", [3 - i], 0, 0))
                                 for i in range(2)),
        "no_rows": two + CUT.join([rows(0, 0), rows(1, 0)]),
        "many_rows": two + CUT.join(
            message(str(i), rank(i, 2, 0), x=("F32", [HUGE, 0], 0, 0)) for i in range(2)),
        "overflowing_rows": b"\6" + CUT.join(
            message(str(i), rank(i, 4, 0), x=("U8", [HUGE, 0], 0, 0)) for i in range(4)),
        "scalars": two + CUT.join(
            message(str(i), rank(i, 2, 0), s=("F32", [], 0, 4), t=("I32", [], 4, 8))
            for i in range(2)),
        "only_some": two + CUT.join([message("0", rank(0, 2, 0), a=("BF16", [3], 0, 6)),
                                     message("1", rank(1, 2, 0), b=("I64", [1], 0, 8))]),
        "no_sum": two + CUT.join(
            message(str(i), rank(i, 2, 0), a=("U8", [3], 0, 3)) for i in range(2)),
        "four": b"\6" + CUT.join(rows(i, 1, 4) for i in range(4)),
        "error": two + message("0", {"error": "no"}),
        "bad": two + b"0{",
    }
    for name, content in cases.items():
        put("reduce", name, content)
        put("gather", name, content)


def optimizers():
    w, b = ("F32", [2, 2], 0, 16), ("F32", [2], 16, 24)
    mean, count = ("F32", [2], 24, 32), ("I64", [], 32, 40)
    model = {"w": w, "b": b, "n.running_mean": mean, "n.num_batches_tracked": count}
    join = message("0", {"kind": "join"}, **model)
    other = message("1", {"kind": "join"}, v=("F32", [3], 0, 12))

    def step(at, who="0", **more):
        return message(who, {"kind": "gradients", "step": str(at), "steps": "4", **more}, w=w, b=b)

    v = message("1", {"step": "0"}, v=("F32", [3], 0, 12))
    end, end1 = message("0", END), message("1", END)
    state = lines({"kind": "state", "optimizer": "lars", "step": "2"},
                  **{"w": ("F32", [1], 0, 4), "momentum/w": ("F32", [1], 4, 8)})
    cases = {
        "steps": b"a" + CUT.join([join, step(0), step(1), end]),
        "two_clients": b"a" + CUT.join([join, other, step(0), step(1), v, end, end1]),
        "ahead": b"a" + CUT.join([join, other, step(0), step(1), step(2)]),
        "back": b"a" + CUT.join([join, step(0), step(1), step(0)]),
        "twice": b"a" + CUT.join([join, step(0), step(0)]),
        "both": b"a" + CUT.join([join, b"1" + join[1:]]),
        "again": b"a" + CUT.join([join, step(0), end, join, step(1), end]),
        "no_join": b"a" + step(0),
        "other_shape": b"a" + CUT.join([join, message("0", {"step": "0"}, w=X)]),
        "ask_all": b"a" + CUT.join([join, message("1", {"kind": "join"})]),
        "no_steps": b"a" + CUT.join([join, step(0, steps="0")]),
        "steps_odd": b"a" + CUT.join([join, step(0, steps_per_epoch="9223372036854775807",
                                                 batch="1")]),
        "slash": b"a" + message("0", {"kind": "join"}, **{"a/b": w}),
        "long_name": b"a" + message("0", {"kind": "join"}, **{"a" * 401: w}),
        "bf16": b"a" + message("0", {"kind": "join"}, a=("BF16", [2], 0, 4)),
        "nan": b"a" + CUT.join([join, message("0", {"step": "0"}, b"\0\0\xc0\x7f", w=w, b=b)]),
        "gone": b"a" + CUT.join([join, b"-0"]),
        "resume": b"R" + CUT.join([state, message("0", {"kind": "join"}, w=("F32", [1], 0, 4)),
                                   message("0", {"step": "2"}, w=("F32", [1], 0, 4)), end]),
        "resume_lacks": b"R" + CUT.join([state, join]),
        "state_odd": b"R" + state.replace(b"step=2", b"step=-2"),
        "state_last": b"R" + state.replace(b"step=2", b"step=9223372036854775807"),
        "state_no_slot": b"R" + state.replace(b"momentum", b"moment"),
        "state_other": b"R" + state.replace(b"=lars", b"=sgd"),
    }
    for name, content in cases.items():
        put("lars", name, content)


def features():
    def rows(n, width, dtype="F32", views=None, label=b"\1", name="h"):
        shape = [n, width] if views is None else [n, views, width]
        return lines(None, label + bytes(7), **{name: (dtype, shape), "y": ("I64", [n])})

    cases = {
        "two": [rows(3, 2), rows(2, 2)],
        "bf16": [rows(2, 2, "BF16")],
        "f16": [rows(2, 2, "F16")],
        "pixels": [rows(2, 3, "U8", name="x")],
        "views": [rows(2, 2, views=2)],
        "one_view": [rows(2, 2, views=1)],
        "none": [rows(0, 3), rows(2, 3)],
        "width_changes": [rows(2, 2), rows(2, 3)],
        "label": [rows(2, 2, label=b"\0\x10")],
        "integers": [rows(2, 2, "I32")],
        "wide": [lines(h=("F32", [0, HUGE], 0, 0), y=("I64", [0], 0, 0))],
        "too_wide": [lines(h=("F32", [0, HUGE, 1, 8], 0, 0), y=("I64", [0], 0, 0))],
        "no_width": [lines(h=("F32", [HUGE, 0], 0, 0))],
        "no_y": [lines(h=X)],
        "y_shape": [lines(h=X, y=("I64", [3], 24, 48))],
        "checkpoint": [lines(None, **{
            "projector.0.weight": ("F32", [3, 2], 0, 24),
            "projector.1.weight": ("F32", [3], 24, 36),
            "projector.1.running_mean": ("F32", [3], 36, 48),
            "projector.1.running_var": ("F32", [3], 48, 60),
            "projector.1.num_batches_tracked": ("I64", [], 60, 68)})],
        "checkpoint_shape": [lines(None, **{"projector.0.weight": ("F32", [2, 3], 0, 24)})],
    }
    for name, parts in cases.items():
        put("features", name, b"0" + CUT.join(parts))
    put("features", "named", b"1" + rows(1, 1))


def chunk(name, content):
    return (struct.pack(">I", len(content)) + name + content
            + struct.pack(">I", zlib.crc32(name + content)))


def png(width, height, depth, kind, lines, interlaced=0, before=b""):
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
            + before + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))


def images():
    data = os.path.join(CORPUS, "..", "..", "data", "png")
    for name in ("grey1", "grey16", "palette4-transparent", "rgb8-interlaced", "greyalpha8",
                 "rgba16", "palette1-interlaced"):
        shutil.copy(os.path.join(data, name + ".png"), os.path.join(CORPUS, "decode", name))
    for name in "ycc420", "progressive", "grey", "cmyk", "turned6":
        shutil.copy(os.path.join(data, "..", "jpeg", name + ".jpg"), os.path.join(CORPUS, "decode", name))
    with open(os.path.join(data, "..", "jpeg", "progressive.jpg"), "rb") as file:
        jpeg = file.read()
    at = jpeg.index(b"\xff\xc2")
    put("decode", "jpeg_large", jpeg[:at + 5] + b"\xff\xff\xff\xff" + jpeg[at + 9:])
    put("decode", "jpeg_flat", jpeg[:at + 5] + b"\0\0" + jpeg[at + 7:])
    at = jpeg.index(b"\xff\xda")
    put("decode", "jpeg_scans", jpeg[:-2] + 9 * jpeg[at:-2] + jpeg[-2:])
    small = png(2, 2, 8, 2, bytes(14))
    put("decode", "small", small)
    put("decode", "short", small[:6])
    put("decode", "cut", small[:50])
    put("decode", "no_data", small[:33] + chunk(b"IEND", b""))
    put("decode", "few_lines", png(2, 2, 8, 2, bytes(7)))
    put("decode", "many_lines", png(2, 2, 8, 2, bytes(140)))
    put("decode", "no_pixels", png(0, 2, 8, 2, b""))
    put("decode", "largest", png(2**31 - 1, 2**31 - 1, 8, 2, bytes(9)))
    put("decode", "too_wide", png(32769, 1, 8, 2, bytes(9)))
    put("decode", "too_many", png(32768, 2049, 8, 2, bytes(9)))
    put("decode", "filter", png(2, 2, 8, 2, bytes([9] * 14)))
    put("decode", "no_palette", png(2, 2, 8, 3, bytes(6)))
    put("decode", "short_palette", png(2, 2, 8, 3, bytes([0, 9, 9, 0, 9, 9]),
                                    before=chunk(b"PLTE", bytes(6))))
    put("decode", "text", png(1, 1, 8, 0, bytes(2), before=chunk(b"zTXt", b"a\0\0" + bytes(9))))
    put("decode", "interlaced", png(3, 3, 4, 0, bytes(40), 1))


def ifd(entries, data=b"", order="<"):
    """A TIFF: each of `entries` is a tag with its type (3: 16 bits, 4: 32 bits) and values."""
    head, more = b"", data
    start = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, values in sorted(entries):
        packed = struct.pack(order + "%d%s" % (len(values), "HI"[kind - 3]), *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", start + len(more))
            more += packed
        else:
            place = packed.ljust(4, b"\0")
        head += struct.pack(order + "HHI", tag, kind, len(values)) + place
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(entries)) + head + bytes(4) + more


def tiff(side=4, samples=1, bits=8, photometric=1, data=None, order="<", parts=None, **tags):
    """A TIFF whose pixels follow its directory; `parts` replaces the tags of its strips."""
    names = {"compression": 259, "planar": 284, "extra": 338, "format": 339, "orientation": 274,
             "colours": 320, "rows": 278, "ycbcr": 530, "predictor": 317, "fill": 266}
    data = bytes(range(256)) if data is None else data
    entries = [(256, 3, [side]), (257, 3, [side]), (258, 3, [bits] * samples), (262, 3, [photometric]),
               (277, 3, [samples])]
    entries += [(names[name], 3, value if isinstance(value, list) else [value]) for name, value in tags.items()]
    entries += parts or [(273, 4, [0]), (279, 4, [len(data)])]
    start = 8 + 2 + 12 * len(entries) + 4
    entries = [(tag, kind, [v + start for v in values] if tag in (273, 324) else values)
               for tag, kind, values in entries]
    return ifd(entries, data, order)


def tiffs():
    for bits in 1, 2, 4, 8, 16:
        put("tiff", "grey%d" % bits, tiff(bits=bits))
    put("tiff", "white", tiff(photometric=0))
    put("tiff", "big_endian", tiff(bits=16, order=">"))
    put("tiff", "rgb", tiff(samples=3, photometric=2))
    put("tiff", "rgba", tiff(samples=4, photometric=2, extra=1))
    put("tiff", "five", tiff(samples=5, bits=16, extra=[0] * 4))
    put("tiff", "planar", tiff(samples=5, planar=2, extra=[0] * 4, parts=[
        (273, 4, [16 * i for i in range(5)]), (279, 4, [16] * 5)]))
    put("tiff", "palette", tiff(photometric=3, colours=list(range(0, 768 * 85, 85)), data=bytes(range(16))))
    put("tiff", "cmyk", tiff(samples=4, photometric=5))
    put("tiff", "ycbcr", tiff(samples=3, photometric=6, ycbcr=[2, 2]))
    put("tiff", "turned", tiff(orientation=6))
    put("tiff", "strips", tiff(rows=1, parts=[(273, 4, [4 * i for i in range(4)]), (279, 4, [4] * 4)]))
    put("tiff", "tiles", tiff(side=20, parts=[(322, 3, [16]), (323, 3, [16]), (324, 4, [0] * 4),
                                              (325, 4, [256] * 4)]))
    put("tiff", "large_tiles", tiff(parts=[(322, 3, [65520]), (323, 3, [65520]), (324, 4, [0]), (325, 4, [256])]))
    put("tiff", "large", tiff(side=65535))
    put("tiff", "many_samples", tiff(samples=600, bits=16))
    put("tiff", "short", tiff(side=40))
    put("tiff", "packbits", tiff(compression=32773, data=b"\xf1\7"))
    put("tiff", "deflate", tiff(compression=8, data=zlib.compress(bytes(range(16))), predictor=2))
    for compression in 2, 3, 4, 5, 6, 7, 9, 8, 34661, 34676, 34887, 34925, 50000, 50001, 65000:
        put("tiff", "compression%d" % compression, tiff(compression=compression, bits=1))
        put("tiff", "compression%d_rgb" % compression, tiff(compression=compression, samples=3, photometric=2))
    loop = tiff()
    put("tiff", "loop", loop[:8 + 2 + 12 * 7] + struct.pack("<I", 8) + loop[8 + 2 + 12 * 7 + 4:])


def bmps():
    def bmp(bits, pixels, compression=0, palette=b"", masks=b"", width=3, height=3, colours=0, size=40):
        start = 14 + size + len(masks) + len(palette)
        head = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + (head + masks).ljust(size, b"\0") + palette + pixels
    colours = bytes(range(256)) * 4
    put("bmp", "one", bmp(1, bytes(12), palette=colours[:8]))
    put("bmp", "four", bmp(4, bytes(range(12)), palette=colours[:64]))
    put("bmp", "eight", bmp(8, bytes(range(12)), palette=colours))
    put("bmp", "sixteen", bmp(16, bytes(range(24))))
    put("bmp", "masks", bmp(16, bytes(range(24)), 3, masks=struct.pack("<III", 0xf800, 0x7e0, 0x1f)))
    put("bmp", "odd_masks", bmp(32, bytes(36), 3, masks=struct.pack("<III", 0x3ff00000, 5, 0)))
    put("bmp", "rgb", bmp(24, bytes(range(36))))
    put("bmp", "rgbx", bmp(32, bytes(range(36)), height=-3))
    put("bmp", "rle8", bmp(8, b"\3\1\0\0\0\3\1\2\3\0\0\2\1\0\2\2\0\1", 1, palette=colours))
    put("bmp", "rle4", bmp(4, b"\3\x12\0\0\0\3\x12\x30\0\0\3\x21\0\1", 2, palette=colours[:64]))
    put("bmp", "os2", b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 32, 12, 3, 3, 1, 1) + bytes(6) + bytes(12))
    put("bmp", "long_header", bmp(32, bytes(36), 3, size=124, masks=struct.pack("<IIII", 255, 65280, 255 << 16, 0)))
    put("bmp", "large", bmp(24, bytes(9), width=2**31 - 1, height=-2**31))
    put("bmp", "colours", bmp(8, bytes(12), palette=colours, colours=2**32 - 1))
    put("bmp", "short", bmp(24, bytes(3)))


def pnms():
    for name, text in {
        "plain_bits": b"P1\n# a comment\n3 2\n1 0 1 010", "plain_grey": b"P2 2 2 15 0 5 10 15",
        "plain_colours": b"P3\n1 2\n255\n1 2 3 4 5 6\n", "bits": b"P4 9 2\n\1\2\3\4", "grey": b"P5 2 2 255\nabcd",
        "colours": b"P6 2 1 255 abcdef", "wide": b"P6 1 1 65535\nabcdef", "odd": b"P5 2 1 100\n\1\xff",
        "five": b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 5\nMAXVAL 1000\nENDHDR\n" + bytes(20),
        "alpha": b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\nab",
        "large": b"P6 2147483647 2147483647 255\n", "deep":
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2147483647\nMAXVAL 255\nENDHDR\n", "short": b"P6 3 3 255\nabc",
        "letters": b"P2 2 2 255 a b", "above": b"P2 1 1 3 4", "zero": b"P5 0 0 0\n", "maxval": b"P5 1 1 65536\nabc",
    }.items():
        put("pnm", name, text)


def webps():
    from PIL import Image  # libwebp's encoder
    pixels = bytes(x * y % 251 for y in range(12) for x in range(48))
    picture, clear = Image.frombytes("RGBA", (12, 12), pixels), Image.new("RGBA", (12, 12), (9, 9, 9, 0))
    for name, settings in {
        "lossy": {"quality": 20}, "lossless": {"lossless": True}, "animated": {
            "save_all": True, "append_images": [clear, picture], "lossless": True},
        "turned": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"},
    }.items():
        for kind in "RGB", "RGBA":
            file = io.BytesIO()
            picture.convert(kind).save(file, "WEBP", **settings)
            put("webp", "%s_%s" % (name, kind.lower()), file.getvalue())
    whole = file.getvalue()
    put("webp", "cut", whole[:len(whole) // 2])
    put("webp", "large", b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x12\0\0\0" + b"\xff" * 6 + bytes(8))


def datasets():
    def folder(*files):
        return CUT.join(name + b"\n" + content for name, content in files)

    def tar(*files):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in files:
                info = tarfile.TarInfo(name)
                if isinstance(content, tuple):
                    info.type, info.linkname = content
                    content = b""
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue().rstrip(b"\0") + bytes(1024)

    def packed(content):
        """As gzip, in a way that has no CUT in it."""
        for level, memory, strategy in itertools.product(range(1, 10), range(1, 10), range(5)):
            gzip = zlib.compressobj(level, zlib.DEFLATED, 31, memory, strategy)
            data = gzip.compress(content) + gzip.flush()
            if CUT not in data:
                return data
        raise ValueError

    def frame(text, data=b""):
        return struct.pack("<Q", len(text)) + text.encode() + data

    def npy(dtype, shape, data, version=1):
        text = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n" % (dtype, shape)).encode()
        length = len(text).to_bytes(2 if version == 1 else 4, "little")
        return b"\x93NUMPY" + bytes([version, 0]) + length + text + data

    auto, cifar10, folders, cifar100, idx, archive, frames, series = (bytes([i]) for i in range(8))
    plain, file, strict, test, stream, hold = (bytes([i]) for i in (0, 1, 2, 4, 9, 32))
    dots = (png(1, 1, 8, 0, bytes([0, grey])) for grey in range(256))
    dot = next(image for image in dots if CUT not in image)
    pair = tar(("a/1.png", dot), ("a/1.cls", b"3\n"))
    classes = tar(("./a/1.png", dot), ("b/2.png", dot), ("b/x", b""))
    hard, symbolic = tarfile.LNKTYPE, tarfile.SYMTYPE
    links = tar(("a/1.png", dot), ("b/1.png", (hard, "a/1.png")), ("b/2.png", (symbolic, "../a/1.png")),
                ("c", (symbolic, "a")))
    lost = tar(("b/1.png", (hard, "1.png")), ("b/2.png", (symbolic, "2.png")), ("c", (symbolic, ".")))
    tiny = ((b"t/train/n2/images/1.png", b"="), (b"t/train/n1/images/1.png", b"="),
            (b"t/val/images/v.png", b"="), (b"t/wnids.txt", b"n2\nn1\n"),
            (b"t/val/val_annotations.txt", b"v.png\tn1\t0\n"))
    grey = b"\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\3abcdef"
    x = frame(header(x=("U8", [2, 1, 1, 3], 0, 6), y=("I64", [2], 6, 22)), b"abcdef" + bytes(16))
    end = frame(header({"end": "1"}))
    stl10 = (b"s/test_X.bin", b"*@S@S"), (b"s/test_y.bin", b"\1\n"), (b"s/class_names.txt", b"a\n" * 10)
    batches = [(b"data_batch_%d" % i, pickled_batch(b"labels", b"\3")) for i in range(1, 6)]
    cases = {
        "cifar10_pickles": auto + plain + folder(*batches),
        "cifar10_pickle": auto + test + folder((b"test_batch", pickled_batch(b"labels", b"\3\4")),
                                               (b"batches.meta", b"\x80\2}U\x0blabel_names](" + b"U\1a" * 10 + b"es.")),
        "cifar10_pickle_label": auto + test + folder((b"test_batch", pickled_batch(b"labels", b"\x0a"))),
        "cifar10_pickle_few": auto + test + folder((b"test_batch", pickled_batch(b"labels", b"\3\4").replace(b"@C@C", b"@C"))),
        "cifar10_pickle_text": auto + test + folder((b"test_batch", b"*(dp0\nS'labels'\n(lp1\nI3\nasS'data'\nNs.")),
        "cifar10_evil": cifar10 + test + folder((b"test_batch", b"*cos\nsystem\n(S'false'\ntR.")),
        "cifar100_pickle": auto + plain + folder((b"train", pickled_batch(b"fine_labels", b"\x63")), (b"meta", b"\x80\2N.")),
        "stl10": auto + test + folder(*((n[2:], c) for n, c in stl10)),
        "stl10_unlabeled": auto + b"\x40" + folder((b"unlabeled_X.bin", b"*@S@S@S")),
        "stl10_short": b"\x08" + test + folder((b"test_X.bin", b"*@Sx"), (b"test_y.bin", b"\1")),
        "stl10_label": b"\x08" + test + folder((b"test_X.bin", b"*@S"), (b"test_y.bin", b"\0")),
        "stl10_names": b"\x08" + test + folder((b"test_X.bin", b"*@S"), (b"test_y.bin", b"\1"), (b"class_names.txt", b"a\n\nb")),
        "stl10_gz": auto + b"\5" + folder((b"a.tar.gz", packed(tar(("s/test_X.bin", bytes(27648)), ("s/test_y.bin", b"\1"))))),
        "stl10_stream": auto + b"\x0d" + folder((b"a.tar.gz", packed(tar(("s/test_X.bin", bytes(55296)), ("s/test_y.bin", b"\1\2"))))),
        "cifar10": auto + plain + folder(*((b"data_batch_%d.bin" % i, b"#012") for i in range(1, 6))),
        "cifar10_missing": auto + plain + folder((b"data_batch_1.bin", b"#012"), (b"data_batch_3.bin", b"#9")),
        "cifar10_hold": auto + hold + folder(*((b"data_batch_%d.bin" % i, b"#012") for i in range(1, 6))),
        "cifar10_test": auto + test + folder((b"test_batch.bin", b"#42")),
        "cifar10_label": auto + plain + folder((b"data_batch_1.bin", b"#1:")),
        "cifar10_short": cifar10 + plain + folder((b"data_batch_1.bin", b"abc")),
        "cifar10_empty": cifar10 + plain + folder((b"data_batch_1.bin", b"")),
        "cifar10_folder": cifar10 + plain + folder((b"data_batch_1.bin/a", b"")),
        "cifar10_none": cifar10 + plain + folder((b"readme", b"")),
        "cifar10_tar": auto + file + folder((b"c.tar", tar(("x/data_batch_2.bin", b"abc")))),
        "cifar100": cifar100 + plain + folder((b"train.bin", b"#012")),
        "folder": folders + plain + folder((b"a/1.png", b"="), (b"b/2.PNG", b"="), (b"b/3.txt", b"=")),
        "folder_flat": folders + plain + folder((b"1.png", b"="), (b".hidden.png", b"=")),
        "folder_split": auto + plain + folder((b"train/a/1.png", b"="), (b"test/a/2.png", b"=")),
        "folder_val": auto + test + folder((b"train/a/1.png", b"="), (b"val/a/x/2.png", b"=")),
        "folder_parts": folders + test + folder((b"Train/a/1.png", b"="), (b"validation/b/2.png", b"="),
                                                (b"valid/b/2.png", b"="), (b"x.png", b"=")),
        "folder_hold": folders + hold + folder((b"p/a/1.png", b"="), (b"p/b/2.png", b"="), (b"p/b/3.gif", b"")),
        "folder_tiny": auto + plain + folder(*tiny),
        "folder_tiny_test": auto + test + folder(*tiny),
        "folder_tiny_bad": auto + test + folder(*tiny[:3], (b"t/wnids.txt", b"n2\nn2\n"), tiny[4]),
        "folder_bad": folders + plain + folder((b"a/1.png", b"="), (b"a/2.png", b"\x89PNG")),
        "folder_first_bad": folders + plain + folder((b"a/1.png", b"")),
        "folder_of_png": folders + plain + folder((b"a/1.png/2.png", b"=")),
        "folder_none": folders + plain + folder((b"a/b", b"")),
        "idx": auto + plain + folder((b"train-images-idx3-ubyte", grey),
                                     (b"train-labels-idx1-ubyte", b"\0\0\10\1\0\0\0\2\3\7")),
        "idx_file": auto + file + folder((b"images.idx3", grey)),
        "idx_short": idx + file + folder((b"images.idx3", grey[:-1])),
        "idx_huge": idx + file + folder((b"images.idx3", grey[:4] + 3 * b"\x7f\x7f\x7f\x7f")),
        "idx_labels": auto + plain + folder((b"t10k-images-idx3-ubyte", grey),
                                            (b"t10k-labels-idx1-ubyte", grey)),
        "idx_gz": auto + file + folder((b"a.gz", packed(grey))),
        "tar": auto + file + folder((b"a.tar", pair)),
        "tar_classes": auto + file + folder((b"a.tar", classes)),
        "tar_tiny": auto + b"\5" + folder((b"a.tar.gz", packed(tar(*((n.decode(), dot if c == b"=" else c)
                                                        for n, c in tiny))))),
        "tar_links": auto + file + folder((b"a.tar", links)),
        "tar_links_gz": auto + file + folder((b"a.tar.gz", packed(links))),
        "tar_links_stream": archive + stream + folder((b"a.tar.gz", packed(links))),
        "tar_links_lost": auto + file + folder((b"a.tar", lost)),
        "tar_key": auto + file + folder((b"a.tar.gz", packed(tar(("1.cls", b"1"), ("1.png", dot), ("1.seg.png", dot),
                                                       ("2.cls", b"1"))))),
        "tar_stream": archive + stream + folder((b"a.tar.gz", packed(classes))),
        "tar_gz": auto + file + folder((b"a.tar.gz", packed(classes))),
        "tar_cut": archive + file + folder((b"a.tar", pair[:700])),
        "tar_cut_strict": archive + b"\3" + folder((b"a.tar", pair[:700])),
        "tar_label": archive + file + folder((b"a.tar", pair.replace(b"3\n", b"x\n"))),
        "tar_braces": archive + file + folder((b"{a,b}.tar", b""), (b"a.tar", pair)),
        "frames": auto + file + folder((b"a.st", x + end)),
        "frames_stream": frames + stream + folder((b"a.st", x + end)),
        "frames_cut": frames + file + folder((b"a.st", x)),
        "frames_views": frames + file + folder(
            (b"a.st", frame(header(x=("U8", [1, 2, 1, 1, 3], 0, 6)), b"abcdef"))),
        "series": auto + file + folder((b"a.csv", b"1,2,3\n0,4,5e3\n")),
        "series_folder": series + test + folder((b"X_TRAIN.tsv", b"-1\t2\t3\n2\t3\t4\n"),
                                                (b"X_TEST.tsv", b"2\t1\t0\r\n")),
        "series_unequal": auto + file + folder((b"a.csv", b"1,2,3\n0,4\n")),
        "series_odd": auto + file + folder((b"a.csv", b"1,nan,0x1p3,1e999,,\0\n")),
        "npy": auto + file + folder((b"a.npy", npy("<f4", "(2, 3)", bytes(24)))),
        "npy_channels": series + file + folder(
            (b"a.npy", npy("<f8", "(1, 2, 2)", bytes(32), 2)), (b"a-labels.npy", npy("<i8", "(1,)", bytes(8)))),
        "npy_folder": series + plain + folder((b"train.npy", npy("<f4", "(1, 3)", bytes(12))),
                                              (b"train-labels.npy", npy("|u1", "(1,)", b"7"))),
        "npy_huge": series + file + folder((b"a.npy", npy("<f4", "(4294967296, 4294967296, 9)", b""))),
        "npy_claims": series + file + folder((b"a.npy", npy("<f4", "(1000, 1000)", b"abcd"))),
        "npy_scalar": series + file + folder((b"a.npy", npy("<f4", "()", b"abcd"))),
        "empty": b"\0",
    }
    for content in cases.values():
        assert len(content) <= 4096
    for name, content in cases.items():
        put("dataset", name, content)


def text_opcode(text):
    return b"X" + struct.pack("<I", len(text)) + text


def storage(key=b"0", kind=b"FloatStorage", count=12):
    return (b"(" + text_opcode(b"storage") + b"ctorch\n" + kind + b"\n" + text_opcode(key) +
            text_opcode(b"cuda:0") + b"K" + bytes([count]) + b"tQ")


def tensor_call(reference, offset=0, shape=(3, 4), stride=(4, 1), function=b"_rebuild_tensor_v2"):
    lengths = b"".join(b"(" + b"".join(b"K" + bytes([n]) for n in numbers) + b"t" for numbers in (shape, stride))
    return (b"ctorch._utils\n" + function + b"\n(" + reference + b"K" + bytes([offset]) + lengths +
            b"\x89ccollections\nOrderedDict\n)RtR")


def pickle_of(*items):
    return b"\x80\2}(" + b"".join(text_opcode(name) + value for name, value in items) + b"u."


def pickled_batch(key, labels):
    """A batch of CIFAR by Python 2, whose pixels fuzz_dataset.c adds."""
    n = len(labels)
    return (b"*\x80\2}(U" + bytes([len(key)]) + key + b"](" + b"".join(b"K" + bytes([label]) for label in labels) +
            b"eU\4datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1" +
            b"M" + struct.pack("<H", n) + b"M\0\x0c\x86cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNN" +
            2 * b"J\xfe\xfe\xfe\xfe" + b"K\0tb\x89T" + struct.pack("<I", 3072 * n) + b"@C" * n + b"tbu.")


def cifar_batches():
    array = pickled_batch(b"labels", b"\3\4")[1:]
    names = b"\x80\2}U\5names](" + b"U\1a" * 10 + b"es."
    for name, content in {
        "batch": b"\0" + array, "fortran": b"\0" + array.replace(b"tb\x89T", b"tb\x88T"),
        "label": b"\0" + pickled_batch(b"labels", b"\x0a")[1:], "other_key": b"\0" + pickled_batch(b"label", b"\3")[1:],
        "few_bytes": b"\0" + array.replace(b"@C@C", b"@C@"), "narrow": b"\0" + array.replace(b"M\0\x0c\x86", b"M\1\x0c\x86"),
        "signed": b"\0" + array.replace(b"u1", b"i1"), "system": b"\0cos\nsystem\n(S'false'\ntR.",
        "scalars": b"\0" + array.replace(b"](K\3", b"](cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\nU\2i8K\0K\1"
                                         b"\x87R(K\3U\1<NNNK\0K\0K\0tbU\x08\3\0\0\0\0\0\0\0tR"),
        "latin1": b"\0" + array.replace(b"T\0\x18\0\0@C@C", b"c_codecs\nencode\n(X\0\x18\0\0@C@CU\6latin1tR"),
        "frombuffer": b"\0" + b"\x80\5}(U\6labels](K\1eU\4datacnumpy.core.numeric\n_frombuffer\n(\x96\0\x0c\0\0\0\0\0\0@C"
                      b"cnumpy\ndtype\nU\2u1K\0K\1\x87RK\1M\0\x0c\x86U\1CtRu.",
        "names": b"\1" + names, "few_names": b"\1" + names.replace(b"U\1a", b"", 1),
    }.items():
        put("cifar", name, content)


def checkpoints():
    one = tensor_call(storage())
    shared = tensor_call(storage(), 4, (2, 2), (1, 4))
    nested = pickle_of((b"state_dict", b"ccollections\nOrderedDict\n)R(" + text_opcode(b"fc.weight") + one + b"u}b"),
                       (b"epoch", b"K\3"), (b"list", b"](" + shared + b"Ne"),
                       (b"hyper_parameters", b"cargparse\nNamespace\n)\x81}" + text_opcode(b"lr") +
                        b"G?\xb9\x99\x99\x99\x99\x99\x9asb"))
    parameter = pickle_of((b"w", b"ctorch._utils\n_rebuild_parameter\n(" + one + b"\x88ccollections\nOrderedDict\n)RtR"))
    kinds = {kind: pickle_of((b"v", tensor_call(storage(b"0", kind, count), 0, (count,), (1,)))) for kind, count in
             ((b"DoubleStorage", 6), (b"HalfStorage", 24), (b"BFloat16Storage", 24), (b"LongStorage", 6),
              (b"CharStorage", 48), (b"BoolStorage", 48), (b"ComplexFloatStorage", 6))}
    v3 = pickle_of((b"v", b"ctorch._utils\n_rebuild_tensor_v3\n((" + text_opcode(b"storage") +
                    b"ctorch.storage\nUntypedStorage\n" + text_opcode(b"0") + text_opcode(b"cpu") +
                    b"K0tQK\0K\x18\x85K\1\x85\x89Nctorch\nuint16\ntR"))
    keys = b"\x80\2]q\1X\1\0\0\x000a."
    data = struct.pack("<q12f", 12, *range(12))
    start = (b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\2M\xe9\3.\x80\2}" + text_opcode(b"little_endian") +
             b"\x88s.")
    pickles = {
        "nested": nested, "parameter": parameter, "v3": v3, "flat": pickle_of((b"w", one), (b"v", shared)),
        "old_call": pickle_of((b"w", tensor_call(storage(), 0, (3, 4), (4, 1), b"_rebuild_tensor"))),
        "expanded": pickle_of((b"w", tensor_call(storage(), 0, (200, 200), (0, 0)))),
        "outside": pickle_of((b"w", tensor_call(storage(), 9, (2, 2), (4, 1)))),
        "twice": pickle_of((b"w", one), (b"w", one)), "nameless": one + b".",
        "sparse": pickle_of((b"w", tensor_call(storage(), function=b"_rebuild_sparse_tensor"))),
        "self": b"\x80\2]q\0h\0a" + b".", "deep": b"\x80\2" + b"]" * 200 + b"a" * 199 + b".",
        "bomb": b"\x80\2]q\0" + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
                                         for i in range(60)) + b".",
        "python2": b"\x80\2ccollections\nOrderedDict\n(](](U\1w" + one + b"eetR.",
        "system": b"cos\nsystem\n(S'false'\ntR.", "inst": b"(S'false'\nios\nsystem\n.",
        "memo": b"\x80\2]r\xff\xff\xff\x7f.", "frame": b"\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\x7f].",
        "text": b"(dp0\nVa\\u00e9\np1\nI5\nsS'b\\x00'\nL7L\nsF1.5\nI01\ns.",
    } | {kind.decode(): content for kind, content in kinds.items()}
    for name, content in pickles.items():
        put("torch", name, b"\1" + struct.pack(">H", len(content)) + content + bytes(range(1, 49)))
        put("torch", name + "_old", b"\2" + content + keys + data)
        put("torch", name + "_alone", b"\3" + content)
    put("torch", "old_file", b"\0" + start + pickles["flat"] + keys + data)
    put("torch", "tar", b"\0" + (b"sys_info".ljust(257, b"\0") + b"ustar").ljust(512, b"\0"))
    zipped = io.BytesIO()
    for compression in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED:
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", compression) as file:
            for name, content in (("a/data.pkl", pickles["flat"]), ("a/byteorder", b"little"), ("a/data/0", data[8:]),
                                  ("a/version", b"3\n")):
                file.writestr(zipfile.ZipInfo(name), content, compression)
        put("torch", "zip_%d" % compression, b"\0" + zipped.getvalue())


def weights():
    def conv(o, i, k):
        return "F32", [o, i, k, k]

    def network(names):
        """The tensors by which an encoder is found, and its norm."""
        stem, norm, block = names
        found = {stem: conv(2, 3, 3), norm: ("F32", [2])}
        found.update((block(s, b), conv(2 << s, 2, 3)) for s in range(4) for b in range(2))
        return found

    forms = {
        "torchvision": ("conv1.weight", "bn1.weight", lambda s, b: f"layer{s + 1}.{b}.conv1.weight"),
        "sequence": ("0.weight", "1.weight", lambda s, b: f"{s + 4}.{b}.conv1.weight"),
        "hugging": ("embedder.embedder.convolution.weight", "embedder.embedder.normalization.weight",
                    lambda s, b: f"encoder.stages.{s}.layers.{b}.layer.0.convolution.weight"),
        "simclr2": ("net.0.0.weight", "net.0.1.0.weight", lambda s, b: f"net.{s + 1}.blocks.{b}.net.0.weight"),
    }
    heads = {"projector.0.weight": ("F32", [3, 2]), "projector.1.bias": ("F32", [3]), "fc.weight": ("F32", [4, 2]),
             "fc.bias": ("F32", [4]), "classifier.1.weight": ("F32", [4, 2]), "head.layers.0.weight": ("F32", [3, 2]),
             "head.layers.1.bias": ("F32", [3]), "optimizer.0": ("F32", [1])}
    for form, names in forms.items():
        found = network(names)
        put("weights", form, b"\0" + lines(**found, **heads))
        put("weights", form + "_wrapped", b"\0" + lines({"step": 1}, **{"model.module." + k: v for k, v in found.items()}, **heads))
        put("weights", form + "_twice", b"\0" + lines(**{p + "." + k: v for k, v in found.items() for p in ("encoder_q", "encoder_k")}))
        put("weights", form + "_which", b"\0" + lines(**{p + "." + k: v for k, v in found.items() for p in ("a", "b")}))
    own = network(forms["torchvision"])
    said = {"encoder": "arch=resnet18 width=0.03125 stem=cifar", "projector": "layers=1 hidden=0 dim=3", "classifier": "classes=4"}
    put("weights", "described", b"\0" + lines(said, **own, **heads))
    put("weights", "odd", b"\0" + lines({"encoder": "arch=", "derived": "encoder"}, **own))
    put("weights", "same_name", b"\0" + lines(**own, **{"layer1.0.shortcut.0.weight": conv(2, 2, 1), "layer1.0.downsample.0.weight": conv(2, 2, 1)}))
    for name, (text, size) in HEADERS.items():
        put("weights", "header_" + name, b"\1" + text.encode() + b"\0" + bytes(min(size, 64)))
    put("weights", "dtypes", b"\1" + header(**{
        "conv1.weight": ("F64", [1], 0, 8), "conv1.a": ("F16", [1], 8, 10), "conv1.b": ("U16", [1], 10, 12), "conv1.c": ("I8", [1], 12, 13),
        "conv1.d": ("BOOL", [1], 13, 14), "conv1.e": ("U32", [1], 14, 18)}).encode() + b"\0" + bytes(18))
    put("weights", "unknown_dtype", b"\1" + header(**{"bn1.weight": ("F8_E4M3", [4], 0, 4), "x": ("C64", [1], 4, 12)}).encode() + b"\0" + bytes(12))
    put("weights", "huge_double", b"\1" + header(**{"bn1.weight": ("F64", [1], 0, 8)}).encode() + b"\0" + struct.pack("<d", 1e300))
    put("weights", "crc", b"\1" + header({"crc32": "00000000"}, **{"bn1.weight": ("U8", [1], 0, 1)}).encode() + b"\0a")


def shards():
    def tar(*files):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in files:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    labelled = tar(("a.png", b"x" * 600), ("a.cls", b"3"), ("b.png", b""), ("train/\u00e9.jpg", b"y"))
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = gzip.compress(labelled) + gzip.flush()
    for name, raw in {
        "tar": labelled,
        "no_mark": labelled[:5 * 512],
        "one_mark": labelled.rstrip(b"\0") + bytes(1024),
        "cut": labelled[:700],
        "two": labelled + labelled,
        "gz": packed,
        "gz_cut": packed[:-5],
        "nothing": b"",
        "page": b"<html>no</html>",
    }.items():
        for how in 1, 9, 27, 0xe1, 0xe9, 0xe3:
            put("shards", f"{name}_{how}", bytes([how, 20]) + raw)
    image = loose(header({"class_names": '[\\"a\\"]'}, x=("U8", [2, 2, 2, 3], 0, 24)), bytes(24))
    end = loose(header(END))
    for name, parts in {"frames": [image, image, end], "no_end": [image], "end": [end]}.items():
        for how in 0, 8, 24, 2:
            put("shards", f"{name}_{how}", bytes([how, 3]) + CUT.join(parts))


def texts():
    for name, ops in {
        "simclr": "crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2",
        "center": "center,flip:1",
        "study": "crop:0.2-1:0.5:0.5-2,cutout:1:0.1-0.9,rotate:1,noise:1:0-0.2,sobel:1,solarize:1:0.4",
        "named": "simclr-cifar,solarize",
        "whole": "flip,gray:1,jitter:1:2.5,blur:1:1000",
        "tiny": "crop:1e-6",
        "backward": "crop:0.5-0.2",
        "nan": "crop:nan-1",
        "hex": "crop:0x1p-3-inf",
        "late_crop": "flip,crop",
        "arguments": "crop:1:2:3:4:5",
        "empty": "",
        "comma": "crop,,",
        "most": "flip" + ",flip" * 14,
        "too_many": "flip" + ",flip" * 15,
        "unknown": "frobnicate" * 40,
        "series": "simclr-series,mask:1:0-1,permutation:1:1-16",
        "series_whole": "center,trend:1:1e6,scaling:1:0",
        "series_half": "permutation:1:1.5",
    }.items():
        put("policy", name, b"\x07\x0b\x05" + ops.encode())
        put("policy", name + "_thin", b"\x00\x17\x01" + ops.encode())
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    for name, text in {
        "good": key, "newline": key + "\n", "short": key[:-5], "long": key + "x",
        "nul": key[:35] + "\0" + key[36:], "character": key[:-1] + "\t",
        "overflow": "#" * 40, "none": "", "high": key[:-1] + "\u00fc",
    }.items():
        for mode in range(4):
            put("key", "%s_%d" % (name, mode), bytes([mode]) + text.encode())
    row = loose(header({"step": "2", "loss": "4.5"}))
    for name, table in {
        "none": b"", "other": b"a\tb\n1\t2\n", "rows": b"step\tloss\n0\t6\n1\t5\n2\t9\n",
        "cut": b"step\tloss\n0\t6\n1", "no_newline": b"step", "odd": b"step\n9999999999999999999\n-1\n",
        "nul": b"step\tloss\n0\0\t6\n", "wide": b"step" + b"\tc" * 70 + b"\n0\n",
    }.items():
        put("log", name, row + CUT + table)
    put("log", "no_step", loose(header({"loss": "1"})) + CUT + b"step\n")
    put("log", "step_odd", loose(header({"step": "x"})))


def main():
    for target in ("frame header reader source link reduce gather lars features decode dataset policy "
                   "key log webp tiff bmp pnm torch cifar weights shards").split():
        folder = os.path.join(CORPUS, target)
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if not name.startswith("found"):
                os.remove(os.path.join(folder, name))
    for make in (frames, streams, links, workers, optimizers, features, images, tiffs, bmps, pnms, webps, datasets,
                 cifar_batches, checkpoints, weights, shards, texts):
        make()


main()
