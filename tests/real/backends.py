"""The servers behind rondel, each one process that can be killed and started again on its port.

All serve `/` (their name), `/asked` (how many requests came), and files by their name, with ranges (nginx and Python). nginx
stores what is PUT to it. Python and Node answer `PUT /digest` with how the body was framed and its digest, `/chunked/NAME` with
a file in chunks, and `/events?count=N` with as many events, each after a `POST /events/next`. Python also has `/git/`, and
`/refused`, which wants no body.
"""

import re
import socket
import sys
import threading
import urllib.request

from stage import FILES, HERE, WORK, Program, accepts, free_port, until


class Backend:
    def __init__(self, name):
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.program = None
        self.start()

    def start(self):
        FILES.mkdir(exist_ok=True)
        self.looks = 0
        self.program = Program(*self.command())
        until(f"{self.name} accepts", lambda: self.is_up())

    def is_up(self):
        assert self.program.process.poll() is None, f"{self.name} ended: {self.program.log()[-500:]}"
        return accepts(self.port)

    def command(self):
        if self.name == "node":
            return "node", HERE / "backend.mjs", self.port, FILES
        if self.name == "python":
            return sys.executable, HERE / "backend.py", self.port, FILES
        template = (HERE / "nginx.conf").read_text()
        config = WORK / f"nginx-{self.port}.conf"
        config.write_text(template.replace("@PORT@", str(self.port)).replace("@WORK@", str(WORK)))
        return "nginx", "-c", config, "-e", WORK / "nginx.log"

    def kill(self):
        self.program.kill()

    def asked(self):
        """How many requests it has counted."""
        text = urllib.request.urlopen(f"{self.url}/asked").read().decode()
        self.looks += 1
        # nginx: connections accepted, handled, and requests, these looks among them.
        counts = re.search(r"(\d+) (\d+) (\d+)", text)
        return int(counts[3]) - self.looks if counts else int(text)


started = {}


def backend(name):
    """The server of that name, started when it is first asked for; lives to the end."""
    if name not in started:
        started[name] = Backend(name)
    return started[name]


def backends():
    return [backend(name) for name in ("nginx", "python", "node")]


class Faulty:
    """A backend of our own that takes a whole request head and then misbehaves: `act(connection)`, once for each request."""

    def __init__(self, act):
        self.act = act
        self.seen = 0
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return connection.close()
                head += piece
            with self.lock:
                self.seen += 1
                self.open.append(connection)
            self.act(connection)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.open:
            connection.close()
