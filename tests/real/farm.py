"""Many small backends in one process: python farm.py COUNT. The first line that it prints is their ports, and one more.

Each answers with its port, counts what it is asked, and gives an `Upgrade` a tunnel that echoes. The port that comes last tells
how often each was asked so far, as JSON: one thread serves them all, so that whatever had arrived anywhere before that
question is counted in the answer.
"""

import asyncio
import json
import sys

asked = {}
EMPTY_LINE = b"\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def ok(body):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Backend(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.input, self.is_tunnel = transport, b"", False
        self.port = transport.get_extra_info("sockname")[1]
        self.answer = ok(f"{self.port}\n") if self.port in asked else None

    def data_received(self, piece):
        if self.is_tunnel:
            return self.transport.write(piece)
        self.input += piece
        while EMPTY_LINE in self.input:
            head, _, self.input = self.input.partition(EMPTY_LINE)
            if self.answer is None:
                self.transport.write(ok(json.dumps(asked)))
                continue
            asked[self.port] += 1
            if b"\r\nupgrade: websocket" in head.lower():
                self.is_tunnel = True
                return self.transport.write(SWITCHED + self.input)
            self.transport.write(self.answer)


async def main(count):
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Backend, "127.0.0.1", 0, backlog=4096) for _ in range(count + 1)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    asked.update((port, 0) for port in ports[:-1])
    print(*ports, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
