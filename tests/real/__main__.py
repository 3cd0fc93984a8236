"""Runs the checks that are asked for, one line each; tests/real/run sets up what they need."""

import shutil
import signal
import sys
import time
import traceback

import bodies
import crowd
import limits
import load
import peers
import reload
import replacement
import streams
from stage import CHECKS, WORK, end_all

FAMILIES = [peers, bodies, streams, crowd, load, replacement, reload, limits]


def wanted(function, names):
    words = [name.replace(" ", "_") for name in names]
    return not words or any(word == function.__module__ or word in function.__name__ for word in words)


def main(names):
    chosen = [function for family in FAMILIES for function in CHECKS if function.__module__ == family.__name__]
    chosen = [function for function in chosen if wanted(function, names)]
    if not chosen:
        families = ", ".join(family.__name__ for family in FAMILIES)
        print(f"no check is called {' or '.join(names)}: expected {families}, or a part of a check's name", file=sys.stderr)
    failed = 0
    for function in chosen:
        started, sentence = time.monotonic(), f"{function.__module__}: {function.__name__.replace('_', ' ')}"
        try:
            line = f"ok      {sentence} – {function()}"
        except Exception as error:
            failed += 1
            traceback.print_exc()
            line = f"FAILED  {sentence} – {type(error).__name__}: {error}"
        print(f"{line} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed", flush=True)
    return 1 if failed or not chosen else 0


def stop(number, _):
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    code = 1
    try:
        code = main(sys.argv[1:])
    finally:
        end_all()
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(code)
