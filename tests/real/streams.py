"""What lives by bytes going on at once, and may have no end that is known before: server-sent events, a body up to the close,
WebSocket, git."""

import asyncio
import hashlib
import os
import random
import statistics
import sys
import time

import requests
from websockets.asyncio.client import connect

from backends import Faulty, backend
from clients import CLIENTS
from load import reset
from stage import FILES, HERE, MIB, PATIENCE, WORK, Program, Rondel, accepts, check, free_port, run, until

EVENTS = 50
BREAKS = 10
MESSAGES = 10_000


@check
def server_sent_events_arrive_one_by_one():
    medians = []
    for server in (backend("python"), backend("node")):
        with Rondel([server.port]) as rondel, requests.Session() as beside:
            stream = requests.get(f"{rondel.url}/events?count={EVENTS}", stream=True, timeout=PATIENCE)
            lines, waits = stream.iter_lines(chunk_size=1), []
            for number in range(EVENTS):
                # Past rondel the server is told to send one event. It has nothing to send that could push this one out: were
                # it held back anywhere, the next line would never come.
                told = time.monotonic()
                beside.post(f"{server.url}/events/next", timeout=PATIENCE)
                event = [next(lines), next(lines), next(lines)]
                waits.append(time.monotonic() - told)
                assert event == [f"id: {number}".encode(), f"data: event {number}".encode(), b""], event
            assert list(lines) == []
            medians.append(f"{server.name} {1000 * statistics.median(waits):.1f} ms")
            stream.close()
            rondel.stops()
    return f"{EVENTS} events each sent after the one before was read; there after (median): {', '.join(medians)}"


@check
def a_body_up_to_the_close_is_whole_or_an_error():
    body = os.urandom(100_000)
    breaks = False

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        if breaks:
            # What is not read yet would go with the reset; the body has to arrive, and to look whole.
            time.sleep(0.05)
            reset(connection)
        else:
            connection.close()

    with Faulty(answer) as faulty, Rondel([faulty.port]) as rondel:
        for client in CLIENTS:
            assert client.get(rondel.url) == hashlib.sha256(body).hexdigest(), client
        breaks = True
        for client in CLIENTS * BREAKS:
            try:
                client.get(rondel.url)
            except Exception:
                continue
            raise AssertionError(f"{type(client).__name__} took a part for the whole")
        assert faulty.seen == len(CLIENTS) * (1 + BREAKS), faulty.seen
        rondel.stops()
    names = ", ".join(type(client).__name__ for client in CLIENTS)
    return f"{names}: each got it whole once, and an error each of {BREAKS} times that it broke off"


@check
def a_websocket_echoes_ten_thousand_messages():
    port = free_port()
    with Program(sys.executable, HERE / "websocket.py", port):
        until("the server accepts", lambda: accepts(port))
        with Rondel([port]) as rondel:
            size = asyncio.run(talk(rondel.port))
            rondel.stops()
    return f"{MESSAGES} messages, text and binary, {size / MIB:.1f} MiB each way, in order"


async def talk(port):
    """Sends without waiting, and checks what comes back, at the same time."""
    draw = random.Random(1)
    noise = os.urandom(200_000)
    sizes = [draw.choice((0, 1, 125, 126, 1000)) for _ in range(MESSAGES)]
    sizes[::500] = [draw.randrange(60_000, 200_000) for _ in sizes[::500]]

    def message(number):
        at = number % (len(noise) - sizes[number]) if sizes[number] else 0
        return noise[at:at + sizes[number]] if number % 2 else f"{number} ".ljust(sizes[number])

    async with asyncio.timeout(PATIENCE), connect(f"ws://127.0.0.1:{port}/", max_size=None) as socket:

        async def send():
            for number in range(MESSAGES):
                await socket.send(message(number))

        sending = asyncio.create_task(send())
        for number in range(MESSAGES):
            assert await socket.recv() == message(number), f"message {number} came back changed"
        await sending
    return sum(sizes)


@check
def git_clones_and_pushes_over_http():
    home = WORK / "git"
    quiet = {"HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    quiet |= {f"GIT_{who}_{what}": "someone@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*arguments, where=home):
        return run("git", "-C", where, *arguments, env=quiet).decode().strip()

    home.mkdir()
    bare = FILES / "project.git"
    run("git", "init", "-q", "--bare", bare, env=quiet)
    git("config", "http.receivepack", "true", where=bare)
    with Rondel([backend("python").port]) as rondel:
        url = f"{rondel.url}/git/project.git"
        git("clone", "-q", url, "first")
        first = home / "first"
        for number in range(20):
            (first / f"file{number}").write_bytes(os.urandom(512 * 1024))
            git("add", ".", where=first)
            git("commit", "-q", "-m", f"Add file {number}", where=first)
        # 10 MiB do not fit git's post buffer of 1 MiB: this push is in chunks.
        git("push", "-q", "origin", "HEAD:refs/heads/main", where=first)
        git("clone", "-q", "-b", "main", url, "second")
        second = home / "second"
        (second / "more").write_text("a small push has a Content-Length\n")
        git("add", ".", where=second)
        git("commit", "-q", "-m", "Add more", where=second)
        git("push", "-q", "origin", "main", where=second)
        git("pull", "-q", "--ff-only", "origin", "main", where=first)
        rondel.stops()
    heads = {git("rev-parse", name, where=where) for name, where in (("HEAD", first), ("HEAD", second), ("main", bare))}
    assert len(heads) == 1, heads
    for where in (bare, first, second):
        git("fsck", "--full", "--strict", where=where)
    return f"2 clones, 2 pushes (one of 10 MiB in chunks), 1 pull; all three repositories are whole and at {heads.pop()[:8]}"
