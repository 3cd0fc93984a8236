"""SIGTERM to rondel while wrk asks, with a replacement that takes over.

rondel does not share its port: as long as one listens, a second ends with exit code 4. So a replacement takes over in one of two
ways. Either both listen, on ports of their own, and whoever is in front turns to the other when one refuses; then no
request fails. Or the replacement takes the same port as soon as it is free, which is when the old one begins to drain; then
clients are refused in between, but nothing that was accepted is lost.
"""

import http.client
import re
import signal
import threading
import time

from backends import backend, backends
from stage import PATIENCE, RONDEL, WORK, Program, Rondel, accepts, check, free_port, until
from wrk import Wrk

CLIENTS = 8

FRONT = """
daemon off;
master_process off;
pid {work}/front.pid;
error_log {work}/front.log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    upstream rondels {{ server 127.0.0.1:{first} max_fails=0; server 127.0.0.1:{second} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://rondels; }}
    }}
}}
"""


@check
def a_second_rondel_takes_over_behind_a_front_and_no_request_fails():
    ports = [server.port for server in backends()]
    first, second = Rondel(ports), Rondel(ports)
    front = free_port()
    config = WORK / "front.conf"
    config.write_text(FRONT.format(work=WORK, port=front, first=first.port, second=second.port))
    with Program("nginx", "-c", config, "-e", WORK / "front.log"):
        until("the front accepts", lambda: accepts(front))
        load = Wrk(f"http://127.0.0.1:{front}/", 2 * PATIENCE)
        seen = backend("nginx").asked()
        until("requests come through", lambda: backend("nginx").asked() > seen + 100)
        first.stops()
        with Rondel(ports, listen=f"127.0.0.1:{first.port}"):
            second.stops()
            seen = backend("nginx").asked()
            until("requests come through", lambda: backend("nginx").asked() > seen + 100)
            line = load.stopped().without_failure()
    # All that a rondel had accepted it answered: the front met nothing but connections that it did not get. Most are refused;
    # one that the kernel has made, and that waits to be accepted in the very moment in which the listener closes, is reset.
    errors = (WORK / "front.log").read_text().splitlines()
    unmade = r"connect\(\) failed \((111: Connection refused|104: Connection reset by peer)\) while connecting to upstream"
    others = [error for error in errors if not re.search(unmade, error)]
    assert not others, others[:3]
    reset = sum("(104:" in error for error in errors)
    return f"both replaced in turn, exit code 0: {line}; the front did not get {len(errors)} connections ({reset} reset), no more"


@check
def a_replacement_on_the_same_port_loses_nothing_that_was_accepted():
    ports = [server.port for server in backends()]
    old = Rondel(ports)
    beside = Program(RONDEL, "--listen", f"127.0.0.1:{old.port}", "--backend", f"127.0.0.1:{ports[0]}")
    assert beside.wait() == 4, beside.log()

    answered, faults, kept_reset, over = [0] * CLIENTS, [], [0] * CLIENTS, threading.Event()

    def ask(number):
        """Asks over kept connections and connects again when told to; only being refused is not a fault."""
        connection = None
        while not over.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", old.port, timeout=PATIENCE)
                    connection.connect()
                    asked_before = False
            except ConnectionRefusedError:
                connection = None
                time.sleep(0.005)
                continue
            except ConnectionResetError:
                # Accepted by the kernel alone, which gave it up with the listener.
                connection, kept_reset[number] = None, kept_reset[number] + 1
                continue
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                assert response.status == 200, response.status
                response.read()
                answered[number] += 1
                asked_before = True
                if response.will_close:
                    connection = None
            except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as error:
                if asked_before:
                    faults.append(repr(error))
                connection, kept_reset[number] = None, kept_reset[number] + 1
            except Exception as error:
                faults.append(repr(error))
                return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        until("all clients are served", lambda: min(answered) > 20)
        old.signal(signal.SIGTERM)
        told = time.monotonic()
        until("the port is free", lambda: not listens(old))
        with Rondel(ports, listen=f"127.0.0.1:{old.port}") as new:
            gap = time.monotonic() - told
            assert old.wait() == 0
            before = answered[:]
            until("all clients are served", lambda: all(now > then + 20 for now, then in zip(answered, before)))
            over.set()
            for thread in threads:
                thread.join(PATIENCE)
            new.stops()
    finally:
        over.set()
    assert not faults, faults
    assert sum(kept_reset) <= CLIENTS, kept_reset
    return (
        f"a second one beside it is refused (exit code 4); the new one listens {1000 * gap:.0f} ms after SIGTERM; "
        f"{sum(answered)} requests of {CLIENTS} clients, 0 failed, {sum(kept_reset)} connections given up before rondel had them"
    )


def listens(rondel):
    return rondel.process.poll() is None and rondel.listening()
