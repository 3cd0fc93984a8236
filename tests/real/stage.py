"""What every check stands on: programs that end with us, free ports, waiting for events, and rondel with its figures."""

import hashlib
import os
import random
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
WORK = Path(os.environ["WORK"])
FILES = WORK / "files"
RONDEL = os.environ["RONDEL"]

# How long anything may take before a check fails. Never reached when all is well, however slow the machine.
PATIENCE = 60
MIB = 1 << 20
CHECKS = []

running = []


def check(function):
    """A check is a function with a sentence as its name; it returns what it saw, and fails by any exception."""
    CHECKS.append(function)
    return function


def until(what, true):
    """Waits until `true()` is so, and returns what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (result := true()):
        assert time.monotonic() < deadline, f"{PATIENCE} s passed before {what}"
        time.sleep(0.01)
    return result


def free_port():
    """A port for a program that cannot ask the kernel for one: below those that the kernel gives to outgoing connections, so
    that a server that is started again still finds it free."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first_given - 12_000, first_given)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A program in a process group of its own, which ends with us even if we are killed."""

    def __init__(self, *command, stderr=None, **popen):
        self.log_path = WORK / f"log-{len(os.listdir(WORK))}-{Path(command[0]).name}"
        log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log if stderr is None else stderr,
            start_new_session=True,
            **popen,
        )
        log.close()
        self.pid = self.process.pid
        running.append(self)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_line(self, pattern):
        """What the first line of the log, so far or to come, has that matches."""

        def found():
            assert self.process.poll() is None or re.search(pattern, self.log()), f"ended: {self.log()}"
            return re.search(pattern, self.log())

        return until(f"a line like {pattern!r}", found)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Its exit code, once it has ended."""
        code = self.process.wait(PATIENCE)
        self.kill()
        return code

    def kill(self):
        """SIGKILL to it and whatever it started; returns when it is gone."""
        if self in running:
            running.remove(self)
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def end_all():
    for program in reversed(running[:]):
        program.kill()


def run(*command, **popen):
    """Runs a client to its end and returns what it printed; fails if it fails."""
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE, **popen,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
    return done.stdout


class Rondel(Program):
    """The binary in front of these ports, on a port of the kernel's choice."""

    def __init__(self, ports, *flags, listen="127.0.0.1:0", under=(), **popen):
        backends = [word for port in ports for word in ("--backend", f"127.0.0.1:{port}")]
        super().__init__(*under, RONDEL, "--listen", listen, *backends, *flags, **popen)
        self.port = until("rondel listens", self.listening)
        self.url = f"http://127.0.0.1:{self.port}"

    def listening(self):
        """The port of its listener, from what the kernel knows: its log may be closed."""
        assert self.process.poll() is None, f"rondel ended with {self.process.returncode}: {self.log()}"
        mine = set()
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                mine.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
        for row in tcp_rows():
            if row[3] == "0A" and f"socket:[{row[9]}]" in mine:
                return int(row[1].split(":")[1], 16)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def memory(self):
        """Its proportional set size, in bytes."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return 1024 * int(re.search(r"^Pss: +(\d+)", text, re.M)[1])

    def mapped(self):
        """The address space that it uses, in bytes."""
        return resource.getpagesize() * int(Path(f"/proc/{self.pid}/statm").read_text().split()[0])

    def cpu(self):
        """The processor time that it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def upstreams(self, port):
        """How many connections there are to a backend."""
        address = f"0100007F:{port:04X}"
        return sum(row[2] == address and row[3] == "01" for row in tcp_rows())

    def memory_bound(self):
        """The bound that it prints at start, in bytes."""
        return MIB * int(self.log_line(r"and (\d+) MiB of buffers")[1])

    @contextmanager
    def memory_watched(self):
        """Looks at its memory all the time; gives a list whose last element is the most that was seen, in bytes."""
        seen, over = [self.memory()], threading.Event()

        def watch():
            while not over.wait(0.02):
                seen.append(max(seen[-1], self.memory()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()

    def rests(self):
        """Sees that it comes to rest: two seconds with next to no processor time, and says with how much. What was under way may
        end first; one that spins uses all of any two seconds, or its share of a busy machine."""

        def two_seconds():
            before = self.cpu()
            time.sleep(2)
            used = self.cpu() - before
            return f"{1000 * used:.0f} ms of processor time in 2 s of rest" if used <= 0.1 else None

        return until("rondel comes to rest", two_seconds)

    def stops(self):
        """SIGTERM, and the end that should follow."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"rondel ended with {code}: {self.log()[-500:]}"


def tcp_rows():
    """The kernel's table of TCP sockets over IPv4: local address [1], remote address [2], state [3], inode [9]."""
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def raise_descriptor_limit(needed):
    """For us; rondel raises its own, and keeps room for an upstream beside each client."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= needed, f"needs ulimit -Hn of {needed}, not {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_of(size):
    """A file of so many bytes that the servers have too, and its digest. No two of its blocks are alike, so that nothing can
    be lost, doubled or moved and the digest stay."""
    path = FILES / str(size)
    if not path.exists():
        FILES.mkdir(exist_ok=True)
        block = os.urandom(min(size, MIB) - 8)
        with open(path, "wb") as file:
            for number in range(max(size // MIB, 1)):
                file.write(number.to_bytes(8) + block)
        path.with_suffix(".sha256").write_text(digest_of(path))
    return path, path.with_suffix(".sha256").read_text()
