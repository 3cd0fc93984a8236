"""What the proxies are asked to do, and how one round of it is measured: by wrk, or by benches/load where wrk cannot."""
import json
import re
import subprocess
import time
from dataclasses import dataclass

from .machine import LOAD_CORE, PROXY_CORE, core_seconds, cpu_ns, fail
from .peers import Stage

KIB, MIB = 1 << 10, 1 << 20

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; region=eu-west",
    "Referer: http://127.0.0.1/some/page/that/links/here?with=a&query=string",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
)
PIPELINE = """
init = function(args)
  requests = string.rep(wrk.format("GET", "/b/64"), 16)
end
request = function() return requests end
"""
UPLOAD = f"""
wrk.method = "POST"
wrk.path = "/up"
wrk.body = string.rep("x", {MIB})
"""
MIXED = """
init = function(args)
  requests, turn = {}, 0
  for _, bytes in ipairs({64, 1024, 16384, 256, 4096, 65536, 262144}) do
    table.insert(requests, wrk.format("GET", "/b/" .. bytes))
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


@dataclass(frozen=True)
class Workload:
    what: str
    connections: int
    path: str
    # Of wrk: header fields, and a script.
    fields: tuple = ()
    script: str = ""
    # Of benches/load, which does it instead of wrk: what kind of load, and what that wants to know besides.
    load: str = ""
    argument: int | None = None
    # Of benches/load too: what else goes on meanwhile.
    beside: tuple = ()
    backends: int = 4
    floor: str = "l7"
    # So many connections that one proxy alone may live at a time, or none has descriptors enough.
    alone: bool = False
    seconds: int = 1
    rounds_max: int = 5
    # Payload of one request, both ways together, where that is what matters.
    payload: int = 0
    # The time that an answer takes is what matters, not what it costs.
    latency: bool = False


WORK = {
    "ka64": Workload("64 B, connection kept", 64, "/b/64"),
    "ka1k": Workload("1 KiB, connection kept", 64, "/b/1024"),
    "browser1k": Workload("1 KiB, a browser's 12 fields", 64, "/b/1024", fields=BROWSER),
    "chunk1k": Workload("1 KiB in a chunk", 64, "/c/1024"),
    "mixed": Workload("64 B to 256 KiB in turn", 64, "/", script=MIXED, rounds_max=3),
    "slow": Workload("1 KiB, beside 100 slow clients", 64, "/b/1024", beside=("slow", 100, f"/b/{100 * MIB}"), rounds_max=3),
    "many": Workload("1 KiB, 200 backends", 64, "/b/1024", backends=200, rounds_max=3),
    "close1k": Workload("1 KiB, a connection each", 64, "/b/1024", fields=("Connection: close",)),
    "pipe16": Workload("64 B, 16 pipelined", 64, "/b/64", script=PIPELINE),
    "act1000": Workload("1 KiB, 1,000 busy clients", 1000, "/b/1024", seconds=2),
    "act8000": Workload("1 KiB, 8,000 busy clients", 8000, "/b/1024", load="busy", alone=True, seconds=2, rounds_max=3),
    "b64k": Workload("64 KiB down", 32, f"/b/{64 * KIB}", payload=64 * KIB),
    "b10m": Workload("10 MiB down", 8, f"/b/{10 * MIB}", payload=10 * MIB, seconds=2),
    "up1m": Workload("1 MiB up", 8, "/up", script=UPLOAD, payload=MIB),
    "ws64": Workload("64 B and back in a tunnel", 64, "/ws", load="tunnel", argument=64, floor="l4"),
    "ws64k": Workload(
        "64 KiB and back in a tunnel", 16, "/ws", load="tunnel", argument=64 * KIB, floor="l4", payload=128 * KIB
    ),
    "rate4000": Workload("4,000 requests a second", 64, "/b/1024", load="rate", argument=4000, latency=True, seconds=2),
    "rate4000dl": Workload(
        "4,000 a second, beside a download", 64, "/b/1024", load="rate", argument=4000, latency=True,
        beside=("busy", 1, f"/b/{10 * MIB}", 60), seconds=2,
    ),
}


def run(lab, work, names, rounds, seconds):
    """All proxies, round by round: what each round has measured, by the proxy's name."""
    rounds, seconds = min(rounds, work.rounds_max), seconds or work.seconds
    results = {name: [] for name in names}
    # They take turns, so that all meet the same machine, and each begins a round once.
    turns = [name for nth in range(rounds) for name in names[nth % len(names):] + names[:nth % len(names)]]
    if work.alone:
        for name in turns:
            with Stage(lab, [name], work.backends, work.floor) as stage:
                results[name].append(measure(lab, work, *stage.peers[name], seconds))
    else:
        with Stage(lab, names, work.backends, work.floor) as stage:
            for name in turns:
                results[name].append(measure(lab, work, *stage.peers[name], seconds))
    return results


