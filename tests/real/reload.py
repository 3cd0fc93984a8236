"""A file read anew, and a new program that takes over, while wrk asks and tunnels are open: nothing fails, nothing is dropped.

RELOADS=n and UPGRADES=n in the environment do either for longer than CI does; SEED=n draws other changes.
"""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from stage import HERE, MIB, PATIENCE, RONDEL, WORK, Program, Rondel, check, until
from tunnels import Tunnels
from wrk import Wrk

RELOADS = int(os.environ.get("RELOADS", 200))
UPGRADES = int(os.environ.get("UPGRADES", 20))
SEED = int(os.environ.get("SEED", 1))
BACKENDS = 8
CONNECTIONS = 25
TUNNELS = 20

# The file of ten thousand routes.
ROUTES, POOLS, BACKENDS_EACH = 10_000, 100, 10
# One route of so many answers by itself with what is in the file.
FIXED = 1000
TICK_MAX = 0.05
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1}

# What rondel says when it is done, or why it is not.
RELOADED = r"the configuration was reloaded"
REFUSED = r"reload refused: "
STARTED = r"a new program was started: .* as process (\d+)"


class Farm(Program):
    """Small backends that count what they are asked."""

    def __init__(self):
        super().__init__(sys.executable, HERE / "farm.py", BACKENDS)
        *self.ports, counter = map(int, self.log_line(r"^[\d ]+\n")[0].split())
        self.counter = http.client.HTTPConnection("127.0.0.1", counter, timeout=PATIENCE)

    def asked(self):
        """How often each port was asked."""
        self.counter.request("GET", "/")
        return {int(port): count for port, count in json.loads(self.counter.getresponse().read()).items()}


