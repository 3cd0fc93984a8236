"""The machine: its two cores, the processes that we start on them, and what those cost."""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")


def fail(why):
    print(f"benches/compare: {why}", file=sys.stderr)
    sys.exit(1)


def raise_descriptors():
    """Lets us and our children open as many descriptors as may be; says how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def install(command, package):
    """Whether a command is there, once Debian's package has been installed if need be; none of its services is started."""
    if shutil.which(command):
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
            subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=False, **quiet)
        finally:
            if ours:
                policy.unlink()
    return shutil.which(command) is not None


class Processes:
    """What we have started. Each has a core, a log, and a process group of its own."""

    def __init__(self, folder, real_time):
        self.folder = folder
        self.first = ["chrt", "-f", "1"] if real_time else []
        self.alive = []

    def start(self, argv, core, name, **pipes):
        """Starts a program; `pipes` are those of Popen."""
        argv = [*self.first, "taskset", "-c", str(core), *map(str, argv)]
        with open(self.log(name), "w") as log:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **pipes}
            child = subprocess.Popen(argv, start_new_session=True, text=True, **pipes)
        self.alive.append(child)
        return child

    def log(self, name):
        return self.folder / f"{name}.log"

    def stop(self, child):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        if child in self.alive:
            self.alive.remove(child)

    def stop_all(self):
        for child in list(self.alive):
            self.stop(child)


def cpu_ns(pid):
    """Processor time of all threads of a process, in nanoseconds."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def core_seconds(core):
    """How long a core was busy, and how long the hypervisor had it."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq) / TICKS, steal / TICKS
    fail(f"this machine has no core {core}")


def memory_bytes(pid):
    """The proportional set size of a process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) * 1024


def description():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    control = congestion.read_text().strip() if congestion.exists() else "of unknown congestion control"
    return f"{os.cpu_count()} × {model[1] if model else os.uname().machine}, Linux {os.uname().release}, TCP {control}"
