#!/usr/bin/env python3
"""Shards for exec_shards.sh, and a server that drops connections.

    exec_shards.py make            writes d-0.tar to d-2.tar, with .gz and .zst where zstd is, into the
                                   current folder; boundary, the place between two entries of d-1.tar;
                                   other.tar, in which the last image of d-1.tar differs; photos.tar
    exec_shards.py serve ADDRESS   serves the folder by HTTP, writes the port into the file `port`, and
                                   a line for each request into `requests`
    exec_shards.py tensors         prints a CRC-32 of the tensors of each frame on stdin

A path is /TEST/BEHAVIOURS/FILE. The n-th request for a path of the shard d-1 gets the n-th of the
BEHAVIOURS, which + separates; all others are served whole:

    cut=K    the connection closes after K bytes      short=K  ... which are all that is announced
    reset=K  ... by a reset                           500      an error, with a page that explains it
    other    the file other.tar instead               whole    the file
"""
import collections
import http.server
import io
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import zlib


def png(seed, size=20):
    rows = random.Random(seed).randbytes(size * (3 * size))
    raw = b"".join(b"\0" + rows[3 * size * y:3 * size * (y + 1)] for y in range(size))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def write(path, entries):
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def make():
    for shard in range(3):
        entries = []
        for i in range(10):
            entries += [(f"{shard}-{i}.png", png(100 * shard + i)), (f"{shard}-{i}.cls", b"%d" % (i % 3)),
                        (f"{shard}-{i}.json", b"{}")]
        write(f"d-{shard}.tar", entries)
        if shard == 1:
            write("other.tar", entries[:12] + [(entries[12][0], png(7)[:-1] + b"!")] + entries[13:])
            with tarfile.open("d-1.tar") as tar:
                pathlib.Path("boundary").write_text(str(tar.getmembers()[12].offset))
    write("photos.tar", [(f"{c}/{i}.png", png(1000 + 10 * i + len(c))) for c in ("a", "bb") for i in range(12)])
    entries = []
    for part in "train", "test":
        for i in range(16):
            entries += [(f"{part}/{i}.png", png(2000 + 10 * i + len(part))), (f"{part}/{i}.cls", b"%d" % (i % 2))]
    write("parts.tar", entries)
    for path in list(pathlib.Path().glob("*.tar")):
        subprocess.run(["gzip", "-k", path], check=True)
        if shutil.which("zstd"):
            subprocess.run(["zstd", "-qk", path], check=True)


class Handler(http.server.BaseHTTPRequestHandler):
    seen = collections.Counter()

    def log_message(self, *_):
        pass

    def do_GET(self):
        _, test, behaviours, name = self.path.split("/")
        with open("requests", "a") as log:
            log.write(f"{test} {name}\n")
        n = self.seen[self.path]
        self.seen[self.path] += 1
        behaviours = behaviours.split("+")
        how, _, k = (behaviours[n] if name.startswith("d-1") and n < len(behaviours) else "whole").partition("=")
        data = pathlib.Path("other.tar" if how == "other" else name).read_bytes()
        if how == "500":
            data = b"<html><title>500</title>Out of order.</html>"
        sent = data[:int(k)] if k else data
        self.send_response(500 if how == "500" else 200)
        self.send_header("Content-Length", str(len(sent if how == "short" else data)))
        self.end_headers()
        self.wfile.write(sent)
        self.wfile.flush()
        self.close_connection = True
        if how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def serve(address):
    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    server.handle_error = lambda *_: None
    pathlib.Path("port.part").write_text(str(server.server_address[1]))
    os.rename("port.part", "port")
    server.serve_forever()


def tensors():
    while size := sys.stdin.buffer.read(8):
        header = json.loads(sys.stdin.buffer.read(*struct.unpack("<Q", size)))
        entries = [e["data_offsets"][1] for name, e in header.items() if name != "__metadata__"]
        print(len(entries), zlib.crc32(sys.stdin.buffer.read(max(entries, default=0))))


if sys.argv[1] == "make":
    make()
elif sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    tensors()