class FromFile(Rondel):
    """rondel with a file, on a port of the kernel's choice."""

    def __init__(self, text):
        self.path = WORK / f"rondel-{len(os.listdir(WORK))}.toml"
        self.path.write_text(text)
        Program.__init__(self, RONDEL, "-f", self.path)
        self.seen = 0
        self.port = until("rondel listens", self.listening)
        self.url = f"http://127.0.0.1:{self.port}"

    def write(self, text):
        """Another file in the place of the old one, all at once."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    def next_line(self, pattern):
        """What matches in the log behind the last place that was found."""

        def unseen():
            with open(self.log_path, "rb") as log:
                log.seek(self.seen)
                return log.read()

        def found():
            match = re.search(pattern.encode(), unseen(), re.M)
            assert match or self.process.poll() is None, f"ended: {self.log()[-500:]}"
            return match

        try:
            match = until(f"a line like {pattern!r} comes", found)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {unseen().decode()[-2000:]}") from error
        self.seen += match.end()
        return [group.decode() for group in (match[0], *match.groups())]

    def reload(self, text, outcome=RELOADED):
        """SIGHUP with another file; returns the line that says what came of it."""
        self.write(text)
        self.seen = self.log_path.stat().st_size
        self.signal(signal.SIGHUP)
        return self.next_line(rf"^.*(?:{outcome}).*$")[0]


def rest(pid):
    """What a process holds: descriptors by kind, threads, children. Pipes it keeps for the next who needs one."""
    kinds = Counter()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = os.readlink(descriptor)
            kinds["file" if link.startswith("/") else link.split(":")[0]] += 1
        except FileNotFoundError:
            continue
    del kinds["pipe"]
    threads, children = 0, []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children += (task / "children").read_text().split()
            threads += 1
        except (FileNotFoundError, ProcessLookupError):
            continue
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{kinds}, {threads} thread(s), children: {' '.join(children) or 'none'}"


def given_back(pid, before):
    """Sees that it comes to hold again just what it did before."""
    try:
        until("all is given back", lambda: rest(pid) == before)
    except AssertionError as error:
        raise AssertionError(f"{error}: {rest(pid)}; before: {before}") from error


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def get(connection, path, fields={}):
    """Status and body over a kept connection."""
    connection.request("GET", path, headers=fields)
    response = connection.getresponse()
    return response.status, response.read().decode().strip()


@contextmanager
def load_on(rondel):
    """wrk twice, once on a path whose route changes, and tunnels. Gives the tunnels, and a list of what was seen once all is
    over: no request has failed, and each tunnel that was not told to end goes on."""
    seen = []
    first, second = (Wrk(f"{rondel.url}{path}", 60 * PATIENCE, CONNECTIONS) for path in ("/", "/moved"))
    with first, second, Tunnels(rondel.port) as tunnels:
        tunnels.open(TUNNELS)
        yield tunnels, seen
        seen += [load.stopped().without_failure() for load in (first, second)]
        seen.append(tunnels.alive())
        tunnels.close_all()


# What a route may look at, and a request that it takes.
DECOYS = [
    ('path = "/decoy/{}"', "/decoy/{}", {}),
    ('path-prefix = "/decoy/{}"', "/decoy/{}/below", {}),
    ('path-pattern = "/*/decoy-{}"', "/any/decoy-{}", {}),
    ('host = "decoy{}.example.com"', "/", {"Host": "decoy{}.example.com"}),
    ('header = {{ X-Decoy = "{}" }}', "/", {"X-Decoy": "{}"}),
    ('query = {{ decoy = "{}" }}', "/?decoy={}", {}),
]


class Plan:
    """What the file says, and how it changes from one to the next: drawn from a seed."""

    def __init__(self, ports):
        self.draw = random.Random(SEED)
        self.ports = ports
        self.weights = {port: 1 for port in ports[:4]}
        self.decoys = []
        self.decoys_made = 0
        self.second = None
        self.moved = 'pool = "main"'

    def change(self):
        """One to three changes."""
        for _ in range(self.draw.randint(1, 3)):
            self.draw.choice([self.add, self.remove, self.reweight, self.add_decoy, self.remove_decoy, self.move])()

    def add(self):
        others = [port for port in self.ports if port not in self.weights]
        if others:
            entries = list(self.weights.items())
            entries.insert(self.draw.randint(0, len(entries)), (self.draw.choice(others), self.draw.randint(1, 3)))
            self.weights = dict(entries)

    def remove(self):
        self.lessen(lambda port: self.weights.pop(port))

    def reweight(self):
        port = self.draw.choice(list(self.weights))
        self.weights[port] = self.draw.randint(1, 3)
        if self.draw.random() < 0.2:
            self.lessen(lambda port: self.weights.update({port: 0}))

    def lessen(self, act):
        """For one of them, if two others stay that get requests."""
        port = self.draw.choice(list(self.weights))
        if len(self.live() - {port}) >= 2:
            act(port)

    def add_decoy(self):
        self.decoys_made += 1
        self.decoys.insert(self.draw.randint(0, len(self.decoys)), self.decoys_made)

    def remove_decoy(self):
        if self.decoys:
            self.decoys.remove(self.draw.choice(self.decoys))

    def move(self):
        """Where `/moved` goes: like all else, to a second pool, or to both."""
        self.second = self.draw.choice([None, self.draw.randint(1, 3)])
        more = [] if self.second is None else ['pool = "second"', "pools = { main = 2, second = 1 }"]
        self.moved = self.draw.choice(['pool = "main"', *more])
        if "second" not in self.moved:
            self.second = None

    def live(self):
        """The backends that get requests."""
        return {port for port, weight in self.weights.items() if weight}

    def pool(self, name, policy, weights):
        backends = "".join(
            f'[[pool.backend]]\nname = "b{port}"\naddress = "127.0.0.1:{port}"\nweight = {weight}\n' for port, weight in weights
        )
        return f'[[pool]]\nname = "{name}"\npolicy = "{policy}"\n{backends}'

    def text(self, top=""):
        weights = list(self.weights.items())
        routes = [(f"decoy {number}", decoy(number)[0], f'reply = {{ body = "decoy {number}" }}') for number in self.decoys]
        routes += [("probe", 'path = "/probe"', 'pool = "probe"'), ("moved", 'path = "/moved"', self.moved)]
        routes += [("rest", "", 'pool = "main"')]
        pools = [self.pool("main", "least-connections", weights), self.pool("probe", "round-robin", weights)]
        if self.second is not None:
            pools.append(self.pool("second", "round-robin", reversed(weights)))
        return "\n".join([
            # Connections that nobody needs any more are gone by the end.
            f'{top}upstream-idle-timeout = "1s"\n\n[[listener]]\naddress = "127.0.0.1:0"\n',
            *(f'[[route]]\nname = "{name}"\n{when}\n{action}\n' for name, when, action in routes),
            *pools,
        ])


def decoy(number):
    """The condition of a route, and a request that it takes."""
    condition, path, fields = DECOYS[number % len(DECOYS)]
    return condition.format(number), path.format(number), {name: value.format(number) for name, value in fields.items()}


def shares_are_exact(connection, plan):
    """One round of the pool that nobody else asks: each backend gets just its weight."""
    got = Counter()
    for _ in range(sum(plan.weights.values())):
        status, body = get(connection, "/probe")
        assert status == 200, (status, body)
        got[int(body)] += 1
    expected = {port: weight for port, weight in plan.weights.items() if weight}
    assert got == expected, f"got {dict(got)}, expected {expected}"


def settled(farm, silent):
    """What the backends without a share have been asked, once what was on its way to them has come."""
    last = {}

    def stands_still():
        nonlocal last
        asked, before = farm.asked(), last
        last = {port: asked[port] for port in silent}
        return last == before

    until("backends that are gone get nothing any more", lambda: stands_still() or not silent)
    return last


def serves(connection, farm, plan, decoys):
    """Sees that it does what the plan says: routes, shares, and nothing for those who have none."""
    silent = set(farm.ports) - plan.live()
    before = settled(farm, silent)
    for number in decoys:
        _, path, fields = decoy(number)
        status, body = get(connection, path, fields)
        expected = body == f"decoy {number}" if number in plan.decoys else int(body) in plan.live()
        assert status == 200 and expected, f"route {number} ({number in plan.decoys}): {status} {body}"
    shares_are_exact(connection, plan)
    after = farm.asked()
    late = {port: after[port] - before[port] for port in silent if after[port] != before[port]}
    assert not late, f"requests to backends that have no share any more: {late}"


@check
def reloads_in_a_row_under_load_fail_no_request_and_drop_no_tunnel():
    with Farm() as farm:
        plan = Plan(farm.ports)
        with FromFile(plan.text()) as rondel:
            at_start, took = rest(rondel.pid), []
            with load_on(rondel) as (tunnels, seen):
                connection = http.client.HTTPConnection("127.0.0.1", rondel.port, timeout=PATIENCE)
                for number in range(RELOADS):
                    decoys = set(plan.decoys)
                    plan.change()
                    started = time.monotonic()
                    rondel.reload(plan.text())
                    took.append(time.monotonic() - started)
                    try:
                        serves(connection, farm, plan, decoys ^ set(plan.decoys))
                    except AssertionError as error:
                        raise AssertionError(f"after reload {number + 1}: {error}; the log: {rondel.log()[-2000:]}") from error
                    if number == RELOADS // 10:
                        memory = rondel.memory()
                grown = rondel.memory() - memory
                connection.close()
            given_back(rondel.pid, at_start)
            rondel.stops()
    slowest = f"the log says so after {1000 * max(took):.0f} ms at most"
    held = f"{grown / MIB:+.1f} MiB of memory; held before and after: {at_start}"
    return f"{RELOADS} reloads, {slowest}; {'; '.join(seen)}; {held}"


@check
def new_programs_take_over_under_load_and_fail_no_request_and_drop_no_tunnel():
    with Farm() as farm:
        plan = Plan(farm.ports)
        with FromFile(plan.text()) as rondel:
            at_start = rest(rondel.pid)
            with load_on(rondel) as (tunnels, seen):
                # Every second program gets a tunnel, and lives as long as that; the others end by themselves.
                pids, holds = [rondel.pid], {rondel.pid: tunnels.all[:]}
                for number in range(UPGRADES):
                    pids.append(upgrade(rondel, pids[-1]))
                    before = sum(farm.asked().values())
                    until("requests come through", lambda: sum(farm.asked().values()) > before + 4 * CONNECTIONS)
                    if number % 2:
                        holds[pids[-1]] = tunnels.open()
                *old, last = pids
                ending = [pid for pid in old if pid not in holds]
                until("those without tunnels end", lambda: not any(map(is_running, ending)))
                zombies = [pid for pid in ending if parent(pid) in pids]
                assert not zombies, f"{zombies} have ended, and nobody has asked how"
                assert all(map(is_running, holds)), rondel.log()[-2000:]
                tunnels.alive()
                for pid in holds:
                    if pid != last:
                        assert is_running(pid), f"{pid} has ended before its tunnels"
                        tunnels.close(holds[pid])
                        until("one without tunnels any more ends", lambda: not is_running(pid))
            code = rondel.process.wait(PATIENCE)
            assert code == 0, f"the first ended with {code}: {rondel.log()[-2000:]}"
            given_back(last, at_start)
            os.kill(last, signal.SIGTERM)
            until("the last one ends", lambda: not is_running(last))
            assert " clients were cut short" not in rondel.log(), rondel.log()[-2000:]
    lived = f"{len(holds)} programs lived until their tunnels had ended, the others ended at once"
    return f"{UPGRADES} upgrades; {'; '.join(seen)}; {lived}"


def upgrade(rondel, pid):
    """SIGUSR2; returns the process that has taken over."""
    os.kill(pid, signal.SIGUSR2)
    new = int(rondel.next_line(STARTED)[1])
    rondel.next_line(rf"process {new} has taken over")
    return new


def parent(pid):
    """The parent of a process that has ended, if nobody has asked how yet."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return None


