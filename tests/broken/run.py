#!/usr/bin/env python3
"""Breaks rondel on purpose, in every way that sabotages.toml lists, and sees whether the simulation finds it.

    tests/broken/run.py [NAME...]

Works on copies of the tree, one sabotage at a time in each, and runs up to SEEDS simulated networks (2,000) until one
fails, then the directed ones. Prints for each sabotage the seed that found it ("scene" when a directed run did, "test"
when it names another test that did) and what it showed. Ends with 1 when one was not found, when a text to be replaced is not there (once), when a sabotage does not
compile, or when the untouched tree fails. JOBS copies (2) work side by side.

Needs nothing but Python 3.11 and cargo.
"""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("sabotages.toml")
SEEDS = int(os.environ.get("SEEDS", "2000"))
JOBS = int(os.environ.get("JOBS", "2"))
# Seeds that the untouched tree must pass first: more would only tell again what the simulation's own test tells.
SEEDS_UNTOUCHED = min(200, SEEDS)
# A run of all seeds takes much less, also on a busy machine; a build too.
SECONDS_MAX = 300
# The whole of the program except its binary, which the simulation does not use and would have to wait for.
PARTS = ["Cargo.toml", "Cargo.lock", "src", "tests", "benches"]
# Quick to build anew and quick to run.
PROFILE = {
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_DEV_CODEGEN_UNITS": "16",
    "CARGO_INCREMENTAL": "1",
    "CARGO_TERM_COLOR": "never",
}

SEED_FOUND = re.compile(r"seed (\d+) failed")
# What a panic said, up to three lines of it.
PANIC = re.compile(r"panicked at \S+?:\d+:\d+:\n(.*(?:\n.+){0,2})")
# Tests of whole runs that failed: not those of the simulation's own parts.
FAILED = re.compile(r"^    (\w+)$", re.MULTILINE)


class Trouble(Exception):
    """Why a sabotage proves nothing."""


class Copy:
    """A copy of the tree that can be broken, built and run."""

    def __init__(self, folder, like=None):
        self.tree = folder / "tree"
        self.target = folder / "target"
        self.tree.mkdir(parents=True)
        for part in PARTS:
            whole = ROOT / part
            if whole.is_dir():
                shutil.copytree(whole, self.tree / part)
            else:
                shutil.copy2(whole, self.tree / part)
        (self.tree / "src/main.rs").unlink()
        if like:
            shutil.copytree(like.target, self.target)

    def build(self, test):
        """Builds the simulation, or another test, and says where it is."""
        command = ["cargo", "test", "--locked", "--no-run", "--test", test, "--message-format=json-render-diagnostics"]
        environment = os.environ | PROFILE | {"CARGO_TARGET_DIR": str(self.target)}
        done = run(command, self.tree, environment)
        if done.returncode:
            raise Trouble("does not compile:\n" + done.stderr.strip()[-2000:])
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return next(found for message in messages if (found := message.get("executable")))

    def simulate(self, seeds):
        """Runs so many seeds, and if none fails everything else; says whether all passed, and what was said."""
        program = self.build("sim")
        environment = os.environ | {"SEEDS": str(seeds), "RUST_BACKTRACE": "0"}
        environment.pop("SEED", None)
        for more in (["--skip=::", "--skip=scenes"], []):
            done = run([program, "--test-threads=1", *more], self.tree, environment)
            said = done.stdout + done.stderr
            if "running 0 tests" in said:
                raise Trouble("is not tried: the simulation has no test that runs seeds")
            if done.returncode and SEED_FOUND.search(said):
                return False, said
            # They have run. Without a seed it may be for want of luck only that they did not reach something.
            environment["SEEDS"] = "1"
        return not done.returncode, said

    def test(self, test):
        """Runs another test, which must fail; says which part of it did, and how."""
        done = run([self.build(test), "--test-threads=1"], self.tree, os.environ | {"RUST_BACKTRACE": "0"})
        said = done.stdout + done.stderr
        panic = PANIC.search(said)
        if not done.returncode:
            raise Trouble(f"is not found by the test {test}")
        if not panic or not FAILED.search(said):
            raise Trouble("fails otherwise:\n" + said.strip()[-2000:])
        return "test", " ".join(panic[1].split())

    def try_out(self, sabotage):
        """Breaks the tree in this way; says which seed found it, and how."""
        path = self.tree / sabotage["file"]
        whole = path.read_text()
        path.write_text(broken(sabotage, whole))
        try:
            if "test" in sabotage:
                return self.test(sabotage["test"])
            passed, said = self.simulate(SEEDS)
        finally:
            path.write_text(whole)
        if passed:
            raise Trouble(f"is not found by {SEEDS} seeds")
        seed, panic = SEED_FOUND.search(said), PANIC.search(said)
        if not panic or not FAILED.search(said):
            raise Trouble("fails otherwise:\n" + said.strip()[-2000:])
        how = " ".join(panic[1].split())
        directed = re.search(r"^test the_scenes\w* \.\.\. FAILED", said, re.MULTILINE)
        return "scene" if directed or not seed else seed[1], how


