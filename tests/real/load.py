"""Backends that die, refuse, hang and reset while wrk asks: what no backend has swallowed succeeds.

By rondel's rule a request is sent twice only if the connection that it went over had been used before, so what a backend has
taken over a fresh connection fails with it. Where a backend swallows requests, the checks count them there and at the client:
not one more may fail.
"""

import signal
import socket
import struct
import time

import requests

from backends import Faulty, backend, backends
from stage import PATIENCE, Rondel, check, free_port, until
from wrk import Wrk

CONNECTIONS = 32
# rondel takes a backend out after so many failures in a row, and tries it with one request at a time from then on.
FAIL_AFTER = 3
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def warm(rondel, servers):
    """Sees that rondel has as many connections to each of these servers as wrk has to rondel, so that the load needs no fresh
    one. As many requests are begun for each, and none is finished before all have arrived."""
    clients = [rondel.connect() for _ in range(CONNECTIONS * len(servers))]
    for client in clients:
        client.sendall(b"PUT /digest HTTP/1.1\r\nHost: rondel\r\nContent-Length: 1\r\nConnection: close\r\n\r\n")
    for server in servers:
        until(f"{server.name} has {CONNECTIONS} connections", lambda: rondel.upstreams(server.port) >= CONNECTIONS)
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        answer = b""
        while piece := client.recv(4096):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 20"), answer
        client.close()


def kill_and_start_each(kill):
    """wrk, while each server is killed and started again in turn."""
    servers = backends()
    with Rondel([server.port for server in servers], "--upstream-idle-timeout", "10m") as rondel:
        load = Wrk(f"{rondel.url}/", 2 * PATIENCE, CONNECTIONS)
        for server in servers:
            warm(rondel, servers)
            kill(rondel, server)
            rondel.log_line(rf"backend 127\.0\.0\.1:{server.port} is out")
            server.start()
            rondel.log_line(rf"backend 127\.0\.0\.1:{server.port} is in again")
        load.stopped()
        rondel.stops()
    return load


@check
def each_server_is_killed_and_started_again_and_no_request_fails():
    def kill(rondel, server):
        # The kernel takes a killed process apart piece by piece. Here rondel finds it dead as a whole; see the next check.
        rondel.signal(signal.SIGSTOP)
        server.kill()
        rondel.signal(signal.SIGCONT)

    return f"nginx, Python, Node by SIGKILL, out, in again: {kill_and_start_each(kill).without_failure()}"


@check
def in_the_moment_of_a_kill_no_request_fails_either():
    # The connections of a killed process are reset before its listener is closed. What comes in between is accepted by the
    # kernel over a fresh connection that nobody will read: it goes to another backend once more.
    return f"3 kills: {kill_and_start_each(lambda _, server: server.kill()).without_failure()}"


@check
def a_backend_that_refuses_fails_no_request():
    nowhere = free_port()
    with Rondel([nowhere, backend("nginx").port, backend("node").port]) as rondel:
        load = Wrk(f"{rondel.url}/", 4, CONNECTIONS)
        rondel.log_line(rf"{nowhere} stays out: connect-refused")
        line = load.done().without_failure()
        rondel.stops()
    return line


@check
def a_backend_that_hangs_before_it_accepts_fails_no_request():
    # A listener whose queue is full and that nobody empties: the kernel answers no more connections.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port, filling = full.getsockname()[1], []
        while True:
            filler = socket.socket()
            filler.settimeout(0.5)
            filling.append(filler)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        with Rondel([port, backend("nginx").port, backend("node").port], "--connect-timeout", "500ms") as rondel:
            load = Wrk(f"{rondel.url}/", 4, CONNECTIONS)
            rondel.log_line(rf"127\.0\.0\.1:{port} is out: 3 failures in a row, last connect-timeout")
            line = load.done().without_failure()
            rondel.stops()
    return line


def only_what_it_saw_fails(act, reason, then, *flags):
    """wrk with two servers and a faulty backend among them: the backend goes out, and exactly the requests that it swallowed
    fail, each for this reason. `then` is what the log says when it has been tried again. Says how many."""
    with Faulty(act) as faulty, Rondel([faulty.port, backend("nginx").port, backend("node").port], *flags) as rondel:
        load = Wrk(f"{rondel.url}/", 5, CONNECTIONS)
        rondel.log_line(rf"127\.0\.0\.1:{faulty.port} is out: {FAIL_AFTER} failures in a row, last {reason}")
        rondel.log_line(rf"127\.0\.0\.1:{faulty.port} {then}")
        load.stopped()
        rondel.stops()
    # wrk may leave while requests are under way that it does not count any more.
    assert faulty.seen > FAIL_AFTER, f"it got {faulty.seen} requests"
    assert faulty.seen - CONNECTIONS <= load.failed <= faulty.seen, f"{load.failed} failed, it got {faulty.seen}"
    assert load.failed in (load.read, load.reasons.get(reason)), (load.failed, load.read, load.reasons)
    return f"{load.requests} requests; it got {faulty.seen} and was taken out; {load.failed} failed, 0 of the others"


def only_this_reason(act, status, reason, *flags):
    """What a client sees of the fault when there is no other backend."""
    with Faulty(act) as faulty, Rondel([faulty.port], *flags) as rondel:
        response = requests.get(rondel.url, timeout=PATIENCE)
        assert response.status_code == status and reason in response.text, (response.status_code, response.text)
        assert faulty.seen == 1, f"it was sent {faulty.seen} times"
    return f"{status} {reason}"


@check
def a_backend_that_never_answers_fails_only_what_it_swallowed():
    def hang(_):
        pass

    flags = ("--response-timeout", "1s")
    line = only_what_it_saw_fails(hang, "response-timeout", "stays out: response-timeout", *flags)
    return f"{only_this_reason(hang, 504, 'response-timeout', *flags)}; {line}"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.close()


@check
def a_backend_that_resets_after_the_request_head_fails_no_request():
    reason = "upstream-closed-before-head"
    with Faulty(reset) as faulty, Rondel([faulty.port, backend("nginx").port, backend("node").port]) as rondel:
        load = Wrk(f"{rondel.url}/", 4, CONNECTIONS)
        rondel.log_line(rf"127\.0\.0\.1:{faulty.port} stays out: {reason}")
        line = load.done().without_failure()
        rondel.stops()
    return f"alone: {only_this_reason(reset, 502, reason)}; it got {faulty.seen}, and others got them too: {line}"


@check
def a_backend_that_resets_after_the_response_head_is_never_taken_for_a_whole_answer():
    def begin_and_reset(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        # What is not read yet would go with the reset; the head has to arrive.
        time.sleep(0.05)
        reset(connection)

    # A response that begins is enough for a trial, so it is in again after a second, and out after three more failures.
    line = only_what_it_saw_fails(begin_and_reset, "response-truncated", "is in again")
    with Faulty(begin_and_reset) as faulty, Rondel([faulty.port]) as rondel:
        try:
            got = requests.get(rondel.url, timeout=PATIENCE)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
            seen = type(error).__name__
        else:
            raise AssertionError(f"a whole answer of {len(got.content)} bytes")
    return f"the client sees a broken answer ({seen}); {line}"
