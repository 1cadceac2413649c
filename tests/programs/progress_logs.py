"""Streams for the tests of progress's logs, and readers of lines of JSON and of event files.

    progress_logs.py ROOT COMMAND ARGUMENTS...
"""

import json
import math
import os
import struct
import sys
import time

import numpy as np

root, command, *arguments = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

# Metadata as a stage may write it, and the JSON that it should become.
ODD = {
    "plain": ("0.1000000015", 0.1000000015),
    "small": ("4.5e-05", 4.5e-05),
    "whole": ("-12", -12),
    "zero": ("-0", 0),
    "short": (".5", 0.5),
    "signed": ("+1.25", 1.25),
    "padded": ("007", 7),
    "dangling": ("3.", 3),
    "undefined": ("nan", None),
    "endless": ("-inf", None),
    "too large": ("1e999", None),
    "hex": ("0x10", "0x10"),
    "word": ("sixteen", "sixteen"),
    "nothing": ("", ""),
    "spaced": (" 1", " 1"),
    'quo"ted\\\t': ('a "b" \\ \n\x01\x7f \u00e4\u2028', 'a "b" \\ \n\x01\x7f \u00e4\u2028'),
}


def loss_of(step, attempt):
    return 5.5 - step / 64 + int(attempt) / 1024


def stream(path, first, last, attempt=0, end=True):
    with open(path, "wb") as file:
        for step in range(first, last):
            late = {"z_std": step / 8} if step >= 4 else {}
            odd = {key: value for key, (value, _) in ODD.items()}
            loss = loss_of(step, attempt)
            frames.write(file, loss=loss, steps=99, batch=8, seq=step, **late, step=step, **odd)
        if end:
            frames.write_end(file)


def streams():
    """Writes a run, a run that is killed, one that goes on from its state of step 5, and others."""
    stream("all.st", 0, 9)
    stream("killed.st", 0, 7, end=False)
    stream("resumed.st", 5, 9, 1)
    stream("begin.st", 0, 3, end=False)
    stream("rest.st", 3, 9)
    for step in (0, 2, 1):
        stream(f"from{step}.st", step, 6)
    with open("stepless.st", "wb") as file:
        frames.write(file, step=0, loss=1.5)
        frames.write(file, loss=1.5)
        frames.write_end(file)


def rows(path, first, last, *attempts):
    """Checks the lines of JSON: a row for each step, from the attempt that computed it last."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read()
    assert lines.endswith("\n")
    lines = lines.split("\n")[:-1]
    assert len(lines) == int(last) - int(first), len(lines)
    for step, line in enumerate(lines, int(first)):
        pairs = json.loads(line, parse_constant=refuse, object_pairs_hook=list)
        row = dict(pairs)
        assert len(row) == len(pairs) and pairs[0] == ("step", step), pairs
        assert row.pop("loss") == loss_of(step, attempt_at(step, attempts))
        late = row.pop("z_std", None)
        assert late == (step / 8 if step >= 4 else None), late
        assert row.pop("step") == step
        assert row == {key: value for key, (_, value) in ODD.items()}, row
        assert '"plain":0.1000000015,' in line, "the digits are those of the frame"


def attempt_at(step, attempts):
    """Attempts are given as the first step of each after the one that began the log."""
    return sum(step >= int(first) for first in attempts)


# ---- event files ----


def messages():
    """Builds the classes from the field numbers of TensorBoard's event.proto and summary.proto."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        made.oneof_decl.add(name="what")
        for key, number, kind, one, *rest in fields:
            f = made.field.add(name=key, number=number, type=kind, label=field.LABEL_OPTIONAL)
            if one:
                f.oneof_index = 0
            if rest:
                f.type_name = ".t." + rest[0]
            if rest[1:]:
                f.label = field.LABEL_REPEATED

    message(
        "Event",
        ("wall_time", 1, field.TYPE_DOUBLE, False),
        ("step", 2, field.TYPE_INT64, False),
        ("file_version", 3, field.TYPE_STRING, True),
        ("summary", 5, field.TYPE_MESSAGE, True, "Summary"),
        ("session_log", 7, field.TYPE_MESSAGE, True, "SessionLog"),
    )
    message("Summary", ("value", 1, field.TYPE_MESSAGE, False, "Value", "repeated"))
    message("Value", ("tag", 1, field.TYPE_STRING, False), ("simple_value", 2, field.TYPE_FLOAT, True))
    message("SessionLog", ("status", 1, field.TYPE_INT32, False))
    for made in file.message_type:  # protoc, too, leaves out a oneof without fields
        if not any(f.HasField("oneof_index") for f in made.field):
            del made.oneof_decl[:]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    event = pool.FindMessageTypeByName("t.Event")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(event)
    return message_factory.MessageFactory(pool).GetPrototype(event)


