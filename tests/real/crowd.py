"""Thousands of clients that want little or mean harm, and one that wants to be served meanwhile."""

import time

import requests

from backends import backend
from stage import MIB, PATIENCE, Program, Rondel, check, file_of, raise_descriptor_limit, until

IDLE = 5_000
# What is left of a crowd's memory once it has left; most of it is code that was not needed before.
KEPT_MAX = MIB // 2
ATTACKERS = 2_000
WELL_BEHAVED = 200
# rondel would end slow heads after 10 s; a slow machine may need longer to show that they harm nobody until then.
PATIENT = ("--head-timeout", "5m", "--body-timeout", "5m")
# What the slow readers ask for, three times each: more than rondel leaves to the kernel for a client (256 KiB unsent), so that
# bytes wait in rondel too; little enough that the kernel's memory for TCP is not what everybody waits for.
FILE_BYTES = MIB // 8

REQUEST = b"GET / HTTP/1.1\r\nHost: rondel\r\n\r\n"


def served(url):
    """A well-behaved client that notices nothing: half of its requests over one connection, half over one each. Says how
    long the slowest took."""
    slowest = 0
    with requests.Session() as kept:
        for number in range(WELL_BEHAVED):
            started = time.monotonic()
            response = (kept if number % 2 else requests).get(url, timeout=PATIENCE)
            slowest = max(slowest, time.monotonic() - started)
            assert (response.status_code, response.text) == (200, "nginx\n"), response.status_code
    return f"{WELL_BEHAVED} of {WELL_BEHAVED} answered 200, the slowest after {1000 * slowest:.0f} ms"


@check
def five_thousand_idle_clients_are_kept_while_requests_go_on():
    raise_descriptor_limit(2 * IDLE + 200)
    with Rondel([backend("nginx").port], "--client-idle-timeout", "10m") as rondel:

        def ask(client):
            client.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"nginx\n"):
                piece = client.recv(4096)
                assert piece, f"closed after {answer}"
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 "), answer

        at_start = rondel.memory()
        clients = [rondel.connect() for _ in range(IDLE)]
        for client in clients:
            ask(client)
        each = (rondel.memory() - at_start) / IDLE
        line = served(f"{rondel.url}/")
        rest = rondel.rests()
        # Each of them is still there, and is served when it asks again.
        for client in clients:
            ask(client)
            client.close()
        until("what they needed is given back", lambda: rondel.memory() - at_start <= KEPT_MAX)
        kept = rondel.memory() - at_start
        rondel.stops()
    assert each <= 512, f"{each:.0f} bytes for each idle client"
    back = f"{kept / 1024:.0f} KiB stay of them"
    return f"{IDLE} clients of {each:.0f} bytes each, all served before and after; {back}; {line}; {rest}"


def attack(*flags, descriptors=ATTACKERS):
    """2,000 connections of slowhttptest to a server that would hold them all; what the well-behaved client saw."""
    path, _ = file_of(FILE_BYTES)
    with Rondel([backend("nginx").port], *PATIENT) as rondel:
        before = rondel.descriptors()
        url = f"{rondel.url}/{path.name}"
        with Program("slowhttptest", "-c", ATTACKERS, "-r", ATTACKERS, "-l", 2 * PATIENCE, "-u", url, *flags) as attacker:
            until("all of them are connected", lambda: rondel.descriptors() - before >= descriptors)
            line = served(f"{rondel.url}/")
            held = rondel.descriptors() - before
            assert held >= ATTACKERS, f"{held} descriptors: the attack is over, and has shown nothing"
            memory = rondel.memory()
            assert attacker.process.poll() is None, attacker.log()
    return f"{line}; {memory / MIB:.1f} MiB with {held} descriptors open"


@check
def slowloris_does_not_touch_others():
    return attack("-H", "-i", 5)


@check
def slow_bodies_do_not_touch_others():
    return attack("-B", "-i", 5, "-s", 1_000_000, "-t", "PUT")


@check
def slow_readers_do_not_touch_others():
    return attack("-X", "-w", 512, "-y", 1024, "-n", 5, "-z", 32, "-k", 3, descriptors=2 * ATTACKERS)
