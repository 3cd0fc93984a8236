"""A client that asks every millisecond over one connection: python pacer.py PORT. It is a process of its own, so that it waits
for nothing but the answers. Told to end (SIGTERM), it prints how long the slowest took, in seconds, and how many there were."""

import signal
import socket
import sys
import time

EVERY = 0.001

over = False


def end(*_):
    global over
    over = True


signal.signal(signal.SIGTERM, end)
slowest, answers = 0, 0
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    while not over:
        started = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: rondel\r\n\r\n")
        answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"after {answers} answers: {answer}")
        took = time.monotonic() - started
        slowest, answers = max(slowest, took), answers + 1
        time.sleep(max(0, EVERY - took))
print(slowest, answers)
