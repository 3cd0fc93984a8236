"""When descriptors, memory or a reader of the log are missing: rondel goes on or refuses clearly, never spins, never exits."""

import hashlib
import os
import re
import resource
from concurrent.futures import ThreadPoolExecutor

import requests

from backends import backend
from stage import MIB, PATIENCE, Rondel, check, file_of, run, until

SLOW_READERS = 500
REQUEST = b"GET / HTTP/1.1\r\nHost: rondel\r\n\r\n"


def is_served(rondel):
    response = requests.get(rondel.url, timeout=PATIENCE, headers={"Connection": "close"})
    assert (response.status_code, response.text) == (200, "nginx\n"), response.status_code


def ask_much(rondel, count=2_000):
    """So many requests, each over a connection of its own, more at a time than there are descriptors for."""
    text = run("ab", "-q", "-s", PATIENCE, "-n", count, "-c", 100, f"{rondel.url}/").decode()
    assert re.search(rf"Complete requests: +{count}\n", text) and re.search(r"Failed requests: +0\n", text), text
    assert "Non-2xx" not in text, text
    return f"{count} requests of 100 clients, 0 failed"


@check
def with_64_descriptors_clients_wait_for_their_turn():
    with Rondel([backend("nginx").port], under=("prlimit", "--nofile=64:64")) as rondel:
        told = rondel.log_line(r"64 descriptors allow (\d+) clients")
        line = ask_much(rondel)
        # More idle clients than it has room for: those beyond wait, and so does rondel.
        clients = [rondel.connect() for _ in range(100)]
        for client in clients:
            client.sendall(REQUEST)
        until("it is full", lambda: "new clients wait" in rondel.log())
        until("it has as many as it may", lambda: rondel.descriptors() > int(told[1]))
        rest = rondel.rests()
        # As those that are served leave, the others come in.
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            client.close()
        is_served(rondel)
        rondel.stops()
    return f"says that it has room for {told[1]} clients; {line}; with 100 idle ones {rest}; all of them served in the end"


@check
def when_descriptors_are_taken_away_it_refuses_clearly_and_recovers():
    with Rondel([backend("nginx").port]) as rondel:
        is_served(rondel)
        resource.prlimit(rondel.pid, resource.RLIMIT_NOFILE, (64, 64))
        clients = [rondel.connect() for _ in range(100)]
        until("it has no descriptor left", lambda: rondel.descriptors() >= 63)
        for client in clients:
            client.sendall(REQUEST)
        until("it says so", lambda: "new clients wait: " in rondel.log())
        rest = rondel.rests()
        answers = []
        for client in clients:
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 ") or b" 503 " in answer and b"out-of-resources" in answer, answer
            answers.append(answer[9:12])
            client.close()
        is_served(rondel)
        line = ask_one_by_one(rondel)
        rondel.stops()
    served = answers.count(b"200")
    return f"64 of them, 100 clients: {served} got 200, {len(answers) - served} got 503 out-of-resources; {rest}; then {line}"


def ask_one_by_one(rondel, count=200):
    for _ in range(count):
        is_served(rondel)
    return f"{count} of {count} answered 200"


@check
def memory_near_the_stated_bound_is_enough():
    path, digest = file_of(2 * MIB)
    with Rondel([backend("nginx").port], "--max-sessions", SLOW_READERS) as rondel:
        bound = rondel.memory_bound()
        # What it has mapped by now (code, stack, libraries) counts against the limit of the system and not against the bound.
        limit = rondel.mapped() + bound
        resource.prlimit(rondel.pid, resource.RLIMIT_AS, (limit, limit))
        clients = [rondel.connect() for _ in range(SLOW_READERS)]
        with rondel.memory_watched() as seen:
            # Each asks for more than the kernel's buffers take, and reads nothing.
            for client in clients:
                client.sendall(f"GET /{path.name} HTTP/1.1\r\nHost: rondel\r\nConnection: close\r\n\r\n".encode())
            until("bytes wait in rondel for them", lambda: seen[-1] > SLOW_READERS * 32 * 1024)
            rest = rondel.rests()
            held = seen[-1]
            # They all go on, and get every byte.
            with ThreadPoolExecutor(8) as pool:
                digests = set(pool.map(digest_of_answer, clients))
        assert digests == {digest}, f"{len(digests)} different answers"
        is_served(rondel)
        rondel.stops()
    assert seen[-1] <= bound, f"{seen[-1] / MIB:.0f} MiB"
    return (
        f"{SLOW_READERS} clients, stated bound {bound // MIB} MiB, limit {limit // MIB} MiB with what is mapped at start; while "
        f"none of them reads {held / MIB:.0f} MiB, {rest}; at most {seen[-1] / MIB:.0f} MiB; all get their 2 MiB in the end"
    )


def digest_of_answer(client):
    with client, client.makefile("rb") as answer:
        return hashlib.sha256(answer.read().partition(b"\r\n\r\n")[2]).hexdigest()


@check
def with_stderr_closed_it_serves():
    with Rondel([backend("nginx").port], under=("sh", "-c", 'exec "$0" "$@" 2>&-')) as rondel:
        line = ask_much(rondel)
        rest = rondel.rests()
        rondel.stops()
    return f"{line}; {rest}"


@check
def with_stderr_a_pipe_that_nobody_reads_it_serves():
    reading, writing = os.pipe()
    with Rondel([backend("nginx").port], "--log-level", "debug", stderr=writing) as rondel:
        os.close(writing)
        line = ask_much(rondel)
        rest = rondel.rests()
        os.set_blocking(reading, False)
        text = read_all(reading)
        assert b"lines were lost" not in text
        # Whoever reads at last is told what was missed.
        is_served(rondel)
        missed = until("it says what was lost", lambda: re.search(rb"(\d+) log lines were lost", read_all(reading)))
        rondel.stops()
    os.close(reading)
    return f"{line}; {rest}; {len(text) // 1024} KiB in the pipe, then {int(missed[1])} lines told as lost"


def read_all(pipe):
    text = b""
    while True:
        try:
            piece = os.read(pipe, 65536)
        except BlockingIOError:
            return text
        if not piece:
            return text
        text += piece


@check
def with_the_reader_of_stderr_gone_it_serves():
    reading, writing = os.pipe()
    with Rondel([backend("nginx").port], "--log-level", "debug", stderr=writing) as rondel:
        os.close(writing)
        os.close(reading)
        line = ask_much(rondel)
        rest = rondel.rests()
        rondel.stops()
    return f"{line}; {rest}"