def table():
    entries = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        entries.append(i)
    return entries


TABLE = table()


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# "123456789" has the CRC-32C 0xe3069283.
assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """The data of each whole record; and checks that nothing but the beginning of one follows."""
    with open(path, "rb") as file:
        data = file.read()
    at, found = 0, []
    while at + 12 <= len(data):
        (length,), (crc,) = struct.unpack("<Q", data[at : at + 8]), struct.unpack("<I", data[at + 8 : at + 12])
        assert crc == masked_crc(data[at : at + 8]), f"{path}: the length at {at} has another CRC"
        end = at + 12 + length
        if end + 4 > len(data):
            break
        (crc,) = struct.unpack("<I", data[end : end + 4])
        assert crc == masked_crc(data[at + 12 : end]), f"{path}: the data at {at} have another CRC"
        found.append(data[at + 12 : end])
        at = end + 4
    return found


def read_events(folder):
    """Reads the files of a folder in TensorBoard's order and checks how each begins."""
    event, last = messages(), 0
    for name in sorted(os.listdir(folder)):
        if "tfevents" not in name:
            continue
        parsed = [event.FromString(data) for data in records(os.path.join(folder, name))]
        assert parsed[0].file_version == "brain.Event:2" and parsed[0].step == 0
        assert parsed[1].WhichOneof("what") == "session_log" and parsed[1].session_log.status == 1
        for e in parsed:
            assert abs(e.wall_time - time.time()) < 600 and e.wall_time >= last
            last = e.wall_time
        assert all(e.WhichOneof("what") == "summary" for e in parsed[2:])
        yield name, parsed


def points(folder):
    """What TensorBoard shows: {tag: [(step, value), ...]}, by its Python and by its Rust reader."""
    python, rust, started = {}, {}, False
    for _, parsed in read_events(folder):
        for e in parsed[1:]:
            if e.WhichOneof("what") == "session_log":
                if started:
                    python = {t: [p for p in old if p[0] < e.step] for t, old in python.items()}
                started = True
            for value in e.summary.value:
                assert value.WhichOneof("what") == "simple_value"
                python.setdefault(value.tag, []).append((e.step, value.simple_value))
                kept = [p for p in rust.get(value.tag, []) if p[0] < e.step]
                rust[value.tag] = kept + [(e.step, value.simple_value)]
    assert repr(python) == repr(rust)
    return python


def events(folder, first, last, *attempts):
    seen = points(folder)
    steps = range(int(first), int(last))
    numbers = {}
    for key, (text, parsed) in ODD.items():
        if not isinstance(parsed, str):
            numbers[key] = float(text)
    assert set(seen) == {"loss", "z_std"} | set(numbers), sorted(seen)
    assert seen["loss"] == [(s, loss_of(s, attempt_at(s, attempts))) for s in steps], seen["loss"]
    assert seen["z_std"] == [(s, s / 8) for s in steps if s >= 4]
    for key, number in numbers.items():
        assert [step for step, _ in seen[key]] == list(steps), key
        with np.errstate(over="ignore"):
            want = np.float32(number)
        for _, value in seen[key]:
            assert value == want or (math.isnan(value) and math.isnan(want)), (key, value)


def starts(folder, *steps):
    """Checks the steps of the START events, in the order of the files' names."""
    found = [parsed[1].step for _, parsed in read_events(folder)]
    assert found == list(map(int, steps)), found


def same(folder, table, *first):
    """Checks that TensorBoard shows what a run's table has; and the steps at which files begin."""
    with open(table) as file:
        names, *rows = [line.rstrip("\n").split("\t") for line in file]
    seen = points(folder)
    assert set(seen) == set(names) - {"step"}, (sorted(seen), names)
    for i, name in enumerate(names[1:], 1):
        assert seen[name] == [(int(row[0]), np.float32(row[i])) for row in rows], name
    starts(folder, *first)


def count(folder):
    """Prints how many summaries the folder has."""
    print(sum(len(parsed) - 2 for _, parsed in read_events(folder)))


globals()[command](*arguments)
