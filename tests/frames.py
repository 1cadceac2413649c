"""Reads and writes frames in numpy, for the tests' input and the programs' output.

    import sys; sys.path.insert(0, f"{root}/tests"); import frames
    frames.write(file, {"h": array, "y": labels}, step=3, loss=4.5)
    frames.write_end(file)
    for tensors, meta in frames.read_all(file): ...

Files are binary (sys.stdin.buffer, open(path, "rb")). To write a bf16 tensor, wrap its array as
frames.bf16(array); it is read back as float32. Numbers in the metadata are turned into
strings; numpy's float32 is printed so that it reads back exactly."""

import json
import signal
import struct
import sys

import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "U8": "u1", "I32": "<i4", "I64": "<i8"}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


class bf16:
    """float32 values that are written as bf16, rounded to nearest even (NaN stays NaN)."""

    def __init__(self, values):
        values = np.ascontiguousarray(values, "<f4")
        bits = values.view("<u4").astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        self.bits = np.where(np.isnan(values), 0x7FC0, rounded).astype("<u2")


def _text(value):
    if isinstance(value, (np.float32, np.float16)):
        return "%.9g" % value
    if isinstance(value, float):
        return "%.17g" % value
    return str(value)


def header(entries, meta, pad=64):
    """The 8-byte length and the JSON header; entries as in safetensors, pad=1 leaves it as it is."""
    if meta:
        entries = {"__metadata__": {k: _text(v) for k, v in meta.items()}, **entries}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % pad)
    return struct.pack("<Q", len(text)) + text


def pack(tensors=None, pad=64, **meta):
    """A whole frame as bytes. Tensors are laid out in the order of the dictionary."""
    entries, data = {}, []
    at = 0
    for name, value in (tensors or {}).items():
        if isinstance(value, bf16):
            dtype, raw = "BF16", value.bits
        else:
            raw = np.asarray(value)
            dtype = NAMES[raw.dtype]
        chunk = raw.tobytes()
        entries[name] = {
            "dtype": dtype,
            "shape": list(raw.shape),
            "data_offsets": [at, at + len(chunk)],
        }
        data.append(chunk)
        at += len(chunk)
    return header(entries, meta, pad) + b"".join(data)


def write(file, tensors=None, **meta):
    _end_with_reader(file)
    file.write(pack(tensors, **meta))


def write_end(file):
    _end_with_reader(file)
    file.write(pack(end=1))
    file.flush()


def _end_with_reader(file):
    """Lets a closed pipe end the program silently, as it ends any filter: a test that counts the
    lines on stderr wants those of the reader that refused the frames, however early it left."""
    if file is sys.stdout.buffer:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def read(file):
    """The next frame as (tensors, metadata), or None at the end of the file."""
    length = file.read(8)
    if not length:
        return None
    (n,) = struct.unpack("<Q", length)
    entries = json.loads(file.read(n))
    meta = entries.pop("__metadata__", {})
    data = file.read(max((e["data_offsets"][1] for e in entries.values()), default=0))
    tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        if len(data) < end:
            raise EOFError("the stream breaks off inside a frame")
        if entry["dtype"] == "BF16":
            bits = np.frombuffer(data[begin:end], "<u2")
            values = (bits.astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, meta


def read_all(file, end=False):
    """Every frame of a stream; end frames are left out unless `end`."""
    while (frame := read(file)) is not None:
        if end or frame[1].get("end") != "1":
            yield frame
