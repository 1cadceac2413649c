"""What a stage in Python needs: frames, the serving loop, and links to other stages and to the optimizer.

    import simclr_stage as stage

    def answer(tensors, meta):                        # one request; returns the reply
        z = stage.need(tensors, "z", "F32", (None, 2, None))
        return {"dz": z / 2}, meta | {"loss": "1.5"}

    stage.run(answer)                                 # reads stdin, writes stdout, exits with 0 or 1

Tensors are a dictionary of numpy arrays, metadata one of strings. docs/frames.md describes the bytes,
docs/links.md the links, docs/stages.md what each stage answers and how this file is used. It needs numpy;
ipc:// and tcp:// also need pyzmq. The parts, from the bottom up:

    Failure, warn              messages
    read_frame, pack           frames, and need() for one tensor of a frame
    add_options                the options of every stage
    Link                       a client's connection: exec:CMD, ipc://PATH, tcp://HOST:PORT
    run                        serves requests from stdin, a file or sockets
    Optimizer                  joins with parameters, sends gradients in buckets, gets new values
"""

import argparse
import errno
import io
import json
import math
import os
import queue
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

try:
    import zmq
except ImportError:
    zmq = None

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


def describe(dtype, shape):
    return f"{NAMES[dtype]} [{','.join('*' if n is None else str(n) for n in shape)}]"


def need(tensors, name, dtype, shape=None):
    """Returns a tensor of this dtype and shape, in which None stands for any size. Fails if the frame has
    no such tensor."""
    if name not in tensors:
        raise Unfit(f"the frame has no tensor {name}")
    a = tensors[name]
    fits = shape is None or (len(shape) == a.ndim and all(n in (None, m) for n, m in zip(shape, a.shape)))
    if a.dtype != TYPES[dtype] or not fits:
        wanted = dtype if shape is None else describe(TYPES[dtype], shape)
        raise Unfit(f"tensor {name} is {describe(a.dtype, a.shape)}, not {wanted}")
    return a


def number(meta, key, fallback, kind=float):
    """Returns the metadata's value as a number, or the fallback if the key is missing."""
    try:
        return kind(meta[key]) if key in meta else fallback
    except ValueError:
        what = "an integer" if kind is int else "a number"
        raise Failure(f"metadata {key} is '{one_line(meta[key])[:60]}', not {what}") from None


def integer(meta, key, fallback):
    return number(meta, key, fallback, int)


def digits(value):
    """Prints a float32 so that it reads back exactly."""
    return f"{np.float32(value):.9g}"