def run(command, folder, environment):
    """Runs a command that must end in its time."""
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, timeout=SECONDS_MAX,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise Trouble(f"takes longer than {SECONDS_MAX} s") from None


def broken(sabotage, text):
    """The text of a file with the sabotage in it."""
    tokens = re.findall(r"\w+|\W", re.sub(r"\s+", " ", sabotage["old"].strip()))
    # However it is laid out: white space may stand anywhere but within a word, and must only between two.
    pattern = r"\s*".join(re.escape(token) for token in tokens if token != " ")
    found = list(re.finditer(r"(?<!\w)" + pattern if tokens[0][0].isalnum() else pattern, text))
    if len(found) != 1:
        times = "not found" if not found else f"found {len(found)} times"
        raise Trouble(f"no longer applies: in {sabotage['file']} this text is {times}:\n  {''.join(tokens)}")
    start, end = found[0].span()
    return text[:start] + sabotage["new"] + text[end:]


def sabotages(names):
    """Those of the list that were asked for; all when none was."""
    listed = tomllib.loads(LIST.read_text())["sabotage"]
    unknown = set(names) - {sabotage["name"] for sabotage in listed}
    if unknown:
        sys.exit(f"not in {LIST.name}: {', '.join(sorted(unknown))}")
    return [sabotage for sabotage in listed if not names or sabotage["name"] in names]


def check_texts(chosen):
    """Whether every sabotage can be made, before anything is built."""
    stale = []
    for sabotage in chosen:
        try:
            broken(sabotage, (ROOT / sabotage["file"]).read_text())
        except (Trouble, OSError) as error:
            stale.append(f"{sabotage['name']} {error}")
    if stale:
        sys.exit("\n".join(stale))


def work(copy, waiting, report):
    """Tries out what waits, one after the other."""
    while True:
        try:
            sabotage = waiting.get_nowait()
        except queue.Empty:
            return
        started = time.monotonic()
        try:
            seed, how = copy.try_out(sabotage)
        except Trouble as trouble:
            report(sabotage, None, str(trouble), started)
        else:
            report(sabotage, seed, how, started)


def main():
    chosen = sabotages(sys.argv[1:])
    check_texts(chosen)
    started = time.monotonic()
    survivors = []
    lock = threading.Lock()

    def report(sabotage, seed, how, since):
        took = f"{time.monotonic() - since:.0f} s"
        with lock:
            if seed is None:
                survivors.append(sabotage["name"])
                print(f"{sabotage['name']:32}   --- {took:>6}  {how}\n  {sabotage['what']}", flush=True)
            else:
                print(f"{sabotage['name']:32} {seed:>5} {took:>6}  {how[:120]}", flush=True)

    with tempfile.TemporaryDirectory(prefix="rondel-broken-") as folder:
        first = Copy(Path(folder) / "0")
        try:
            passed, said = first.simulate(SEEDS_UNTOUCHED)
        except Trouble as trouble:
            sys.exit(f"the untouched tree {trouble}")
        if not passed:
            sys.exit("the untouched tree fails:\n" + said.strip()[-4000:])
        print(f"the untouched tree passes {SEEDS_UNTOUCHED} seeds, {time.monotonic() - started:.0f} s", flush=True)
        print(f"{'sabotage':32}  seed   took  how it showed", flush=True)
        waiting = queue.Queue()
        for sabotage in chosen:
            waiting.put(sabotage)
        count = max(1, min(JOBS, len(chosen)))
        copies = [first] + [Copy(Path(folder) / str(nth), first) for nth in range(1, count)]
        workers = [threading.Thread(target=work, args=(copy, waiting, report), daemon=True) for copy in copies]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} found, {time.monotonic() - started:.0f} s")
    if survivors:
        sys.exit("not found: " + ", ".join(survivors))


if __name__ == "__main__":
    # Whoever is told to stop tidies up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