@check
def a_broken_file_changes_nothing_and_all_its_errors_are_told():
    with Farm() as farm:
        plan = Plan(farm.ports)
        plan.weights = dict(zip(farm.ports, (3, 2, 1)))
        with FromFile(plan.text()) as rondel:
            at_start = rest(rondel.pid)
            with load_on(rondel) as (tunnels, seen):
                connection = http.client.HTTPConnection("127.0.0.1", rondel.port, timeout=PATIENCE)
                told = [refused(rondel, text) for text in (broken(plan.text()), "[[pool]\n", "", plan.text()[:-5])]
                serves(connection, farm, plan, [])
                plan.weights = dict(zip(farm.ports[2:], (1, 2, 3)))
                rondel.reload(plan.text())
                serves(connection, farm, plan, [])
                connection.close()
            given_back(rondel.pid, at_start)
            rondel.stops()
    errors = f"{' + '.join(map(str, told))} errors in as many files, the same by rondel check (exit code 3)"
    return f"{errors}; then a good one; {'; '.join(seen)}"


def broken(text):
    """A file with several errors, each line that has one marked as such."""
    return f"""max-sesions = 10 # wrong
{text}
[[route]]
path = "no-slash" # wrong
pool = "mian" # wrong
[[pool]]
name = "more"
[[pool.backend]]
address = "127.0.0.1" # wrong
weight = 1000 # wrong
[[pool.backend]]
address = "127.0.0.1:1"
wieght = 1 # wrong
"""


