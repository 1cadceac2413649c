"""The processes that are timed: each does one round when asked, and reports how long it took."""
import contextlib
import glob
import json
import os
import resource
import select
import statistics
import struct
import subprocess
import tempfile
import time

from report import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = os.environ.get("BIN", os.path.join(ROOT, "bin"))
PARTS = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "tests/bench")
PYTHON = "/usr/bin/python3"  # of the system, whose packages hold PyTorch
PATIENCE = 600  # seconds that a round may take

os.environ["PATH"] = PROGRAMS + ":" + os.environ["PATH"]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def output(*command):
    """stdout of a command that has to succeed."""
    done = subprocess.run([str(c) for c in command], capture_output=True)
    if done.returncode:
        raise Failure(last_line(done.stderr.decode()) or f"{command[0]} failed")
    return done.stdout


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def memory_kib(pid, stat):
    """Of a process of this session: the most memory that it has had, and what of it now is files,
    which processes share; nothing if it is gone, or another's."""
    try:
        with open(stat, encoding="utf-8", errors="replace") as f:
            if int(f.read().rsplit(")", 1)[1].split()[3]) != pid:
                return 0, 0
        with open(os.path.dirname(stat) + "/status", encoding="utf-8", errors="replace") as f:
            fields = dict(line.split(":", 1) for line in f)
        return tuple(int(fields[k].split()[0]) for k in ("VmHWM", "RssFile"))
    except (OSError, IndexError, KeyError):
        return 0, 0


class Subject:
    """A process, in a session of its own with all that it starts. round() gives seconds."""

    def __init__(self, *command, environment=()):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, start_new_session=True, env={**os.environ, **dict(environment)})

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self.failure(f"does not end within {PATIENCE} s") from None
        if status and not kind:
            raise self.failure(f"ended with status {status}")
        self.process.stdout.close()

    def failure(self, otherwise):
        """To be raised: with the last line that the process said, if it said anything."""
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        return Failure(last_line(self.errors.read().decode(errors="replace")) or otherwise)

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except OSError:
            raise self.failure("does not listen any more") from None

    def wait(self):
        """Until there is something to read."""
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise self.failure(f"does not answer within {PATIENCE} s")

    def line(self):
        self.wait()
        line = self.process.stdout.readline().decode()
        if not line.endswith("\n"):
            raise self.failure("ended")
        return line.rstrip("\n")

    def peak(self):
        """Peak resident memory of the process, and the sum of all its session's peaks, in MiB. The
        sum counts the files that they have in memory, their libraries, once."""
        pid = self.process.pid
        own = memory_kib(pid, f"/proc/{pid}/stat")[0]
        all_of_them = [memory_kib(pid, s) for s in glob.glob("/proc/[0-9]*/stat")]
        files = max(file for _, file in all_of_them)
        return own / 1024, (files + sum(most - file for most, file in all_of_them)) / 1024


class Asked(Subject):
    """A program that is asked by lines. work: floating-point operations or bytes of a round."""

    def __init__(self, *command, environment=()):
        super().__init__(*command, environment=environment)
        word, _, work = self.line().partition("\t")
        if word != "ready":
            raise self.failure(f"says '{word}', not ready")
        self.work = float(work)

    def round(self):
        self.send(b"\n")
        return float(self.line())

    def rest(self):
        """Ends it: what it prints then, as lists of words."""
        self.process.stdin.close()
        return [line.split("\t") for line in self.process.stdout.read().decode().splitlines()]


def part(name, **options):
    """bench: one part of a step."""
    words = [w for k, v in options.items() for w in ([f"--{k}"] if v is True else [f"--{k}", v])]
    return Asked(PARTS, *words, name)


def torch(*words, tuned=False):
    """PyTorch as it comes, or tuned: its memory stays with the process. Otherwise glibc gives it
    back in each step, and the kernel's clearing of new pages takes much of the time."""
    environment = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)} if tuned else {}
    return Asked(PYTHON, f"{HERE}/torch_step.py", *words, environment=environment)


class Pipeline(Subject):
    """encode | project | ntxent with their optimizers, on views that were made beforehand. A
    round's seconds run from the first byte of its views to the last of its metrics."""

    def __init__(self, depth, pixels, views, precision, threads, grains=8):
        frame = output("augment", "--data", "shapes", "--size", pixels, "--batch", views // 2,
                       "--steps", 1, "--grains", grains, "--policy", "simclr-cifar")
        end = 8 + struct.unpack("<Q", frame[:8])[0]
        self.header = json.loads(frame[8:end])
        data = max(t["data_offsets"][1] for k, t in self.header.items() if k != "__metadata__")
        self.data = frame[end : end + data]
        self.steps = 0
        run = f"--threads {threads} --precision {precision}"
        optimizer = "--opt 'exec:lars --model /dev/null'"
        super().__init__(
            "sh", "-c", f"exec encode --arch resnet{depth} {run} {optimizer} --next \"$0\"",
            f"exec:project {run} {optimizer} --next 'exec:ntxent --threads {threads}'")
        for _ in range(2):  # to warm up, as torch_step.py does
            self.round()

    def round(self):
        self.header["__metadata__"].update(step=str(self.steps), steps="1000000")
        self.steps += 1
        text = json.dumps(self.header).encode()
        text += b" " * (-(8 + len(text)) % 64)
        since = time.perf_counter()
        self.send(struct.pack("<Q", len(text)) + text + self.data)
        self.wait()
        self.skip_frame()
        return time.perf_counter() - since

    def skip_frame(self):
        """A frame of metrics, which has no tensors."""
        size = self.process.stdout.read(8)
        if len(size) < 8 or len(self.process.stdout.read(struct.unpack("<Q", size)[0])) < 2:
            raise self.failure("ended")

    def __exit__(self, kind, *rest):
        if not kind:
            text = b'{"__metadata__":{"end":"1"}}'
            self.send(struct.pack("<Q", len(text)) + text)
        super().__exit__(kind, *rest)


def children_seconds():
    """Processor time of the processes that were waited for."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


class Views:
    """augment on one set of images: a round is some steps. What a start takes is left out. Seconds
    are processor time, or of the wall. Without `kept` images are read anew each time."""

    def __init__(self, policy, size, source, batch, steps, threads=1, kept=True, wall=False):
        self.command = ("augment", "--data", source, "--size", size, "--policy", policy,
                        "--threads", threads, "--batch", batch, "--cache", "1G" if kept else 0,
                        "--out", "/dev/null")
        self.clock = time.perf_counter if wall else children_seconds
        self.steps, self.work = steps, 2 * batch * steps
        self.start = min(self.run(1) for _ in range(3))

    def run(self, steps):
        since = self.clock()
        output(*self.command, "--steps", steps)
        return self.clock() - since

    def round(self):
        return self.run(1 + self.steps) - self.start


class Command:
    """A command; a round runs it from its start to its end."""

    def __init__(self, *command):
        self.command = command

    def round(self):
        since = time.perf_counter()
        output(*self.command)
        return time.perf_counter() - since


class Server:
    """A program that others link to, and that ends when they do."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(c) for c in command])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
        if self.process.wait() and not kind:
            raise Failure("the server failed")


def race(subjects, rounds, least, budget):
    """Median seconds of each subject's rounds. They take turns, so that what else runs on the
    machine disturbs all alike; after `budget` seconds it ends with the `least` number of rounds."""
    times = [[] for _ in subjects]
    since = time.monotonic()
    for i in range(rounds):
        if i >= least and time.monotonic() - since > budget:
            break
        for subject, seconds in zip(subjects, times):
            seconds.append(subject.round())
    return [statistics.median(t) for t in times]
