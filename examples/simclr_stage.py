"""What a stage in Python needs: frames, the serving loop, and links to other stages and to the optimizer.

    import simclr_stage

    def answer(tensors, meta):                        # one request; returns the reply
        z = simclr_stage.need(tensors, "z", "F32", (None, 2, None))
        return {"dz": z / 2}, meta | {"loss": "1.5"}

    simclr_stage.run(answer)                          # reads stdin, writes stdout, exits with 0 or 1

Tensors are a dictionary of numpy arrays, metadata one of strings. docs/frames.md describes the bytes,
docs/links.md the links, docs/stages.md what each stage answers and how this file is used. It needs numpy;
ipc:// and tcp:// also need pyzmq. The parts, from the bottom up:

    Failure, fail, warn        messages
    read_frame, pack           frames, and need() for one tensor of a frame
    add_options                the options of every stage
    Link                       a client's connection: exec:CMD, ipc://PATH, tcp://HOST:PORT
    Server, run                requests from stdin, a file, a command or sockets, and their replies
    Optimizer                  joins with parameters, sends gradients in buckets, gets new values
"""

import argparse
import atexit
import json
import math
import os
import queue
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
import zlib
from typing import NamedTuple

import numpy as np

# ---- messages ----


class Failure(Exception):
    """What went wrong, in one line for the user. run() prints it, tells it to the callers, and ends the
    program with status 1."""


class Unfit(Failure):
    """A request that does not suit this stage. If its sender may be a stranger, run() refuses it and
    goes on."""


def program():
    return os.path.basename(sys.argv[0])


def one_line(text):
    return " ".join(str(text).split())[:2000]


def warn(text):
    sys.stderr.write(f"{program()}: {one_line(text)}\n")
    sys.stderr.flush()


# ---- frames ----

# numpy has no bfloat16: an array of this type has its bits. widen() and narrow() convert.
BF16 = np.dtype([("bf16", "<u2")])
TYPES = {"F32": np.dtype("<f4"), "BF16": BF16, "F16": np.dtype("<f2"), "U8": np.dtype("u1"),
         "I32": np.dtype("<i4"), "I64": np.dtype("<i8")}
NAMES = {dtype: name for name, dtype in TYPES.items()}
MAX_HEADER, MAX_ENTRIES, MAX_DIMS = 100_000_000, 16384, 8
LIMIT = 4 << 30  # bytes of a frame, if --max-frame is not given


class Frame(NamedTuple):
    """Named arrays and metadata."""

    tensors: dict
    meta: dict

    @property
    def is_end(self):
        return not self.tensors and self.meta.get("end") == "1"


def widen(values):
    """Returns bfloat16 as float32; leaves arrays of other types as they are."""
    if values.dtype != BF16:
        return values
    return (values["bf16"].astype("<u4") << 16).view("<f4")