def measure(lab, work, proxy, port, seconds):
    """One round of one proxy."""
    company = begin_load(lab, port, *work.beside) if work.beside else None
    if company and work.beside[0] == "busy":
        release(company)
    if work.load:
        extra = [] if work.argument is None else [work.argument]
        child = begin_load(lab, port, work.load, work.connections, work.path, seconds, *extra)
        before = sample(proxy)
        release(child)
        result = end_load(lab, child)
    else:
        before = sample(proxy)
        result = run_wrk(lab, work, port, seconds)
    elapsed, cpu, busy, stolen = (now - then for now, then in zip(sample(proxy), before))
    if company and work.beside[0] == "busy":
        lab.processes.stop(company)
    elif company:
        # A proxy that got rid of its slow clients would have it easy.
        result["failed"] += end_load(lab, company)["failed"]
    result["per_second"] = result["requests"] / elapsed
    result["cpu_us"] = cpu * 1e6 / max(result["requests"], 1)
    result["core_share"] = cpu / elapsed
    # At real-time priority other work does not hinder us: it has what is left.
    others = 0.0 if lab.real_time else max(0.0, busy - cpu)
    result["foreign"] = (others + stolen) / elapsed
    return result


def sample(proxy):
    """The time; the processor time of the proxy; how long its core was busy, and how long it was stolen: in seconds."""
    return time.monotonic(), cpu_ns(proxy.pid) / 1e9, *core_seconds(PROXY_CORE)


def begin_load(lab, port, kind, *arguments):
    """Starts benches/load; returns when all its connections stand."""
    argv = [lab.programs["load"], kind, f"127.0.0.1:{port}", *arguments]
    child = lab.processes.start(argv, LOAD_CORE, "load", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if child.stdout.readline() != "ready\n":
        fail(f"benches/load {kind}: {lab.processes.log('load').read_text()}")
    return child


def release(child):
    """Lets benches/load begin."""
    child.stdin.write("\n")
    child.stdin.flush()


def end_load(lab, child):
    """Waits for what benches/load has to tell; one that only stays goes now."""
    child.stdin.close()
    text = child.stdout.read()
    lab.processes.stop(child)
    return json.loads(text)


def run_wrk(lab, work, port, seconds):
    """Runs wrk; says what it measured."""
    argv = ["wrk", "-t1", f"-c{work.connections}", f"-d{seconds}s", "--latency", "--timeout", "20s"]
    for field in work.fields:
        argv += ["-H", field]
    if work.script:
        script = lab.folder / "script.lua"
        script.write_text(work.script)
        argv += ["-s", script]
    argv.append(f"http://127.0.0.1:{port}{work.path}")
    child = lab.processes.start(argv, LOAD_CORE, "wrk", stdout=subprocess.PIPE)
    text = child.stdout.read()
    lab.processes.stop(child)
    requests = re.search(r"(\d+) requests in", text)
    if not requests:
        fail(f"wrk: {text}{lab.processes.log('wrk').read_text()}")
    failed = re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)", text)
    units = {"us": 1, "ms": 1000, "s": 1_000_000}
    latency = {
        share: float(number) * units[unit]
        for share, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", text)
    }
    # It does not know the latency of pipelined requests, and says 0.
    p50, p99 = (latency.get(share) or None for share in ("50", "99"))
    return {"requests": int(requests[1]), "p50_us": p50, "p99_us": p99, "failed": sum(map(int, failed))}