def pack(tensors, meta, crc=False):
    """Returns the bytes of a frame. Tensors whose size is a multiple of 64 bytes come first, so that these
    are aligned for their reader, and then the largest elements."""
    arrays = {name: np.asarray(a, order="C") for name, a in tensors.items()}
    for name, a in arrays.items():
        if a.dtype not in NAMES:
            raise Failure(f"tensor {name} is {a.dtype}, which frames have not: take {', '.join(TYPES)}")
    order = sorted(arrays, key=lambda name: (arrays[name].nbytes % 64 != 0, -arrays[name].dtype.alignment))
    data = [arrays[name].reshape(-1).view("u1") for name in order]
    meta = {key: value for key, value in meta.items() if key != "crc32"}
    if crc:
        sum_ = 0
        for part in data:
            sum_ = zlib.crc32(part, sum_)
        meta["crc32"] = f"{sum_:08x}"
    header, at = {"__metadata__": meta} if meta else {}, 0
    for name in order:
        a = arrays[name]
        header[name] = {"dtype": NAMES[a.dtype], "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return b"".join([struct.pack("<Q", len(text)), text, *data])


def _object(pairs):
    """Makes a dictionary of a JSON object. Fails if a key comes twice, or a text can be no C string."""
    for text in [text for pair in pairs for text in pair if isinstance(text, str)]:
        text.encode()  # fails if it is no Unicode text
        if "\0" in text:
            raise ValueError("a text with a NUL")
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _no_constant(text):
    raise ValueError(f"{text} is no JSON")


def _check_entry(name, entry):
    """Returns begin, end, name, dtype and shape of a tensor's entry in a header."""
    if not name or not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the entry of tensor '{name}' must have dtype, shape and data_offsets, and no more")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise ValueError(f"tensor {name} has the unknown dtype '{dtype}'")
    for numbers in shape, offsets:
        if not isinstance(numbers, list) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
            raise ValueError(f"tensor {name}: shape and data_offsets must be integers of at least 0")
    if len(shape) > MAX_DIMS:
        raise ValueError(f"tensor {name} has more than {MAX_DIMS} dimensions")
    size = math.prod(shape) * TYPES[dtype].itemsize
    if size >= 1 << 63:
        raise ValueError(f"tensor {name}: the shape overflows")
    if len(offsets) != 2 or offsets[1] - offsets[0] != size:
        raise ValueError(f"tensor {name}: data_offsets do not span the {size} bytes of its shape and dtype")
    return offsets[0], offsets[1], name, TYPES[dtype], shape


def _parse_header(text, limit):
    """Returns the metadata, the entries in the order of their bytes, and the size of the data. Raises
    ValueError for what a reader must reject."""
    if not text.startswith(b"{"):
        raise ValueError("it does not start with '{'")
    header = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    meta = header.pop("__metadata__", {})
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise ValueError("__metadata__ must be an object of strings")
    if max(len(header), len(meta)) > MAX_ENTRIES:
        raise ValueError(f"more than {MAX_ENTRIES} tensors or keys")
    entries = sorted((_check_entry(*item) for item in header.items()), key=lambda entry: entry[:2])
    at = 0
    for begin, end, name, _, _ in entries:
        if begin != at:
            raise ValueError(f"a gap or overlap: tensor {name} begins at byte {begin} of the data, not {at}")
        at = end
    if at + len(text) > limit:
        raise ValueError(f"a frame of {at + len(text)} bytes is over the limit of {limit} (--max-frame)")
    return meta, entries, at


def _fill(file, size, where, part):
    """Reads that many bytes into an array, whose memory is not touched before they come. Returns None at
    the end of the file before the first byte of a frame."""
    data, have = np.empty(size, "u1"), 0
    while have < size:
        n = file.readinto(memoryview(data)[have:])
        if not n:
            if have == 0 and part == "the header's length":
                return None
            raise Failure(f"{where}: truncated in {part}, at byte {have} of {size}")
        have += n
    return data


def read_frame(file, where="stdin", limit=LIMIT):
    """Returns the next frame of a binary file, or None at the end of the file. Fails if the bytes are no
    frame, or over the limit."""
    length = _fill(file, 8, where, "the header's length")
    if length is None:
        return None
    (n,) = struct.unpack("<Q", length)
    if not 2 <= n <= min(MAX_HEADER, limit):
        raise Failure(f"{where}: not a frame: a header of {n} bytes, not 2 to {min(MAX_HEADER, limit)}")
    text = _fill(file, n, where, "the header").tobytes()
    try:
        meta, entries, size = _parse_header(text, limit)
    except (ValueError, RecursionError) as why:
        raise Failure(f"{where}: bad header: {one_line(why)[:200]}") from None
    data = _fill(file, size, where, "the data")
    if "crc32" in meta and meta["crc32"].lower() != (crc := f"{zlib.crc32(data):08x}"):
        raise Failure(f"{where}: the data's CRC-32 is {crc}, the header says {meta['crc32'][:60]}")
    tensors = {}
    for begin, end, name, dtype, shape in entries:
        part = data[begin:end] if begin % dtype.itemsize == 0 else data[begin:end].copy()
        try:
            tensors[name] = part.view(dtype).reshape(shape)
        except ValueError:  # such as [0, 1 << 62]
            raise Failure(f"{where}: tensor {name}: numpy has no arrays of this shape") from None
    return Frame(tensors, meta)


def parse(data, where="a message", limit=LIMIT):
    """Returns the frame that these bytes are."""
    return _only_frame(io.BytesIO(data), where, limit)


def load(path):
    """Returns the frame in a file, which is a checkpoint: a file of one frame."""
    try:
        with open(path, "rb", buffering=0) as file:
            return _only_frame(file, path, 1 << 62)
    except OSError as why:
        raise Failure(f"{path}: {why.strerror}") from None


def _only_frame(file, where, limit):
    frame = read_frame(file, where, limit)
    if frame is None:
        raise Failure(f"{where}: empty, where a frame was expected")
    if file.read(1):
        raise Failure(f"{where}: trailing bytes after the frame")
    return frame


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
            what = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return convert


def add_options(parser):
    """Adds the options of requests and links, which all stages have; docs/links.md explains them."""
    add = parser.add_argument_group("requests").add_argument
    add("--in", dest="source", metavar="FILE", default="-", help="where requests come from")
    add("--out", metavar="FILE", default="-", help="where replies go")
    add("--listen", metavar="ADDRESS", default="", help="serve clients at tcp:// or ipc:// instead")
    add = parser.add_argument_group("links").add_argument
    add("--timeout", metavar="SECONDS", type=between(float, 0.01, 1e6), default=60,
        help="give up on a peer that does not connect or answer")
    add("--max-frame", metavar="BYTES", type=between(int, 64, 10**15), default=LIMIT,
        help="refuse frames larger than this")
    add("--crc", action="store_true", help="write a CRC-32 of the data with each frame")
    add("--insecure", action="store_true", help="allow tcp:// beyond this machine without keys")
    add("--curve-key", metavar="FILE", default="", help="this program's secret CURVE key")
    add("--curve-server-key", metavar="FILE", default="",
        help="the public CURVE key of the servers it connects to")
    add("--curve-clients", metavar="FILE", default="",
        help="the public CURVE keys of the clients that --listen admits, one a line")
    add("--run", metavar="ID", default=os.environ.get("SIMCLR_RUN", ""),
        help="take only frames of this run over tcp:// and ipc://; without: $SIMCLR_RUN")


def default_options():
    """Returns the options of a stage that was given none."""
    parser = new_parser("")
    add_options(parser)
    return parser.parse_args([])


# ---- sockets ----


def is_socket(endpoint):
    return endpoint.startswith(("tcp://", "ipc://"))


def _read_keys(path, secret=False):
    """Returns the first word of each line of a file of CURVE keys; # begins a comment."""
    try:
        with open(path, "rb") as file:
            if secret and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise Failure(f"{path}: a secret key that others can read; chmod 600 it")
            lines = [line.split() for line in file.read(1 << 20).splitlines()]
    except OSError as why:
        raise Failure(f"{path}: {why.strerror}") from None
    keys = [words[0] for words in lines if words and not words[0].startswith(b"#")]
    if not keys or any(len(key) != 40 for key in keys):
        raise Failure(f"{path}: not a CURVE key of 40 characters")
    return keys


class _Socket:
    """A ZeroMQ socket whose messages are frames: the DEALER of a client, or the ROUTER of a server. libzmq
    hides that a peer goes away, but the socket's monitor tells, and heartbeats find dead machines."""

    def __init__(self, role, endpoint, options):
        if zmq is None:
            raise Failure(f"{endpoint}: sockets need pyzmq (python3-zmq)")
        self.name, self.options, self.refusals, self.admission = endpoint, options, 0, None
        self.path = None  # of a socket file that this program made
        self.socket = zmq.Context.instance().socket(role)
        timeout = int(min(options.timeout * 1000, 2e9))
        self.socket.linger = self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.heartbeat_ivl, self.socket.heartbeat_timeout = min(timeout // 3 + 1, 5000), timeout
        self.socket.reconnect_ivl, self.socket.maxmsgsize = 50, options.max_frame
        self.socket.ipv6 = "[" in endpoint
        self.keyed = self._set_keys()
        self.monitor = self.socket.get_monitor_socket()
        self.monitor.rcvhwm = 0
        self.poller = zmq.Poller()
        for each in self.monitor, self.socket:
            self.poller.register(each, zmq.POLLIN)
        try:
            self.socket.connect(endpoint) if role == zmq.DEALER else self._bind()
        except (zmq.ZMQError, OSError) as why:
            self.close(0)
            raise Failure(f"{endpoint}: {why.strerror or why}") from None

    def _set_keys(self):
        """Sets the CURVE keys, over tcp:// if there are any. Returns whether it did."""
        s, options, is_server = self.socket, self.options, self.socket.type == zmq.ROUTER
        host = self.name.removeprefix("tcp://").rsplit(":", 1)[0]
        here = host in ("localhost", "[::1]") or (host.startswith("127.") and not host.strip("0123456789."))
        if not self.name.startswith("tcp://"):
            return False
        if not (options.curve_key or options.curve_server_key or options.curve_clients):
            if not here and not options.insecure:
                raise Failure(f"{self.name} is not on this machine: give keys (--curve-key, "
                              "--curve-server-key) or --insecure")
            return False
        if not options.curve_key:
            raise Failure(f"{self.name}: --curve-key is missing")
        if not is_server and not options.curve_server_key:
            raise Failure(f"{self.name}: --curve-server-key is missing")
        try:
            secret = _read_keys(options.curve_key, True)[0]
            s.curve_secretkey, s.curve_publickey = secret, zmq.curve_public(secret)
            if not is_server:
                s.curve_serverkey = _read_keys(options.curve_server_key)[0]
        except (zmq.ZMQError, KeyError, ValueError):
            raise Failure(f"{self.name}: a CURVE key is not valid") from None
        if is_server:
            s.curve_server = True
            if options.curve_clients:
                self._admit(_read_keys(options.curve_clients))
        return True

    def _admit(self, keys):
        """Lets libzmq admit clients with these public keys alone; it calls callback() for each client."""
        from zmq.auth.thread import ThreadAuthenticator

        self.keys = set(keys)
        self.admission = ThreadAuthenticator(zmq.Context.instance())
        self.admission.start()
        self.admission.configure_curve_callback(domain=self.name, credentials_provider=self)
        self.socket.zap_domain = self.name.encode()

    def callback(self, _, key):
        if bytes(key) not in self.keys:
            where = self.options.curve_clients
            self.tell(f"refused a client whose key is not in {where} ({bytes(key).decode()})")
        return bytes(key) in self.keys

    def _bind(self):
        kind, _, where = self.name.partition("://")
        if kind == "ipc" and not where.startswith("@") and os.path.lexists(where):  # libzmq would remove it
            if not stat.S_ISSOCK(os.lstat(where).st_mode):
                raise OSError(errno.EEXIST, "a file that is no socket is in the way")
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(where) == 0:
                    raise OSError(errno.EADDRINUSE, "Address already in use")
        host, _, port = where.rpartition(":")
        if kind == "tcp" and host[:1].isalpha() and host not in dict(map(reversed, socket.if_nameindex())):
            host = socket.gethostbyname(host)  # libzmq takes numbers and devices alone
        self.socket.router_mandatory = True
        self.socket.bind(f"tcp://{host}:{port}" if kind == "tcp" else self.name)
        self.path = where if kind == "ipc" else None

    def tell(self, text):
        """Prints the first ten refusals of strangers."""
        self.refusals += 1
        if self.refusals <= 10:
            warn(f"{self.name}: {text}" + (" (further ones are not told)" if self.refusals == 10 else ""))

    def events(self):
        """Returns what happened since the last call: pairs of an event and a descriptor."""
        found = []
        while self.monitor.poll(0):
            found.append(struct.unpack("=Hi", self.monitor.recv_multipart()[0]))
        return found

    def send(self, tensors, meta, envelope=()):
        """Hands a frame to libzmq, which sends it as soon as there is a connection."""
        meta = meta | {"run": self.options.run} if self.options.run else meta
        data = pack(tensors, meta, self.options.crc)
        try:
            self.socket.send_multipart([*envelope, data], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as why:
            gone = why.errno == zmq.EHOSTUNREACH
            raise Failure(f"{self.name}: {'the client is gone' if gone else why.strerror}") from None

    def receive(self):
        """Returns the parts of a message that has come, or None."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None

    def wait(self, seconds):
        """Waits for a message or an event, at most a second."""
        self.poller.poll(max(0, min(seconds, 1)) * 1000)

    def close(self, patience):
        """Closes. What was sent has that many seconds to leave; run() waits for it."""
        if self.admission:
            self.admission.stop()
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(int(min(patience * 1000, 2e9)))
        if self.path and os.path.lexists(self.path):
            os.unlink(self.path)


# ---- links ----


class _RemotePeer:
    """The server of a link over a socket."""

    def __init__(self, endpoint, options):
        self.name, self.options, self.opened = endpoint, options, time.monotonic()
        self.joined = self.lost = self.refused = self.denied = False
        self.socket = _Socket(zmq and zmq.DEALER, endpoint, options)
        self.send = self.socket.send

    def _read_events(self):
        for event, _ in self.socket.events():
            self.joined = self.joined or event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.lost = self.lost or (self.joined and event == zmq.EVENT_DISCONNECTED)
            self.denied = self.denied or event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
            self.refused = self.refused or event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
                                                     zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)

    def take(self):
        """Waits for a frame. After a server's late start it has the full time."""
        began, timeout = time.monotonic(), self.options.timeout
        while True:
            self._read_events()  # first: after its event, a peer that left sends no more
            if (parts := self.socket.receive()) is not None:
                return parse(parts[-1].bytes, self.name, self.options.max_frame)
            now = time.monotonic()
            if self.lost:
                raise Failure(f"{self.name}: the connection was lost")
            if self.denied and not self.joined:
                raise Failure(f"{self.name}: refused this program's key: it is not among the clients it lets "
                              "in")
            if not self.joined and now - self.opened >= timeout:
                why = "refused the handshake (wrong keys?), nobody else" if self.refused else "nobody"
                raise Failure(f"{self.name}: {why} answered within {timeout:g} s")
            began = began if self.joined else now
            if now - began >= timeout:
                raise Failure(f"{self.name}: no answer within {timeout:g} s")
            self.socket.wait(timeout)

    def finish(self):
        self._read_events()
        self.socket.close(0 if self.lost else self.options.timeout)

    def abandon(self):
        self.socket.close(0)


class _CommandPeer:
    """The server of a link over exec:, a command in a process group of its own. A thread reads the replies,
    since a peer that is blocked while it writes them reads no requests."""

    def __init__(self, endpoint, options):
        self.name, self.options, self.sent = endpoint, options, 0
        self.process = subprocess.Popen(["/bin/sh", "-c", endpoint.removeprefix("exec:")], bufsize=0,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        os.set_blocking(self.process.stdin.fileno(), False)
        self.replies, self.moved_at = queue.Queue(), time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def readinto(self, view):
        n = self.process.stdout.readinto(view)
        self.moved_at = time.monotonic()
        return n

    def _read(self):
        frame, n = True, 0
        while isinstance(frame, (Frame, bool)):
            try:
                frame = read_frame(self, self.name, self.options.max_frame)
                n += frame is not None and not frame.is_end and "error" not in frame.meta
                if n > self.sent:
                    frame = Failure(f"{self.name}: sent a reply that nobody asked for")
            except Failure as why:
                frame = why
            except (OSError, ValueError, MemoryError) as why:  # ValueError: this end is closed
                frame = Failure(f"{self.name}: {one_line(why) or 'out of memory'}")
            self.replies.put(frame)

    def send(self, tensors, meta):
        self.sent += "end" not in meta
        view = memoryview(pack(tensors, meta, self.options.crc))
        poll, timeout = select.poll(), self.options.timeout
        poll.register(self.process.stdin, select.POLLOUT)
        while view:
            if not poll.poll(timeout * 1000):
                raise Failure(f"{self.name}: no answer within {timeout:g} s")
            try:
                view = view[os.write(self.process.stdin.fileno(), view):]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                return  # it died; take() says why, perhaps by an error frame that is still in the other pipe

    def take(self):
        """Waits for a frame."""
        if (frame := self._next()) is None:
            raise Failure(f"{self.name}: {self._how_it_ended(2) or 'ended before it had answered'}")
        return frame

    def _next(self):
        """Waits for a frame. Returns None at the end of the command's output."""
        began, timeout = time.monotonic(), self.options.timeout
        while (rest := max(began, self.moved_at) + timeout - time.monotonic()) > 0:
            try:
                frame = self.replies.get(timeout=rest)
            except queue.Empty:
                continue
            if isinstance(frame, Failure):
                raise frame
            return frame
        raise Failure(f"{self.name}: no answer within {timeout:g} s")

    def _how_it_ended(self, seconds):
        """Waits for the command's end. Returns "" after status 0, else what happened."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return "closed its output, and goes on"
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"exited with status {status}" if status else ""

    def finish(self):
        self.process.stdin.close()
        while (frame := self._next()) is not None:
            if "error" in frame.meta:
                raise Failure(f"{self.name}: {frame.meta['error']}")
        if how := self._how_it_ended(self.options.timeout):
            raise Failure(f"{self.name}: {how}")

    def abandon(self):
        """Closes the pipe, at which a filter exits, and ends the command's group if it does not."""
        self.process.stdin.close()
        for end in signal.SIGTERM, signal.SIGKILL:
            try:
                self.process.wait(2)
                return
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, end)
        self.process.wait()


_links = []  # those that are open; run() ends them


class Link:
    """A client's connection to a server: exec:CMD, ipc://PATH or tcp://HOST:PORT. Several requests may be in
    flight; replies come in the order of the requests. Every wait ends when the peer dies, or after
    --timeout. Only one thread at a time may use a link."""

    def __init__(self, endpoint, options):
        if not is_socket(endpoint) and not endpoint.startswith("exec:"):
            raise Failure(f"{endpoint}: a link is exec:CMD, tcp://host:port or ipc://path")
        self.name, self.asked, self.answered = endpoint, 0, 0
        self.peer = (_RemotePeer if is_socket(endpoint) else _CommandPeer)(endpoint, options)
        _links.append(self)

    def send(self, tensors, meta):
        """Sends a request."""
        self.asked += 1
        self.peer.send(tensors, meta | {"seq": str(self.asked - 1)})

    def receive(self):
        """Waits for the next reply."""
        frame = self.peer.take()
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
        self.peer.send({}, {"end": "1"})

    def close(self):
        """Closes after end(); waits until a command has exited, whose failure is one here too."""
        self.peer.finish()
        _links.remove(self)

    def abandon(self):
        """Closes after a failure, without an end frame."""
        _links.remove(self)
        self.peer.abandon()


# ---- serving ----


def _with_seq(meta, seq):
    """Returns the metadata of a reply to the request with this seq, or None if it had none."""
    meta = {key: value for key, value in meta.items() if key not in ("seq", "crc32")}
    return meta if seq is None else meta | {"seq": seq}


class _StreamServer:
    """Takes the requests of one client from stdin or --in, and writes replies to stdout or --out."""

    def __init__(self, options):
        self.options, self.seqs, self.temporary = options, [], None
        source, path = options.source, options.out
        self.name, self.out_name = ("stdin" if source == "-" else source), ("stdout" if path == "-" else path)
        for endpoint in source, path:
            if is_socket(endpoint) or endpoint.startswith("exec:"):
                raise Failure(f"{endpoint}: a stage in Python takes files for --in and --out; use --listen")
        try:
            self.file = open(0 if source == "-" else source, "rb", buffering=0)
            self.regular = stat.S_ISREG(os.fstat(self.file.fileno()).st_mode)
            if path == "-":
                self.out = os.fdopen(os.dup(1), "wb")
                os.dup2(2, 1)  # what a module prints must not get between the frames
            elif os.path.exists(path) and not os.path.isfile(path):
                self.out = open(path, "wb")
            else:  # a regular file appears under its name only when it is complete
                self.out = open(f"{path}.{os.getpid()}.tmp", "xb")
                self.temporary = self.out.name
        except OSError as why:
            raise Failure(f"{why.filename}: {why.strerror}") from None

    def requests(self):
        """Yields (0, frame) for each request until the end of the file. Skips end frames in the middle."""
        ended = False
        while True:
            if ended and not self.regular and not select.select([self.file], [], [], 2)[0]:
                return  # no other stream follows
            frame = read_frame(self.file, self.name, self.options.max_frame)
            if frame is None:
                if not ended and not self.regular:
                    raise Failure(f"{self.name}: ended without an end frame: its producer died")
                return
            if "error" in frame.meta:
                raise Failure(f"{self.name}: {frame.meta['error']}")
            ended = frame.is_end
            if not ended:
                self.seqs.append(frame.meta.get("seq"))
                yield 0, frame

    def _write(self, tensors, meta):
        if tensors and self.out.isatty():
            raise Failure("stdout is a terminal; lead the frames into a program, such as inspect")
        try:
            self.out.write(pack(tensors, meta, self.options.crc))
            self.out.flush()
        except OSError as why:
            how = "its reader is gone" if isinstance(why, BrokenPipeError) else why.strerror
            raise Failure(f"{self.out_name}: {how}") from None

    def reply(self, _, tensors, meta):
        self._write(tensors, _with_seq(meta, self.seqs.pop(0)))

    def refuse(self, client, why):
        return False  # this client is no stranger

    def end(self):
        self._write({}, {"end": "1"})
        try:
            if self.temporary:
                os.fsync(self.out.fileno())
                os.rename(self.temporary, self.out_name)
            self.out.close()
        except OSError as why:
            raise Failure(f"{self.out_name}: {why.strerror}") from None

    def abandon(self, message):
        if self.temporary:
            os.unlink(self.temporary)
        elif not self.out.isatty():
            self._write({}, {"error": message})


class _SocketServer:
    """Takes the requests of all clients that come to the address of --listen."""

    def __init__(self, options):
        self.name, self.options, self.clients = options.listen, options, []
        if not is_socket(self.name):
            raise Failure(f"--listen {self.name}: only tcp://addr:port and ipc://path can be listened on")
        self.socket = _Socket(zmq and zmq.ROUTER, self.name, options)
        self.connections, self.accepted = {}, 0  # descriptor: number, as descriptors are used again
        self.gone = False  # a connection broke off since the last _check_gone()
        self.since = time.monotonic()  # when the latest client came
        self.guarded = bool(options.run) or self.socket.keyed  # only peers of this run can speak

    def _read_events(self):
        """Keeps account of the connections, and sets `gone` when one breaks off."""
        for event, fd in self.socket.events():
            if event == zmq.EVENT_ACCEPTED:
                self.accepted += 1
                self.connections[fd] = self.accepted
            elif event == zmq.EVENT_DISCONNECTED:
                self.connections.pop(fd, None)
                self.gone = True
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                self.socket.tell("refused a peer: not ZeroMQ, or not the right keys")

    def _receive(self, seconds):
        """Waits up to that many seconds. Returns (client, frame), or None if nothing came or a peer left. In
        place of the frame there is a Failure if it is none, or one of another run."""
        until = time.monotonic() + seconds
        while True:
            self._read_events()  # first: after its event, a peer that left sends no more
            if (parts := self.socket.receive()) is not None:
                break
            if self.gone or time.monotonic() >= until:
                self._check_gone()
                return None
            self.socket.wait(until - time.monotonic())
        self._read_events()  # a connection is accepted before its messages arrive
        *envelope, message = parts
        envelope = [part.bytes for part in envelope]
        try:
            frame, run_ = parse(message.bytes, "a message", self.options.max_frame), self.options.run
            if run_ and frame.meta.get("run") != run_:
                theirs = f"run {frame.meta['run'][:64]}" if "run" in frame.meta else "no run"
                raise Failure(f"a frame of {theirs}, not of {run_}")
        except Failure as why:
            frame = why
        c = next((c for c in self.clients if c.envelope and c.envelope[0] == envelope[0]), None)
        if c is None:
            c = SimpleNamespace(pending=[], spoke=False, settled=False, ended=False, refused=False)
            if not isinstance(frame, Failure):
                self.since = time.monotonic()
                self.clients.append(c)
        c.envelope, c.connection = envelope, self.connections.get(message.get(zmq.SRCFD), -1)
        return c, frame

    def _is_client(self, c):
        return not c.refused and (c.spoke or (self.guarded and c.ended))

    def _check_gone(self):
        self.gone = False
        for i, c in enumerate(self.clients):
            if c.envelope and c.connection not in self.connections.values():
                if not c.ended and not c.refused:
                    raise Failure(f"{self.name}: client {i} went away without an end frame")
                if not c.pending:
                    c.envelope = None

    def requests(self):
        """Yields (number of the client, frame) for each request, until all clients have ended."""
        timeout = self.options.timeout
        while True:
            present = [c for c in self.clients if self._is_client(c)]
            if present and all(c.ended for c in present):
                return
            rest = self.since + timeout - time.monotonic()
            if not present and rest <= 0:
                if any(c.ended and not c.refused for c in self.clients):
                    return  # somebody came, and had nothing to ask
                raise Failure(f"{self.name}: no client came within {timeout:g} s")
            got = self._receive(1 if present else rest)
            if got and (request := self._sort(*got)):
                yield request

    def _sort(self, c, frame):
        """Returns (number of the client, frame) if the frame is a request, else None."""
        if isinstance(frame, Failure):
            if self._is_client(c):
                raise Failure(f"{self.name}: client {self.clients.index(c)} sent {frame}")
            self.socket.tell(f"refused a peer: {frame}")
        elif "error" in frame.meta and not c.refused:
            if c.spoke:
                raise Failure(f"{self.name}: {frame.meta['error']}")
            c.refused = True
            self.socket.tell("refused a peer: an error frame is no request")
        elif not c.refused:
            c.ended = frame.is_end
            if not c.ended:
                c.spoke = True
                c.pending.append((c.envelope, frame.meta.get("seq")))
                return self.clients.index(c), frame
        return None

    def reply(self, client, tensors, meta):
        c = self.clients[client]
        envelope, seq = c.pending.pop(0)
        c.settled = True
        self.socket.send(tensors, _with_seq(meta, seq), envelope)

    def refuse(self, client, why):
        """Refuses a client that never had a reply and may be a stranger. Returns False if it can't be one."""
        c = self.clients[client]
        if c.settled or (self.guarded and sum(map(self._is_client, self.clients)) < 2):
            return False
        c.refused = True
        self.socket.tell(f"refused a peer: {why}")
        self._send_error(c, f"{program()}: {why}", c.pending.pop()[1])
        return True

    def _send_error(self, c, message, seq=None):
        try:
            self.socket.send({}, _with_seq({"error": message}, seq), c.envelope)
        except Failure:
            pass  # it is gone

    def end(self):
        self.socket.close(self.options.timeout)

    def abandon(self, message):
        for c in self.clients:
            if not c.ended and not c.refused:
                self._send_error(c, message)
        self.socket.close(2)


def _stop(number_, _):
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Failure(f"stopped by {signal.Signals(number_).name}")


def run(answer, options=None, links=None):
    """Answers each request with answer(tensors, meta), which returns the reply's tensors and metadata, until
    all callers have ended; then ends the links and the program. The exit status is 0, or 1 after a failure:
    answer() raises Failure, and its text is printed and sent to the callers. `links` is a function that
    opens the Links which answer() uses."""
    options, server, status = options or default_options(), None, 0
    try:
        for number_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number_, _stop)
        server = _SocketServer(options) if options.listen else _StreamServer(options)
        if links:
            links()
        for client, (tensors, meta) in server.requests():
            try:
                reply = answer(tensors, meta)
            except Unfit as why:
                if not server.refuse(client, why):
                    raise
                continue
            server.reply(client, *reply)
        for link in _links:
            link.end()
        while _links:
            _links[0].close()
        server.end()
    except BaseException as why:
        status = 1
        _tell_failure(why, server)
    if zmq:
        zmq.Context.instance().destroy()  # waits until closed sockets have sent what they had
    sys.stderr.flush()
    os._exit(status)  # not through the interpreter's end, which would wait for threads that read


def _tell_failure(why, server):
    """Prints what went wrong, tells it to the callers, and closes the links."""
    text = one_line(why) if isinstance(why, Failure) else f"{type(why).__name__}: {one_line(why)}"
    if isinstance(why, MemoryError):
        text = "out of memory"
    elif not isinstance(why, Failure):
        traceback.print_exc()  # a defect in this file or in answer(): the trace says where
    warn(text)
    try:
        if server:
            server.abandon(f"{program()}: {text}")
    except (Failure, OSError):
        pass  # the callers are gone
    while _links:
        _links[0].abandon()


# ---- the optimizer's client ----

BUCKET_BYTES = 1 << 20
BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
RUN_KEYS = ("steps", "steps_per_epoch", "batch", "rank", "world")  # what all requests of a run have


def is_buffer(name):
    """Returns True for a tensor that the optimizer stores and never changes: a buffer of batch norm."""
    return name.endswith(BUFFERS)


def is_unsound(name, values):
    """Returns what no network can have in a tensor: "NaN or infinity", or "a negative value" in a variance
    or count; or "" if its values are sound."""
    if values.dtype in (BF16, TYPES["F16"], TYPES["F32"]) and not np.isfinite(widen(values)).all():
        return "NaN or infinity"
    return "a negative value" if name.endswith(BUFFERS[1:]) and (widen(values) < 0).any() else ""


class Optimizer:
    """A stage's connection to its optimizer, which owns the parameters (docs/stages.md).

        optimizer = Optimizer(Link(options.opt, options))
        values = optimizer.join(meta, values)          # once, with the first request's metadata
        optimizer.begin(meta, buffers)                 # in each step, after the forward pass
        optimizer.push(name, gradient)                 # as soon as a gradient is complete
        values = optimizer.finish()                    # the new values; then .lr and .grad_norm

    Buckets are sent by a thread of their own, while the backward pass goes on."""

    def __init__(self, link, wire="fp32"):
        self.link, self.wire, self.rank = link, wire, 0
        self.lr, self.grad_norm, self.slow = None, math.nan, {}
        self.sender = ThreadPoolExecutor(1)

    def _take(self, tensors):
        """Returns the known ones of these tensors, which must have the types and shapes of what was joined
        with; BF16 becomes F32."""
        known = {name: a for name, a in tensors.items() if name in self.kinds}
        for name, a in known.items():
            dtype, shape = self.kinds[name]
            if a.shape != shape or (a.dtype != dtype and not (a.dtype == BF16 and dtype == TYPES["F32"])):
                raise Failure(f"{self.link.name}: tensor {name} is {describe(a.dtype, a.shape)}, "
                              f"not {describe(dtype, shape)}")
        return {name: widen(a) for name, a in known.items()}

    def join(self, meta, values, frozen=(), description=None, ema=None):
        """Joins with the initial values (F32; buffers also I64) of the parameters and buffers, of which only
        rank 0's are sent. `frozen` names those that get no gradients, `description` says what the stage is.
        Returns the current values. With `ema`, a momentum, the optimizer also keeps slow copies of the
        parameters, whose current values are then in `slow`; after each step the stage moves its own by
        follow(). Fails if `meta`, of the first request, is not of the optimizer's step."""
        name_, self.rank, self.frozen = self.link.name, integer(meta, "rank", 0), set(frozen)
        self.kinds = {name: (a.dtype, a.shape) for name, a in values.items()}
        self.owed = [name for name in values if not is_buffer(name) and name not in self.frozen]
        join = {key: meta[key] for key in (*RUN_KEYS, "grains", "images") if key in meta}
        join |= {"kind": "join"} | (description or {})
        if frozen:
            join["frozen"] = ",".join(frozen)
        if ema is not None:
            join["ema"] = repr(float(ema))
            self.kinds |= {"ema/" + name: self.kinds[name] for name in values if not is_buffer(name)}
        reply = self.link.request(values if self.rank == 0 else {}, join)
        current, parts = self._take(reply.tensors), {name.split(".")[0] for name in values}
        for name in reply.tensors:
            if "/" not in name and name not in values and name.split(".")[0] in parts:
                raise Failure(f"{name_}: the optimizer has {name}, which this network has not")
        for name in self.kinds:
            if name not in current:
                raise Failure(f"{name_}: the answer to a join lacks {name}"
                              + (": does this optimizer keep slow copies?" if name not in values else ""))
            if what := is_unsound(name, current[name]):
                raise Failure(f"{name_}: {name} holds {what}")
        self.slow = {name[4:]: current.pop(name) for name in [*current] if name not in values}
        self.kinds = {name: self.kinds[name] for name in values}
        step, first = integer(reply.meta, "step", 0), integer(meta, "step", 0)
        if step != first:
            raise Failure(f"augment starts at step {first}, the optimizer is at step {step}: "
                          f"start it with --start {step}")
        return current

    def begin(self, meta, buffers=()):
        """Begins a step of the request with these metadata. Buffers are sent first, since a client's step is
        complete when its last gradient arrives."""
        keys = (*RUN_KEYS, "step", "epoch", "grains", "images")
        self.meta = {key: meta[key] for key in keys if key in meta} | {"kind": "gradients"}
        self.bucket, self.bytes, self.sent, self.pushed = {}, 0, [], set()
        for name in buffers if self.rank == 0 else ():
            if name not in self.frozen:
                self.push(name, buffers[name])

    def push(self, name, gradient, ready=None):
        """Sends a gradient: F32, or BF16 if the wire is. It may wait to be sent in one bucket with later
        ones, so the array must stay as it is. `ready` is called before the array is read."""
        if name in self.pushed:
            raise Failure(f"the gradient of {name} came twice in a step")
        self.pushed.add(name)
        self.bucket[name] = (gradient, ready)
        self.bytes += gradient.nbytes
        if self.bytes >= BUCKET_BYTES:
            self._flush()

    def _flush(self):
        if self.bucket:
            self.sent.append(self.sender.submit(self._send, self.bucket))
        self.bucket, self.bytes = {}, 0

    def _send(self, bucket):
        for name, (a, ready) in bucket.items():
            if ready:
                ready()
            small = self.wire == "bf16" and a.ndim > 1 and a.dtype == TYPES["F32"] and not is_buffer(name)
            bucket[name] = narrow(a) if small else a
        self.link.send(bucket, self.meta)

    def finish(self):
        """Sends what is left, waits for the answers, and returns the new values. Sets lr, the learning rate
        as the optimizer printed it, or None; and grad_norm, the norm of the whole batch's gradient, or nan
        if the optimizer did not tell it."""
        for name in self.owed:
            if name not in self.pushed:
                raise Failure(f"parameter {name} got no gradient, since the output does not depend on it: "
                              "freeze it (requires_grad_(False)) or leave it out")
        self._flush()
        values, meta = {}, {}
        for future in self.sent:
            future.result()
        for _ in self.sent:
            reply = self.link.receive()
            values |= self._take(reply.tensors)
            meta |= reply.meta
        total = 0.0
        for name in self.owed:
            if name not in values:
                raise Failure(f"{self.link.name}: no answer to gradients has {name}")
            square = number(meta, "squares/" + name, math.nan)
            if "squares/" + name in meta and not 0 <= square < math.inf:
                raise Failure(f"{self.link.name}: squares/{name} is {square:g}: a sum of squares is a finite "
                              "number of at least 0")
            total += square
        self.lr, self.grad_norm = meta.get("lr"), math.sqrt(total) if self.owed else math.nan
        return values


def follow(momentum, now, slow):
    """Moves a slow copy to the new values of a parameter, in the same bits as the optimizer does: each
    operation is rounded to float32."""
    slow += np.float32(1 - momentum) * (now - slow)


# ---- metrics ----

# Metadata that describe the run or the link, and are no metrics.
DESCRIBED = (*RUN_KEYS, "grains", "seq", "crc32", "kind", "end", "run", "classes", "images", "class_names")


def metrics(request, reply):
    """Returns the metadata of a frame of metrics, which the first stage answers a training step with: the
    step, and the metrics that came with the reply of --next."""
    meta = {key: request[key] for key in (*RUN_KEYS, "step", "epoch") if key in request} | {"kind": "metrics"}
    return meta | {key: value for key, value in reply.items() if key not in DESCRIBED and key not in request}