def refused(rondel, text):
    """Sees that a reload of this file is refused for all its errors, and by the same words as `rondel check` has. Says how many."""
    rondel.reload(text, REFUSED)
    # Whatever is told is told by the time that the next reload begins.
    checked = subprocess.run([RONDEL, "check", "-f", rondel.path], capture_output=True, text=True, timeout=PATIENCE)
    assert checked.returncode == 3, f"rondel check ended with {checked.returncode}: {checked.stdout}{checked.stderr}"
    errors = re.findall(rf"^{re.escape(str(rondel.path))}:(\d+):(\d+): (.*)$", checked.stdout + checked.stderr, re.M)
    for line, column, words in errors:
        place = f"{rondel.path}:{line}:{column}: {words}"
        until(f"{place!r} is logged", lambda: place in rondel.log())
    lines = {int(line) for line, *_ in errors}
    marked = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert lines == marked if marked else lines, f"errors in lines {sorted(lines)}, not {sorted(marked)}: {checked.stderr}"
    return len(errors)


@check
def a_file_of_ten_thousand_routes_keeps_no_one_waiting():
    with Farm() as farm:
        texts = [large(farm.ports, variant) for variant in range(2)]
        started = time.monotonic()
        with FromFile(texts[0]) as rondel:
            start = time.monotonic() - started
            quiet = slowest_answer(rondel, lambda: time.sleep(2))
            took, ticks = [], []

            def reloads():
                for number in range(1, 11):
                    started = time.monotonic()
                    line = rondel.reload(texts[number % 2])
                    took.append(time.monotonic() - started)
                    ticks.extend(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(µs|ms|s)\b", line))
                    for route in range(0, ROUTES - 1, FIXED):
                        answer = get(connection, f"/fixed/{route}")
                        assert answer == (200, str(number % 2)), (number, answer)

            connection = http.client.HTTPConnection("127.0.0.1", rondel.port, timeout=PATIENCE)
            busy, memory = slowest_answer(rondel, reloads), rondel.memory()
            connection.close()
            rondel.stops()
    assert len(ticks) == 10, f"the log does not say how long the loop stood: {rondel.log()[-500:]}"
    # In one of them the machine may have had something else to do.
    assert sorted(ticks)[-2] < TICK_MAX, f"everybody waited for ticks of {[f'{1000 * tick:.1f} ms' for tick in ticks]}"
    size = f"{ROUTES} routes, {POOLS * BACKENDS_EACH} backends, {len(texts[0]) / MIB:.1f} MiB"
    times = f"ready {start:.2f} s after the start, reloaded in {min(took):.2f} to {max(took):.2f} s"
    waits = f"the slowest of {busy[1]} answers {1000 * busy[0]:.1f} ms ({1000 * quiet[0]:.1f} ms without a reload)"
    return f"{size}: {times}; the longest tick {1000 * max(ticks):.1f} ms; {waits}; {memory / MIB:.0f} MiB of memory"


def large(ports, variant):
    """A file of many routes and pools. From one variant to the other a part of everything comes, goes or changes."""
    draw = random.Random(SEED)
    pools, routes = [], []
    for pool in range(POOLS):
        pools.append(f'[[pool]]\nname = "pool {pool}"')
        for backend in range(BACKENDS_EACH):
            # Nobody listens there.
            address, is_other = f"127.0.{pool}.{backend + 1}:1", variant and draw.random() < 0.1
            name = f"{'other' if is_other and backend % 2 else 'backend'} {backend}"
            pools.append(f'[[pool.backend]]\nname = "{name}"\naddress = "{address}"\nweight = {2 if is_other else 1}')
    pools.append(f'[[pool]]\nname = "live"\nbackends = ["127.0.0.1:{ports[0]}", "127.0.0.1:{ports[1]}"]')
    for route in range(ROUTES - 1):
        pool = draw.randrange(POOLS)
        if draw.random() < 0.1:
            pool = (pool + variant) % POOLS
        when = f'host = "host{route}.example.com"'
        match route % 20:
            case 0:
                when = f'path-prefix = "/prefix/{route}"'
            case 1:
                when = f'{when}\npath = "/exact/{route}"'
            case 2:
                when = f'{when}\nheader = {{ X-Route = "{route}" }}'
            case 3:
                when = f'host = "*.wild{route}.example.com"'
            case 4:
                when = f'path-pattern = "/*/pattern-{route}"'
        does = f'pool = "pool {pool}"'
        if route % FIXED == 0:
            when, does = f'path = "/fixed/{route}"', f'reply = {{ body = "{variant}" }}'
        name = f"route {route} of {variant if draw.random() < 0.01 else 0}"
        routes.append(f'[[route]]\nname = "{name}"\n{when}\n{does}')
    routes.append('[[route]]\nname = "rest"\npool = "live"')
    return "\n".join(['[[listener]]\naddress = "127.0.0.1:0"', *routes, *pools, ""])


def slowest_answer(rondel, act):
    """The longest that a client waits who asks every millisecond while `act` runs, in seconds, and how often it asked."""
    with Program(sys.executable, HERE / "pacer.py", rondel.port) as pacer:
        act()
        pacer.signal(signal.SIGTERM)
        code = pacer.process.wait(PATIENCE)
        assert code == 0, f"a request failed: {pacer.log()}"
        slowest, answers = pacer.log().split()
    return float(slowest), int(answers)


@check
def rondel_reload_says_what_changes():
    with Farm() as farm:
        plan, control = Plan(farm.ports), WORK / "control.sock"
        top = f'control = "{control}"\n'

        def ask():
            done = subprocess.run([RONDEL, "reload", "--control", control], capture_output=True, text=True, timeout=PATIENCE)
            return done.returncode, done.stdout + done.stderr

        with FromFile(plan.text(top)) as rondel:
            old, new = farm.ports[0], farm.ports[5]
            del plan.weights[old]
            plan.weights[new] = 2
            plan.add_decoy()
            rondel.write(plan.text(top))
            code, changes = ask()
            assert code == 0, (code, changes)
            for name in (f"b{old}", f"b{new}", "decoy 1"):
                assert re.search(rf"\b{name}\b", changes), (name, changes)
            connection = http.client.HTTPConnection("127.0.0.1", rondel.port, timeout=PATIENCE)
            serves(connection, farm, plan, [1])
            rondel.write(broken(plan.text(top)))
            code, errors = ask()
            assert code == 3 and len(re.findall(r"\.toml:\d+:\d+: ", errors)) == 6, (code, errors)
            serves(connection, farm, plan, [1])
            rondel.write(plan.text(top))
            code, same = ask()
            assert code == 0, (code, same)
            connection.close()
            rondel.stops()
    told = f"exit code 0 and {len(changes.splitlines())} changes; exit code 3 and {len(errors.splitlines())} lines of errors"
    return f"{told}; then: {same.strip()}"
