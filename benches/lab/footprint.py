"""What a proxy takes before it does anything: memory for clients that only stay, time to start, bytes of its program."""
import statistics
import time

from .machine import memory_bytes
from .peers import NAMES, Stage, binary_bytes
from .workloads import begin_load, end_load, release

IDLE = (1000, 9000)
IDLE_ROUNDS_MAX = 3
STARTS = 9
# Memory is looked at so long after clients have come, and after they have left, when it may be given back later.
SETTLE_SECONDS, LEAVE_SECONDS = 0.5, 2


def measure(lab, names, rounds):
    """Medians of all proxies, by their names."""
    idles = {name: [] for name in names}
    starts = {name: [] for name in names}
    for _ in range(min(rounds, IDLE_ROUNDS_MAX)):
        for name in names:
            idles[name].append(idle(lab, name))
    for _ in range(STARTS):
        with Stage(lab, names) as stage:
            for name in names:
                starts[name].append(stage.start_seconds[name] * 1000)
    median = statistics.median
    return {
        name: {
            **{key: round(median(one[key] for one in idles[name])) for key in idles[name][0]},
            "start_ms": round(median(starts[name]), 1),
            "binary_bytes": binary_bytes(lab.programs.get(name, name)),
        }
        for name in names
    }


def idle(lab, name):
    """Memory of a proxy that has served a little; how much more it is for each client that stays; how much is left after."""
    with Stage(lab, [name]) as stage:
        proxy, port = stage.peers[name]
        warm = begin_load(lab, port, "busy", 4, "/b/1024", 0.1)
        release(warm)
        end_load(lab, warm)
        base = memory_after(SETTLE_SECONDS, proxy)
        found = {"base_bytes": base}
        for count in IDLE:
            if 2 * count + 200 > lab.descriptors:
                continue
            clients = begin_load(lab, port, "idle", count, "/b/1024")
            found[f"idle_{count}_bytes"] = (memory_after(SETTLE_SECONDS, proxy) - base) / count
            found[f"left_{count}"] = count - end_load(lab, clients)["alive"]
        found["after_bytes"] = memory_after(LEAVE_SECONDS, proxy)
        return found


def memory_after(seconds, proxy):
    time.sleep(seconds)
    return memory_bytes(proxy.pid)


def rows(report):
    """What there is to tell, in words, with a value for each proxy."""
    told = [("memory at start, MiB", "base_bytes", mebibytes)]
    told += [(f"memory of each of {count:,} idle clients, bytes", f"idle_{count}_bytes", "{:,.0f}".format) for count in IDLE]
    told += [
        ("memory after all have left, MiB", "after_bytes", mebibytes),
        ("start to first answer, ms", "start_ms", "{:.0f}".format),
        ("program, MiB", "binary_bytes", mebibytes),
    ]
    for what, key, form in told:
        if all(key in row for row in report.values()):
            yield what, {name: form(row[key]) for name, row in report.items()}


def mebibytes(count):
    return f"{count / (1 << 20):.1f}"


def show(report):
    print(f"\nfootprint\n  {'':40}" + "".join(f"{NAMES[name]:>9}" for name in report))
    for what, values in rows(report):
        print(f"  {what:40}" + "".join(f"{value:>9}" for value in values.values()), flush=True)