def narrow(values):
    """Returns float32 as bfloat16, rounded to the nearest, halves to even; NaN stays NaN."""
    values = np.ascontiguousarray(values, "<f4")
    bits = values.view("<u4").astype("<u8")
    rounded = np.where(np.isnan(values), 0x7FC0, (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    return rounded.astype("<u2").view(BF16).reshape(values.shape)


def need(tensors, name, dtype, shape=None):
    """Returns a tensor of this dtype and shape, in which None stands for any size. Fails if the frame has
    no such tensor."""
    if name not in tensors:
        raise Unfit(f"the frame has no tensor {name}")
    a = tensors[name]
    fits = shape is None or (len(shape) == a.ndim and all(n in (None, m) for n, m in zip(shape, a.shape)))
    if NAMES[a.dtype] != dtype or not fits:
        wanted = "" if shape is None else f" [{','.join('*' if n is None else str(n) for n in shape)}]"
        raise Unfit(f"tensor {name} is {NAMES[a.dtype]} [{','.join(map(str, a.shape))}], not {dtype}{wanted}")
    return a


def integer(meta, key, fallback):
    """Returns the metadata's value as an integer, or the fallback if the key is missing."""
    try:
        return int(meta[key]) if key in meta else fallback
    except ValueError:
        raise Failure(f"metadata {key} is '{one_line(meta[key])[:60]}', not an integer") from None


def number(meta, key, fallback):
    """The same for a number, which may be nan or inf."""
    try:
        return float(meta[key]) if key in meta else fallback
    except ValueError:
        raise Failure(f"metadata {key} is '{one_line(meta[key])[:60]}', not a number") from None


def digits(value):
    """Prints a float32 so that it reads back exactly."""
    return f"{np.float32(value):.9g}"


def pack(tensors, meta, crc=False):
    """Returns the bytes of a frame. Tensors whose size is a multiple of 64 bytes come first, so that these
    are aligned for their reader, and then the largest elements."""
    arrays = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in tensors.items()}
    order = sorted(arrays, key=lambda name: (arrays[name].nbytes % 64 != 0, -arrays[name].dtype.alignment))
    meta = {key: value for key, value in meta.items() if key != "crc32"}
    if crc:
        sum_ = 0
        for name in order:
            sum_ = zlib.crc32(arrays[name].reshape(-1).view("u1"), sum_)
        meta["crc32"] = f"{sum_:08x}"
    header, at = {"__metadata__": meta} if meta else {}, 0
    for name in order:
        a = arrays[name]
        header[name] = {"dtype": NAMES[a.dtype], "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return b"".join([struct.pack("<Q", len(text)), text, *(arrays[name].reshape(-1).view("u1") for name in order)])


def _pairs(pairs):
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a key stands there twice")
    for text in [*names, *(value for value in names.values() if isinstance(value, str))]:
        text.encode()  # fails if it is no Unicode text
        if "\0" in text:
            raise ValueError("a text with a NUL")
    return names


def _constant(text):
    raise ValueError(f"{text} is no JSON")


def _entry(name, entry, where):
    """Checks a tensor's entry. Returns begin, end, name, dtype and shape."""
    if not name or not isinstance(entry, dict):
        raise Failure(f"{where}: '{name}' is no tensor's entry")
    for key in entry:
        if key not in ("dtype", "shape", "data_offsets"):
            raise Failure(f"{where}: tensor {name} has an unknown entry '{key}'")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise Failure(f"{where}: tensor {name} lacks a dtype, a shape or two data_offsets")
    if dtype not in TYPES:
        raise Failure(f"{where}: tensor {name} has the unknown dtype '{dtype}'")
    if len(shape) > MAX_DIMS:
        raise Failure(f"{where}: tensor {name} has more than {MAX_DIMS} dimensions")
    if any(type(n) is not int for n in shape):
        raise Failure(f"{where}: tensor {name} has a dimension that is no integer")
    size = math.prod(shape) * TYPES[dtype].itemsize
    if any(not 0 <= n < 1 << 63 for n in shape) or size >= 1 << 63:
        raise Failure(f"{where}: tensor {name}: the shape is negative or overflows")
    if any(type(n) is not int for n in offsets) or not 0 <= offsets[0] <= offsets[1]:
        raise Failure(f"{where}: tensor {name} has impossible data_offsets")
    if offsets[1] - offsets[0] != size:
        raise Failure(f"{where}: tensor {name} spans {offsets[1] - offsets[0]} bytes where its shape and dtype make {size}")
    return offsets[0], offsets[1], name, TYPES[dtype], shape


def _parse_header(text, limit, where):
    """Returns the metadata, the entries in the order of their bytes, and the size of the data."""
    if not text.startswith(b"{"):
        raise Failure(f"{where}: the header at byte 8 does not start with '{{'")
    try:
        header = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except (ValueError, RecursionError) as why:
        raise Failure(f"{where}: bad header: {one_line(why)[:200]}") from None
    meta = header.pop("__metadata__", {})
    if not isinstance(meta, dict):
        raise Failure(f"{where}: __metadata__ is not an object")
    for key, value in meta.items():
        if not isinstance(value, str):
            raise Failure(f"{where}: metadata {key} is not a string")
    if len(header) > MAX_ENTRIES or len(meta) > MAX_ENTRIES:
        raise Failure(f"{where}: a frame of {len(header)} tensors and {len(meta)} keys is over the limit of {MAX_ENTRIES}")
    entries = sorted((_entry(name, entry, where) for name, entry in header.items()), key=lambda e: e[:2])
    at = 0
    for begin, end, name, _, _ in entries:
        if begin != at:
            raise Failure(f"{where}: {'gap' if begin > at else 'overlap'} at byte {min(begin, at)} of the data, "
                          f"where tensor {name} should start at byte {at}")
        at = end
    if at + len(text) > limit:
        raise Failure(f"{where}: a frame of {at + len(text)} bytes is over the limit of {limit} (--max-frame)")
    return meta, entries, at


def _fill(file, size, where, part, moved=None):
    """Reads that many bytes. Returns an array, or None at the end of the file before the first byte. The
    memory is not touched before bytes come."""
    data = np.empty(size, "u1")
    view, have = memoryview(data), 0
    while have < size:
        n = file.readinto(view[have : have + (1 << 20)] if moved else view[have:])
        if not n:
            if have == 0 and part == "the header's length":
                return None
            raise Failure(f"{where}: truncated in {part}, at byte {have} of {size}")
        have += n
        if moved:
            moved(n)
    return data


def read_frame(file, where="stdin", limit=LIMIT, moved=None):
    """Returns the next frame of a binary file, or None at the end of the file. Fails if the bytes are no
    frame, or over the limit. `moved` is called with the number of bytes whenever some have come."""
    length = _fill(file, 8, where, "the header's length", moved)
    if length is None:
        return None
    (n,) = struct.unpack("<Q", length.tobytes())
    if not 2 <= n <= min(MAX_HEADER, limit):
        raise Failure(f"{where}: not a frame: a header of {n} bytes"
                      + (f" is longer than {min(MAX_HEADER, limit)}" if n > 2 else ""))
    text = _fill(file, n, where, "the header", moved).tobytes()
    meta, entries, size = _parse_header(text, limit, where)
    data = _fill(file, size, where, "the data", moved)
    if "crc32" in meta and meta["crc32"].lower() != f"{zlib.crc32(data):08x}":
        raise Failure(f"{where}: the data's CRC-32 is {zlib.crc32(data):08x}, the header says {meta['crc32']}")
    tensors = {}
    for begin, end, name, dtype, shape in entries:
        part = data[begin:end]
        if begin % dtype.itemsize:
            part = part.copy()
        try:
            tensors[name] = part.view(dtype).reshape(shape)
        except ValueError:  # such as [0, 1 << 62]
            raise Failure(f"{where}: tensor {name}: numpy has no arrays of this shape") from None
    return Frame(tensors, meta)


class _Bytes:
    """A message as a file."""

    def __init__(self, data):
        self.data, self.at = memoryview(data), 0

    def readinto(self, view):
        n = min(len(view), len(self.data) - self.at)
        view[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n


def parse(data, where="a message", limit=LIMIT):
    """Returns the frame that these bytes are."""
    file = _Bytes(data)
    frame = read_frame(file, where, limit)
    if frame is None:
        raise Failure(f"{where}: truncated: 0 bytes, where a frame has at least 8")
    if file.at < len(data):
        raise Failure(f"{where}: {len(data) - file.at} trailing bytes after the frame")
    return frame


def load(path):
    """Returns the frame in a file, which is a checkpoint: a file of one frame."""
    try:
        with open(path, "rb", buffering=0) as file:
            frame = read_frame(file, path, 1 << 62)
            if frame is None:
                raise Failure(f"{path}: empty, where a frame was expected")
            if file.read(1):
                raise Failure(f"{path}: trailing bytes after the frame")
            return frame
    except OSError as why:
        raise Failure(f"{path}: {why.strerror}") from None


# ---- options ----


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        if message.startswith("unrecognized arguments: "):
            message = f"unknown option '{message.split(': ', 1)[1].split()[0]}'"
        self.exit(2, f"{program()}: {one_line(message)} ({program()} --help lists the options)\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=28, width=100)

    def _get_help_string(self, action):
        if action.default in (None, "", argparse.SUPPRESS) or action.nargs == 0 or "[" in action.help:
            return action.help
        return f"{action.help} [%(default)s]"


def new_parser(description, details=""):
    """Returns an argparse.ArgumentParser whose errors are one line, with status 2, and whose --help shows
    the defaults."""
    return _Parser(prog=program(), description=description, epilog=details, formatter_class=_Help,
                   usage=f"{program()} [OPTION VALUE]...", allow_abbrev=False)


def between(kind, least, most):
    """Returns a type for an option: a number of that kind in this range."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not {'an integer' if kind is int else 'a number'}") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return convert


def add_options(parser):
    """Adds the options of requests and links, which all stages have; docs/links.md explains them."""
    add = parser.add_argument_group("requests").add_argument
    add("--in", dest="source", metavar="ENDPOINT", default="-", help="where requests come from; from a list in turn")
    add("--out", metavar="ENDPOINT", default="-", help="where replies go")
    add("--listen", metavar="ADDRESS", default="", help="serve clients at tcp:// or ipc:// instead")
    add = parser.add_argument_group("links").add_argument
    add("--timeout", metavar="SECONDS", type=between(float, 0.01, 1e6), default=60,
        help="give up on a peer that does not connect or answer")
    add("--max-frame", metavar="BYTES", type=between(int, 64, 10**15), default=LIMIT, help="refuse frames larger than this")
    add("--crc", action="store_true", help="write a CRC-32 of the data with each frame")
    add("--insecure", action="store_true", help="allow tcp:// beyond this machine without keys")
    add("--curve-key", metavar="FILE", default="", help="this program's secret CURVE key")
    add("--curve-server-key", metavar="FILE", default="", help="the public CURVE key of the servers it connects to")
    add("--curve-clients", metavar="FILE", default="",
        help="the public CURVE keys of the clients that --listen admits, one a line")
    add("--run", metavar="ID", default=os.environ.get("SIMCLR_RUN", ""),
        help="take only frames of this run over tcp:// and ipc://; without: $SIMCLR_RUN")


def default_options():
    """Returns the options of a stage that was given none."""
    parser = new_parser("")
    add_options(parser)
    return parser.parse_args([])


def is_socket(endpoint):
    return endpoint.startswith(("tcp://", "ipc://"))


def _tell_edge(name, what, n, out, into, waited):
    """Prints how much an edge carried, if $SIMCLR_EDGES asks for it (docs/links.md)."""
    if os.environ.get("SIMCLR_EDGES", "0") not in ("", "0"):
        warn(f"edge {name}: {what} {n} out {out} in {into} waited {waited:.3f}")


# ---- commands ----

_children = []


class _Child:
    """A command, run by /bin/sh in a process group of its own. It does not outlive this program."""

    def __init__(self, command, to=True, from_=True):
        import ctypes
        import subprocess

        prctl = getattr(ctypes.CDLL(None), "prctl", None)

        def begin():
            os.setpgid(0, 0)
            if prctl:
                prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(["/bin/sh", "-c", command], stdin=pipe if to else none,
                                        stdout=pipe if from_ else None, bufsize=0, preexec_fn=begin)
        self.to, self.from_ = self.process.stdin, self.process.stdout
        for file in (self.to, self.from_):
            if file:
                widen_pipe(file.fileno())
        if not _children:
            atexit.register(lambda: [child.stop() for child in list(_children)])
        _children.append(self)

    def wait(self, seconds):
        """Waits until it has exited. Returns "" after status 0, what happened otherwise, and None if it
        still runs."""
        import subprocess

        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self in _children:
            _children.remove(self)
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"exited with status {status}" if status else ""

    def stop(self):
        for number_, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 2)):
            if self.process.poll() is None:
                try:
                    os.killpg(self.process.pid, number_)
                except ProcessLookupError:
                    pass
                self.wait(patience)
        if self in _children:
            _children.remove(self)


def widen_pipe(fd):
    """Enlarges a pipe's buffer, so that its writer waits less often. Where that is impossible, nothing
    happens."""
    try:
        import fcntl

        fcntl.fcntl(fd, 1031, 1 << 20)  # F_SETPIPE_SZ
    except (ImportError, OSError):
        pass


def _write(fd, data, name, timeout=None):
    """Writes all bytes to a descriptor, or to one that does not block within the timeout."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if not poll.poll(timeout * 1000):
                raise Failure(f"{name}: no answer within {timeout:g} s") from None
        except BrokenPipeError:
            raise
        except OSError as why:
            raise Failure(f"{name}: {why.strerror}") from None


# ---- sockets ----


def _read_key(path, secret):
    try:
        with open(path, "rb") as file:
            others = secret and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            text = file.read(42)
    except OSError as why:
        raise Failure(f"{path}: {why.strerror}") from None
    if others:
        raise Failure(f"{path}: a secret key that others can read; chmod 600 it")
    key = text[:-1] if text.endswith(b"\n") else text
    if not _is_key(key):
        raise Failure(f"{path}: not a CURVE key of 40 characters")
    return key


def _is_key(key):
    from zmq.utils import z85

    try:
        return len(key) == 40 and len(z85.decode(key)) == 32
    except (KeyError, ValueError, struct.error):
        return False


class _Admission:
    """Tells libzmq which clients' keys are in the file of --curve-clients."""

    def __init__(self, context, path):
        from zmq.auth.thread import ThreadAuthenticator

        self.path, self.keys, self.refused = path, set(), 0
        try:
            with open(path, "rb") as file:
                lines = file.read().splitlines()
        except OSError as why:
            raise Failure(f"{path}: {why.strerror}") from None
        for i, line in enumerate(lines):
            words = line.split()
            if words and not words[0].startswith(b"#"):
                if not _is_key(words[0]):
                    raise Failure(f"{path}: line {i + 1}: not a CURVE key")
                self.keys.add(words[0])
        if not self.keys:
            raise Failure(f"{path}: no key in it, so no client could come")
        self.thread = ThreadAuthenticator(context)
        self.thread.start()

    def guard(self, domain):
        self.thread.configure_curve_callback(domain=domain, credentials_provider=self)

    def callback(self, domain, key):
        if bytes(key) in self.keys:
            return True
        self.refused += 1
        if self.refused <= 10:
            warn(f"{domain}: refused a client whose key is not in {self.path} ({bytes(key).decode()})")
        return False


class _Socket:
    """A ZeroMQ socket whose messages are frames, and that notices the death of its peers: DEALER and
    ROUTER are the ends of a link, PUSH and PULL those of a stream."""

    context = None
    admission = None

    def __init__(self, role, endpoint, options):
        try:
            import zmq
        except ImportError:
            raise Failure(f"{endpoint}: sockets need pyzmq (python3-zmq)") from None
        self.zmq, self.name, self.options = zmq, endpoint, options
        self.client, self.link = role in ("DEALER", "PUSH"), role in ("DEALER", "ROUTER")
        self.joined = self.left = self.reported = self.failed = self.refusals = 0
        self.refused = self.denied = False
        self.connections, self.accepted, self.fd = {}, 0, -1  # descriptor: number, as descriptors are reused
        self.sent = self.taken = 0
        self.opened = time.monotonic()
        self._check_address()
        _Socket.context = _Socket.context or zmq.Context()
        self.socket = _Socket.context.socket(getattr(zmq, role))
        self.keyed = False
        self._set_options()
        events = [zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED, zmq.EVENT_ACCEPTED,
                  zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH]
        self.monitor = self.socket.get_monitor_socket(sum(events))
        self.monitor.rcvhwm = 0
        self.poller = zmq.Poller()
        self.poller.register(self.monitor, zmq.POLLIN)
        try:
            self.socket.connect(endpoint) if self.client else self._bind()
        except (zmq.ZMQError, OSError) as why:
            raise Failure(f"{endpoint}: {getattr(why, 'strerror', why)}") from None

    def _check_address(self):
        options, host = self.options, self.name.removeprefix("tcp://").rsplit(":", 1)[0]
        here = host in ("localhost", "[::1]") or (host.startswith("127.") and not host.strip("0123456789."))
        if self.name.startswith("tcp://") and not here:
            if not (options.insecure or options.curve_key or options.curve_server_key):
                raise Failure(f"{self.name} is not on this machine: give keys (--curve-key, --curve-server-key) or --insecure")

    def _set_options(self):
        zmq, s, options = self.zmq, self.socket, self.options
        timeout = int(min(options.timeout * 1000, 2e9))
        interval = min(timeout // 3 + 1, 5000)
        s.linger = 0
        s.reconnect_ivl = 50
        s.ipv6 = "[" in self.name
        s.maxmsgsize = options.max_frame
        if self.link:
            s.heartbeat_ivl, s.heartbeat_timeout = interval, timeout
            s.sndhwm = s.rcvhwm = 0
            if not self.client:
                s.router_mandatory = True
        else:
            s.tcp_keepalive, s.tcp_keepalive_cnt = 1, 3
            s.tcp_keepalive_idle = s.tcp_keepalive_intvl = interval // 1000 + 1
            s.sndhwm = s.rcvhwm = 2
            s.immediate = True
        if not self.name.startswith("tcp:") or not (options.curve_key or options.curve_server_key or options.curve_clients):
            return
        if not options.curve_key:
            raise Failure(f"{self.name}: --curve-key is missing")
        if self.client and not options.curve_server_key:
            raise Failure(f"{self.name}: --curve-server-key is missing")
        secret = _read_key(options.curve_key, True)
        s.curve_secretkey, s.curve_publickey = secret, zmq.curve_public(secret)
        self.keyed = True
        if self.client:
            s.curve_serverkey = _read_key(options.curve_server_key, False)
            return
        s.curve_server = True
        if options.curve_clients:
            _Socket.admission = _Socket.admission or _Admission(_Socket.context, options.curve_clients)
            _Socket.admission.guard(self.name)
            s.zap_domain = self.name.encode()

    def _bind(self):
        path = self.name.removeprefix("ipc://")
        if path != self.name and not path.startswith("@") and os.path.lexists(path):  # libzmq removes any file there
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise Failure(f"{self.name}: a file that is no socket is in the way")
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(path) == 0:
                    raise Failure(f"{self.name}: Address already in use")
        try:
            self.socket.bind(self.name)
        except self.zmq.ZMQError as why:
            if why.errno != self.zmq.ENODEV or not self.name.startswith("tcp://"):
                raise
            host, port = self.name.removeprefix("tcp://").rsplit(":", 1)  # libzmq takes numbers and devices alone
            try:
                self.socket.bind(f"tcp://{socket.gethostbyname(host)}:{port}")
            except socket.gaierror:
                raise Failure(f"{self.name}: there is no device or host {host}") from None

    @property
    def guarded(self):
        """Only peers of this run can speak: there is a run ID or a key."""
        return bool(self.options.run) or self.keyed

    def tell_refusal(self, why):
        self.refusals += 1
        if self.refusals <= 10:
            warn(f"{self.name}: refused a peer: {why}")
        if self.refusals == 10:
            warn(f"{self.name}: further ones are not told about")

    def read_events(self):
        zmq = self.zmq
        while True:
            try:
                event, _ = self.monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            what, fd = struct.unpack("=Hi", event)
            if what == zmq.EVENT_ACCEPTED:
                self.accepted += 1
                self.connections[fd] = self.accepted
            elif what == zmq.EVENT_CONNECTED:
                self.fd = fd
            elif what == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.joined += 1
            elif what == zmq.EVENT_DISCONNECTED:
                if self.failed:
                    self.failed -= 1  # this connection never was a peer
                else:
                    self.left = min(self.left + 1, self.joined)
                self.connections.pop(fd, None)
            else:
                self.failed += 1
                self.refused = True
                self.denied = self.denied or what == zmq.EVENT_HANDSHAKE_FAILED_AUTH
                if not self.client and what != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    self.tell_refusal("not ZeroMQ, or not the right keys")

    def gone(self, connection):
        return connection not in self.connections.values()

    def check_server(self):
        """Fails if a client's server will not answer any more."""
        timeout = self.options.timeout
        if self.left:
            raise Failure(f"{self.name}: the connection was lost")
        if not self.joined and self.denied:
            raise Failure(f"{self.name}: refused this program's key: it is not among the clients it lets in")
        if not self.joined and time.monotonic() - self.opened >= timeout:
            why = "refused the handshake (wrong keys?), nobody else answered" if self.refused else "nobody answered"
            raise Failure(f"{self.name}: {why} within {timeout:g} s")

    def _wait(self, events, seconds):
        self.poller.register(self.socket, events)
        self.poller.poll(max(0, min(seconds, 1e6)) * 1000)

    def send(self, tensors, meta, envelope=()):
        """Sends a frame as soon as there is a connection and room."""
        zmq = self.zmq
        if self.options.run:
            meta = meta | {"run": self.options.run}
        data = pack(tensors, meta, self.options.crc)
        while True:
            try:
                self.socket.send_multipart([*envelope, data], zmq.NOBLOCK, copy=False)
                break
            except zmq.Again:
                self._wait(zmq.POLLOUT, 0.2)
                self.read_events()
                if self.client:
                    self.check_server()
            except zmq.ZMQError as why:
                gone = why.errno == zmq.EHOSTUNREACH
                raise Failure(f"{self.name}: {'the client is gone' if gone else why.strerror}") from None
        self.sent += len(data)

    def receive(self, seconds):
        """Waits for a message up to that many seconds. Returns (frame, envelope, connection); in place of
        the frame there is a Failure if a peer sent something else, or a frame of another run. Returns None
        if nothing came, or if a peer went away."""
        zmq, began = self.zmq, time.monotonic()
        while True:
            self.read_events()  # first: after its event, a peer that left sends no more
            try:
                *envelope, last = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                break
            except zmq.Again:
                pass
            if self.client:
                self.check_server()
                if not self.joined:
                    began = time.monotonic()  # after a late start, the full time
            elif self.left > self.reported:
                self.reported = self.left
                return None
            rest = began + seconds - time.monotonic()
            if rest <= 0:
                return None
            self._wait(zmq.POLLIN, min(rest, 1))
        self.read_events()  # a connection is accepted before its messages arrive
        connection = self.connections.get(last.get(zmq.SRCFD), -1)
        envelope = [part.bytes for part in envelope]
        try:
            frame = parse(last.buffer, self.name if self.client else "a message", self.options.max_frame)
            run_ = frame.meta.get("run")
            if not self.client and self.options.run and run_ != self.options.run:
                raise Failure(f"a frame of {'no run' if run_ is None else 'run ' + run_[:64]}, not of {self.options.run}")
            self.taken += len(last.buffer)
            return frame, envelope, connection
        except Failure as why:
            if self.client:
                raise
            return why, envelope, connection

    def drain(self):
        """Waits until the reader of a stream has taken every byte out of the system's buffers: libzmq drops
        what is left there when it sees the hang-up."""
        import fcntl

        empty = 0
        while empty < 3 and not self.left:
            self._wait(0, 0.01)
            self.read_events()
            try:
                unread = struct.unpack("i", fcntl.ioctl(self.fd, 0x5411, b"\0" * 4))[0]  # SIOCOUTQ
            except OSError:
                return
            empty = 0 if unread else empty + 1

    def close(self, patience=0.0):
        """Closes; close_sockets() waits up to `patience` seconds until everything has left."""
        self.read_events()
        if self.client and self.left:
            patience = 0
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(int(min(patience * 1000, 2e9)))
        if not self.client and self.name.startswith("ipc://"):
            try:
                os.unlink(self.name.removeprefix("ipc://"))
            except OSError:
                pass


def close_sockets():
    """Closes what is open, and waits until closed sockets have sent what they had."""
    if _Socket.admission:
        _Socket.admission.thread.stop()
    if _Socket.context:
        _Socket.context.destroy()  # also waits for the patience that close() was given
    _Socket.context = _Socket.admission = None


# ---- links ----


class Link:
    """A client's connection to a server. Several requests may be in flight; replies come in the order of
    the requests. Every wait ends when the peer dies, or after --timeout. Only one thread at a time may use
    a link."""

    def __init__(self, endpoint, options):
        self.name, self.options = endpoint, options
        self.asked = self.answered = 0
        self.out = self.into = 0
        self.waited = 0.0
        self.ended = False
        self.socket = self.child = None
        if is_socket(endpoint):
            self.socket = _Socket("DEALER", endpoint, options)
            return
        if not endpoint.startswith("exec:"):
            raise Failure(f"{endpoint}: a link is exec:CMD, tcp://host:port or ipc://path")
        self.child = _Child(endpoint[5:])
        os.set_blocking(self.child.to.fileno(), False)
        self.replies, self.moved_at = queue.Queue(), time.monotonic()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    # A thread reads the replies, since a peer that is blocked while it writes them does not read requests.
    def _read(self):
        n = 0
        try:
            while True:
                frame = read_frame(self.child.from_, self.name, self.options.max_frame, self._moved)
                if frame and not frame.is_end and "error" not in frame.meta:
                    n += 1
                    if n > self.asked:
                        raise Failure(f"{self.name}: sent a reply that nobody asked for")
                self.replies.put(frame)
                if frame is None:
                    return
        except Failure as why:
            self.replies.put(why)
        except (OSError, ValueError, MemoryError) as why:  # ValueError: this end is closed
            self.replies.put(Failure(f"{self.name}: {one_line(why) or 'out of memory'}"))

    def _moved(self, n):
        self.into += n
        self.moved_at = time.monotonic()

    def _write(self, tensors, meta):
        if self.socket:
            self.socket.send(tensors, meta)
            return
        data = pack(tensors, meta, self.options.crc)
        try:
            _write(self.child.to.fileno(), data, self.name, self.options.timeout)
            self.out += len(data)
        except BrokenPipeError:
            pass  # it died; receive() says why, perhaps by an error frame that is still in the other pipe

    def send(self, tensors, meta):
        """Sends a request."""
        self.asked += 1
        self._write(tensors, meta | {"seq": str(self.asked - 1)})

    def _take(self):
        """Waits for a frame. Returns None at the end of a command's output."""
        timeout = self.options.timeout
        if self.socket:
            got = self.socket.receive(timeout)
            if got is None:
                raise Failure(f"{self.name}: no answer within {timeout:g} s")
            return got[0]
        began = time.monotonic()
        while True:
            try:
                frame = self.replies.get(timeout=min(1.0, timeout))
            except queue.Empty:
                if time.monotonic() - max(began, self.moved_at) >= timeout:
                    raise Failure(f"{self.name}: no answer within {timeout:g} s") from None
                continue
            if isinstance(frame, Failure):
                raise frame
            return frame

    def receive(self):
        """Waits for the next reply."""
        began = time.monotonic()
        frame = self._take()
        self.waited += time.monotonic() - began
        if frame is None:
            how = self.child.wait(2)
            raise Failure(f"{self.name}: {how}" if how else
                          f"{self.name}: {'closed its output' if how is None else 'ended'} before it had answered")
        if "error" in frame.meta:
            raise Failure(f"{self.name}: {frame.meta['error']}")
        if frame.is_end:
            raise Failure(f"{self.name}: ended before it had answered")
        seq = integer(frame.meta, "seq", self.answered)
        if seq != self.answered:
            raise Failure(f"{self.name}: answered request {seq}, where {self.answered} was next")
        self.answered += 1
        return frame

    def request(self, tensors, meta):
        """Sends a request and waits for its reply."""
        self.send(tensors, meta)
        return self.receive()

    def end(self):
        """Sends the end frame. A client of several links sends it on all of them before it closes any."""
        self.ended = True
        self._write({}, {"end": "1"})

    def close(self):
        """Closes. After end() it waits until a command has exited with 0; a failure of the peer is one here
        too."""
        if self.socket:
            self.socket.close(self.options.timeout if self.ended else 0)
            self.out, self.into = self.socket.sent, self.socket.taken
        elif self.ended:
            self.child.to.close()
            while (frame := self._take()) is not None:
                if "error" in frame.meta:
                    raise Failure(f"{self.name}: {frame.meta['error']}")
            how = self.child.wait(self.options.timeout)
            if how != "":
                raise Failure(f"{self.name}: {how or f'did not end within {self.options.timeout:g} s'}")
        if self.ended:
            _tell_edge(self.name, "requests", self.asked, self.out, self.into, self.waited)

    def abandon(self):
        """Closes after a failure."""
        if self.socket:
            self.socket.close()
        else:
            self.child.to.close()
            if self.child.wait(1) is None:  # a filter exits when its input breaks off
                self.child.stop()


# ---- streams ----


class _Feed:
    """One stream that is read."""

    def __init__(self, endpoint, options):
        self.name, self.options = "stdin" if endpoint == "-" else endpoint, options
        self.socket = self.child = self.file = None
        self.n = self.into = 0
        self.waited = 0.0
        self.ended = self.started = False
        if is_socket(endpoint):
            self.socket = _Socket("PULL", endpoint, options)
        elif endpoint.startswith("exec:"):
            self.child = _Child(endpoint[5:], to=False)
            self.file = self.child.from_
        else:
            try:
                self.file = open(0 if endpoint == "-" else endpoint, "rb", buffering=0)
            except OSError as why:
                raise Failure(f"{endpoint}: {why.strerror}") from None
        self.regular = self.file is not None and stat.S_ISREG(os.fstat(self.file.fileno()).st_mode)

    def _moved(self, n):
        self.into += n

    def _from_file(self, patience):
        if self.ended and not self.regular:  # perhaps another stream follows
            poll = select.poll()
            poll.register(self.file, select.POLLIN)
            if not poll.poll(patience * 1000):
                return None
        try:
            frame = read_frame(self.file, self.name, self.options.max_frame, self._moved)
        except OSError as why:
            raise Failure(f"{self.name}: {why.strerror}") from None
        if frame is None and not self.ended and not self.regular:
            raise Failure(f"{self.name}: ended without an end frame: its producer died")
        if frame is None and self.child and (how := self.child.wait(self.options.timeout)):
            raise Failure(f"{self.name}: {how}")
        return frame

    def _from_socket(self):
        began, timeout = time.monotonic(), self.options.timeout
        while not self.ended:
            got = self.socket.receive(1.0)
            if got is None:
                if self.started and self.socket.gone(self.connection):
                    raise Failure(f"{self.name}: ended without an end frame: its producer died")
                if not self.started and time.monotonic() - began >= timeout:
                    raise Failure(f"{self.name}: nobody sent anything within {timeout:g} s")
                continue
            frame, _, connection = got
            if isinstance(frame, Failure):
                self.socket.tell_refusal(frame)
                continue
            self.started, self.connection = True, connection
            seq = integer(frame.meta, "seq", self.n)
            if seq != self.n and "error" not in frame.meta:
                raise Failure(f"{self.name}: frame {seq} came, where {self.n} was next")
            return frame
        return None

    def next(self, patience):
        """Returns the next frame, or None at the end. End frames in the middle are skipped."""
        while True:
            began = time.monotonic()
            frame = self._from_socket() if self.socket else self._from_file(patience)
            self.waited += time.monotonic() - began
            if frame is None:
                return None
            if "error" in frame.meta:
                raise Failure(f"{self.name}: {frame.meta['error']}")
            self.ended = frame.is_end
            if not self.ended:
                self.n += 1
                return frame

    def close(self):
        if self.socket:
            self.into = self.socket.taken
            self.socket.close()
        if self.child:
            self.child.stop()
        if self.ended or self.regular:
            _tell_edge(self.name, "frames", self.n, 0, self.into, self.waited)


def split_list(text):
    """Splits a list of endpoints: a comma separates two only if exec:, tcp:// or ipc:// follows it."""
    parts = []
    for word in text.split(","):
        if parts and not word.lstrip().startswith(("exec:", "tcp://", "ipc://")):
            parts[-1] += "," + word
        else:
            parts.append(word)
    return [part.strip() for part in parts]


class _Sink:
    """A stream that is written."""

    def __init__(self, endpoint, options):
        self.name, self.options = "stdout" if endpoint == "-" else endpoint, options
        self.socket = self.child = self.temporary = None
        self.n = self.out = 0
        self.waited = 0.0
        if is_socket(endpoint):
            self.socket = _Socket("PUSH", endpoint, options)
        elif endpoint.startswith("exec:"):
            self.child = _Child(endpoint[5:], from_=False)
            self.fd = self.child.to.fileno()
        elif endpoint == "-":
            self.fd = os.dup(1)
            os.dup2(2, 1)  # what a module prints must not get between the frames
            widen_pipe(self.fd)
        else:
            self._open(endpoint)

    def _open(self, path):
        """A regular file appears under its name only when it is complete."""
        try:
            if os.path.exists(path) and not os.path.isfile(path):
                self.fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                return
            self.temporary = f"{path}.{os.getpid()}.tmp"
            self.fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as why:
            raise Failure(f"{path}: {why.strerror}") from None

    def write(self, tensors, meta):
        if not self.socket and tensors and os.isatty(self.fd):
            raise Failure("stdout is a terminal; lead the frames into a program, such as inspect")
        began = time.monotonic()
        if self.socket:
            self.socket.send(tensors, meta | {"seq": str(self.n)})
        else:
            data = pack(tensors, meta, self.options.crc)
            try:
                _write(self.fd, data, self.name)
            except BrokenPipeError:
                how = self.child.wait(2) if self.child else None
                raise Failure(f"{self.name}: {how or 'its reader is gone'}") from None
            self.out += len(data)
        self.n += 1
        self.waited += time.monotonic() - began

    def end(self):
        """Writes the end frame, and checks that everything arrived."""
        self.write({}, {"end": "1"})
        if self.socket:
            self.socket.drain()
            self.out = self.socket.sent
            self.socket.close(self.options.timeout)
        else:
            try:
                if self.temporary:
                    os.fsync(self.fd)
                    os.rename(self.temporary, self.name)
                if self.child:
                    self.child.to.close()
                else:
                    os.close(self.fd)
            except OSError as why:
                raise Failure(f"{self.name}: {why.strerror}") from None
        if self.child and (how := self.child.wait(self.options.timeout)) != "":
            raise Failure(f"{self.name}: {how or 'did not end'}")
        _tell_edge(self.name, "frames", self.n - 1, self.out, 0, self.waited)

    def abandon(self, message):
        try:
            if not self.temporary and (self.socket or not os.isatty(self.fd)):
                self.write({}, {"error": message})
        except Failure:
            pass
        if self.socket:
            self.socket.close(2)
        elif self.child:
            self.child.to.close()
            if self.child.wait(2) is None:
                self.child.stop()
        elif self.temporary:
            os.unlink(self.temporary)


# ---- serving ----


class _Client:
    """What a server knows of a client over a socket."""

    def __init__(self):
        self.envelope, self.connection, self.pending = None, -1, []
        self.spoke = self.settled = self.ended = self.refused = False


class Server:
    """Receives requests from --in or --listen, and sends the replies."""

    def __init__(self, options):
        self.options, self.clients, self.n, self.waited = options, [], 0, 0.0
        self.socket = self.sink = None
        self.since = time.monotonic()
        if options.listen:
            if not is_socket(options.listen):
                raise Failure(f"--listen {options.listen}: only tcp://addr:port and ipc://path can be listened on")
            self.socket = _Socket("ROUTER", options.listen, options)
            return
        self.feeds = [_Feed(endpoint, options) for endpoint in split_list(options.source)]
        self.sink = _Sink(options.out, options)
        self.seqs = []

    def requests(self):
        """Yields (number of the client, frame) for each request, until all clients have ended."""
        if self.socket:
            yield from self._from_socket()
            return
        for turn in range(1 << 62):
            feed = self.feeds[turn % len(self.feeds)]
            frame = feed.next(2)
            if frame is None:
                break
            self.seqs.append(frame.meta.get("seq"))
            yield 0, frame
        for other in self.feeds:
            if other is not feed and other.next(2) is not None:
                raise Failure(f"{feed.name}: ended, and {other.name} goes on")

    def _counts(self, client):
        return not client.refused and (client.spoke or (self.socket.guarded and client.ended))

    def _check_patience(self):
        """Returns True if nobody will come any more."""
        timeout = self.options.timeout
        if time.monotonic() - self.since < timeout:
            return False
        if any(c.ended and not c.spoke and not c.refused for c in self.clients):
            return True
        raise Failure(f"{self.socket.name}: no client came within {timeout:g} s")

    def _check_gone(self):
        for i, c in enumerate(self.clients):
            if c.envelope and self.socket.gone(c.connection):
                if c.refused or (c.ended and not c.pending):
                    c.envelope = None
                elif not c.ended:
                    raise Failure(f"{self.socket.name}: client {i} went away without an end frame")

    def _client_of(self, envelope, connection):
        for i, c in enumerate(self.clients):
            if c.envelope and c.envelope[:1] == envelope[:1]:
                break
        else:
            self.since = time.monotonic()
            self.clients.append(_Client())
            i = len(self.clients) - 1
        self.clients[i].envelope, self.clients[i].connection = envelope, connection
        return i

    def _from_socket(self):
        s = self.socket
        while True:
            present = [c for c in self.clients if self._counts(c)]
            if present and all(c.ended for c in present):
                return
            began = time.monotonic()
            got = s.receive(1.0 if present else max(0.0, min(1.0, self.since + self.options.timeout - began)))
            self.waited += time.monotonic() - began
            if got is None:
                self._check_gone()
                if not present and self._check_patience():
                    return
                continue
            frame, envelope, connection = got
            if isinstance(frame, Failure):
                for i, c in enumerate(self.clients):
                    if self._counts(c) and c.envelope and c.envelope[:1] == envelope[:1]:
                        raise Failure(f"{s.name}: client {i} sent {frame}")
                s.tell_refusal(frame)
                continue
            i = self._client_of(envelope, connection)
            c = self.clients[i]
            if c.refused:
                continue
            if "error" in frame.meta:
                if c.spoke:
                    raise Failure(f"{s.name}: {frame.meta['error']}")
                c.refused = True
                s.tell_refusal("an error frame is no request")
                continue
            c.ended = frame.is_end
            if not c.ended:
                c.spoke = True
                c.pending.append((envelope, frame.meta.get("seq")))
                self.n += 1
                yield i, frame

    def reply(self, client, tensors, meta):
        """Answers the client's oldest unanswered request, with the request's seq."""
        if self.socket:
            c = self.clients[client]
            envelope, seq = c.pending.pop(0)
            c.settled = True
        else:
            seq = self.seqs.pop(0)
        meta = {key: value for key, value in meta.items() if key not in ("seq", "crc32")}
        if seq is not None:
            meta["seq"] = seq
        if self.socket:
            self.socket.send(tensors, meta, envelope)
        else:
            self.sink.write(tensors, meta)

    def refuse(self, client, why):
        """Refuses a client that never had a reply and may be a stranger. Returns False if it can't be one."""
        if not self.socket:
            return False
        c = self.clients[client]
        if c.settled or (self.socket.guarded and sum(map(self._counts, self.clients)) < 2):
            return False
        self.socket.tell_refusal(why)
        envelope, seq = c.pending.pop()
        c.refused = True
        try:
            self.socket.send({}, {"error": f"{program()}: {why}"} | ({"seq": seq} if seq is not None else {}), envelope)
        except Failure:
            pass  # it is gone
        return True

    def end(self):
        if self.socket:
            sent, taken = self.socket.sent, self.socket.taken
            self.socket.close(self.options.timeout)
            _tell_edge(self.socket.name, "served", self.n, sent, taken, self.waited)
            return
        for feed in self.feeds:
            feed.close()
        self.sink.end()

    def abandon(self, message):
        """Sends the reason of a failure to every client that has not ended."""
        message = f"{program()}: {message}"
        if not self.socket:
            self.sink.abandon(message)
            return
        for c in self.clients:
            if not c.ended and not c.refused and c.envelope and not self.socket.gone(c.connection):
                try:
                    self.socket.send({}, {"error": message}, c.envelope)
                except Failure:
                    pass
        self.socket.close(2)


def _stop(number_, _):
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Failure(f"stopped by {signal.Signals(number_).name}")


def run(answer, options=None, links=()):
    """Answers each request with answer(tensors, meta), which returns the reply's tensors and metadata, until
    all callers have ended; then ends and closes the links, and ends the program. The exit status is 0, or 1
    after a failure: answer() raises Failure, and its text is printed and sent to the callers. `links` has
    the Links that answer() uses, or is a function that opens them and returns a list."""
    status = serve(answer, options or default_options(), links)
    sys.stderr.flush()
    os._exit(status)  # not through the interpreter's end, which would wait for threads that read


def serve(answer, options, links=()):
    """Does the same, but returns the exit status."""
    for number_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number_, _stop)
    server, opened = None, []
    try:
        server = Server(options)
        opened = links() if callable(links) else list(links)
        for client, (tensors, meta) in server.requests():
            try:
                reply = answer(tensors, meta)
            except Unfit as why:
                if not server.refuse(client, why):
                    raise
                continue
            server.reply(client, *reply)
        for link in opened:
            link.end()
        while opened:
            opened.pop(0).close()
        server.end()
        close_sockets()
        return 0
    except BaseException as why:
        if isinstance(why, SystemExit):
            raise
        text = one_line(why) if isinstance(why, Failure) else "out of memory" if isinstance(why, MemoryError) else None
        if text is None:  # a defect in this file or in answer(): the trace says where
            import traceback

            traceback.print_exc()
            text = f"{type(why).__name__}: {one_line(why)}"
        else:
            warn(text)
        try:
            if server:
                server.abandon(text)
            for link in opened:
                link.abandon()
            for child in list(_children):
                child.stop()
            close_sockets()
        except Failure:
            pass  # it was told already
        return 1


# ---- the optimizer's client ----

BUCKET_BYTES = 1 << 20
BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")


def is_buffer(name):
    """Returns True for a tensor that the optimizer stores and never changes: a buffer of batch norm."""
    return name.endswith(BUFFERS)


def is_unsound(name, values):
    """Returns what no network can have in a tensor: "NaN or infinity", or "a negative value" in a variance
    or count; or "" if its values are sound."""
    if values.dtype in (BF16, TYPES["F16"], TYPES["F32"]) and not np.isfinite(widen(values)).all():
        return "NaN or infinity"
    if name.endswith(BUFFERS[1:]) and (widen(values) < 0).any():
        return "a negative value"
    return ""


class Optimizer:
    """A stage's connection to its optimizer, which owns the parameters (docs/stages.md).

        optimizer = Optimizer(Link(options.opt, options))
        values = optimizer.join(meta, values)          # once, with the first request's metadata
        optimizer.begin(meta, buffers)                 # in each step, after the forward pass
        optimizer.push(name, gradient)                 # as soon as a gradient is complete
        values = optimizer.finish()                    # the new values; then .lr and .grad_norm

    Buckets are sent by a thread of their own, while the backward pass goes on."""

    def __init__(self, link, wire="fp32"):
        from concurrent.futures import ThreadPoolExecutor

        self.link, self.wire, self.rank = link, wire, 0
        self.lr, self.grad_norm, self.slow = None, math.nan, {}
        self.sender = ThreadPoolExecutor(1)

    def _check(self, reply):
        """Returns the reply's tensors in the types and shapes of what was joined with."""
        values = {}
        for name, a in reply.tensors.items():
            if name not in self.shapes:
                continue
            dtype, shape = self.shapes[name]
            if a.shape != shape or (a.dtype != dtype and not (a.dtype == BF16 and dtype == TYPES["F32"])):
                raise Failure(f"{self.link.name}: tensor {name} is {NAMES[a.dtype]} [{','.join(map(str, a.shape))}], not "
                              f"{NAMES[dtype]} [{','.join(map(str, shape))}]")
            values[name] = widen(a)
        return values

    def join(self, meta, values, frozen=(), description=None, ema=None):
        """Joins with the initial values (F32; buffers also I64) of the parameters and buffers, of which only
        rank 0's are sent. `frozen` names those that get no gradients, `description` says what the stage is.
        Returns the current values. With `ema`, a momentum, the optimizer also keeps slow copies of the parameters, whose
        current values are then in `slow`; after each step the stage moves its own by follow(). Fails if `meta`, of the
        first request, is not of the optimizer's step."""
        self.rank = integer(meta, "rank", 0)
        self.shapes = {name: (a.dtype, a.shape) for name, a in values.items()}
        self.frozen = set(frozen)
        self.owed = [name for name in values if not is_buffer(name) and name not in self.frozen]
        join = {key: meta[key] for key in ("rank", "world", "grains", "batch", "images", "steps", "steps_per_epoch")
                if key in meta}
        join |= {"kind": "join"} | (description or {})
        if self.frozen:
            join["frozen"] = ",".join(frozen)
        if ema is not None:
            join["ema"] = repr(float(ema))
        reply = self.link.request(values if self.rank == 0 else {}, join)
        parts = {name.split(".")[0] for name in values}
        for name, a in reply.tensors.items():
            if "/" not in name and name not in self.shapes and name.split(".")[0] in parts:
                raise Failure(f"{self.link.name}: the optimizer has {name}, which this network has not")
            if name in self.shapes and (what := is_unsound(name, a)):
                raise Failure(f"{self.link.name}: {name} holds {what}")
        current = self._check(reply)
        for name in values:
            if name not in current:
                raise Failure(f"{self.link.name}: the answer to a join lacks {name}")
        for name in [name for name in values if not is_buffer(name)] if ema is not None else ():
            a = reply.tensors.get("ema/" + name)
            if a is None:
                raise Failure(f"{self.link.name}: the answer to a join lacks ema/{name}: does this optimizer keep slow copies?")
            if a.dtype != TYPES["F32"] or a.shape != values[name].shape or is_unsound(name, a):
                raise Failure(f"{self.link.name}: ema/{name} does not fit, or holds NaN or infinity")
            self.slow[name] = a
        step, first = integer(reply.meta, "step", 0), integer(meta, "step", 0)
        if step != first:
            raise Failure(f"augment starts at step {first}, the optimizer is at step {step}: start it with --start {step}")
        return current

    def begin(self, meta, buffers=()):
        """Begins a step of the request with these metadata. Buffers are sent first, since a client's step is
        complete when its last gradient arrives."""
        self.meta = {key: meta[key] for key in ("step", "steps", "steps_per_epoch", "batch", "images", "grains", "epoch",
                                                "rank", "world") if key in meta} | {"kind": "gradients"}
        self.bucket, self.bytes, self.sent, self.pushed = {}, 0, [], set()
        for name in buffers if self.rank == 0 else ():
            if name not in self.frozen:
                self._put(name, buffers[name], None)

    def push(self, name, gradient, ready=None):
        """Sends a gradient: F32, or BF16 if the wire is. It may wait to be sent in one bucket with later ones, so
        the array must stay as it is. `ready` is called before the array is read."""
        if name in self.pushed:
            raise Failure(f"the gradient of {name} came twice in a step")
        self.pushed.add(name)
        self._put(name, gradient, ready)

    def _put(self, name, a, ready):
        self.bucket[name] = (a, ready)
        self.bytes += a.nbytes
        if self.bytes >= BUCKET_BYTES:
            self._flush()

    def _flush(self):
        if self.bucket:
            self.sent.append(self.sender.submit(self._send, self.bucket))
        self.bucket, self.bytes = {}, 0

    def _send(self, bucket):
        for _, ready in bucket.values():
            if ready:
                ready()
        narrowed = {name: narrow(a) if self.wire == "bf16" and a.ndim > 1 and a.dtype == TYPES["F32"] and not is_buffer(name)
                    else a for name, (a, _) in bucket.items()}
        self.link.send(narrowed, self.meta)

    def finish(self):
        """Sends what is left, waits for the answers, and returns the new values. Sets lr, the learning rate as
        the optimizer printed it, or None; and grad_norm, the norm of the whole batch's gradient, or nan if the
        optimizer did not tell it."""
        for name in self.owed:
            if name not in self.pushed:
                raise Failure(f"parameter {name} got no gradient, since the output does not depend on it: freeze it "
                              "(requires_grad_(False)) or leave it out")
        self._flush()
        for future in self.sent:
            future.result()
        values, squares, self.lr = {}, {}, None
        for _ in self.sent:
            reply = self.link.receive()
            values |= self._check(reply)
            self.lr = reply.meta.get("lr", self.lr)
            for key in reply.meta:
                if key.startswith("squares/"):
                    squares[key[8:]] = number(reply.meta, key, math.nan)
                    if not 0 <= squares[key[8:]] < math.inf:
                        raise Failure(f"{self.link.name}: {key} is {reply.meta[key]}: a sum of squares is a finite number "
                                      "of at least 0")
        total = 0.0
        for name in self.owed:
            if name not in values:
                raise Failure(f"{self.link.name}: no answer to gradients has {name}")
            total += squares.get(name, math.nan)
        self.grad_norm = math.sqrt(total) if self.owed else math.nan
        return values


def follow(momentum, now, slow):
    """Moves a slow copy to the new values of a parameter, in the same bits as the optimizer does: each operation is
    rounded to float32."""
    slow += np.float32(1 - momentum) * (now - slow)


# ---- metrics ----

# Metadata that describe the run or the link, and are no metrics.
DESCRIBED = ("steps", "steps_per_epoch", "batch", "grains", "seq", "rank", "world", "crc32", "kind", "end", "run", "classes",
             "images", "class_names")


def metrics(request, reply):
    """Returns the metadata of a frame of metrics, which the first stage answers a training step with: the step, and the
    metrics that came with the reply of --next."""
    meta = {"kind": "metrics"}
    meta |= {key: request[key] for key in ("step", "steps", "steps_per_epoch", "batch", "epoch", "rank", "world") if key in request}
    return meta | {key: value for key, value in reply.items() if key not in DESCRIBED and key not in request}
