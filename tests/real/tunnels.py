"""Tunnels through rondel that exchange a message every 100 ms for as long as they live."""

import asyncio
import threading
import time

from stage import PATIENCE

EVERY = 0.1
ASKED = b"GET / HTTP/1.1\r\nHost: tunnel\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Tunnel:
    """One of them. What is wrong with it is in `fault`; it is over when it was told to close and has."""

    def __init__(self):
        self.echoed, self.slowest, self.fault = 0, 0, None
        self.closing, self.is_over = asyncio.Event(), False

    async def live(self, port, opened):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASKED)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert head.startswith(b"HTTP/1.1 101 "), head
            opened.set_result(self)
            while not self.closing.is_set():
                await self.exchange(reader, writer)
                try:
                    await asyncio.wait_for(self.closing.wait(), EVERY)
                except TimeoutError:
                    pass
            writer.write_eof()
            rest = await asyncio.wait_for(reader.read(), PATIENCE)
            assert rest == b"", rest
            writer.close()
        except Exception as error:
            self.fault = f"after {self.echoed} messages: {error!r}"
            if not opened.done():
                opened.set_exception(error)
        self.is_over = True

    async def exchange(self, reader, writer):
        message = f"message {self.echoed} ".encode().ljust(50 + self.echoed % 500, b".")
        sent = time.monotonic()
        writer.write(message)
        echo = await asyncio.wait_for(reader.readexactly(len(message)), PATIENCE)
        assert echo == message, f"{echo} for {message}"
        self.echoed += 1
        self.slowest = max(self.slowest, time.monotonic() - sent)


class Tunnels:
    """All of them, in a thread of their own."""

    def __init__(self, port):
        self.port, self.all, self.tasks = port, [], set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def open(self, count=1):
        """So many more; returns when they are open."""
        new = [asyncio.run_coroutine_threadsafe(self.start(), self.loop) for _ in range(count)]
        new = [future.result(PATIENCE) for future in new]
        self.all += new
        return new

    async def start(self):
        tunnel, opened = Tunnel(), self.loop.create_future()
        task = asyncio.create_task(tunnel.live(self.port, opened))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await opened

    def close(self, tunnels):
        """These end as both sides want it; returns when they have."""
        for tunnel in tunnels:
            self.loop.call_soon_threadsafe(tunnel.closing.set)
        deadline = time.monotonic() + PATIENCE
        while not all(tunnel.is_over for tunnel in tunnels):
            assert time.monotonic() < deadline, "a tunnel does not end"
            time.sleep(0.005)

    def close_all(self):
        self.close([tunnel for tunnel in self.all if not tunnel.closing.is_set()])

    def alive(self):
        """Fails if any was dropped or lost a message, or if an open one gets no answer any more; says how they are."""
        open_ones = [tunnel for tunnel in self.all if not tunnel.closing.is_set()]
        before = [tunnel.echoed for tunnel in open_ones]
        deadline = time.monotonic() + PATIENCE
        while any(tunnel.echoed == count and not tunnel.fault for tunnel, count in zip(open_ones, before)):
            assert time.monotonic() < deadline, "a tunnel gets no answer"
            time.sleep(0.005)
        faults = [tunnel.fault for tunnel in self.all if tunnel.fault]
        assert not faults, f"{len(faults)} of {len(self.all)} tunnels: {faults[:3]}"
        echoed, slowest = sum(tunnel.echoed for tunnel in self.all), max(tunnel.slowest for tunnel in self.all)
        return f"{len(self.all)} tunnels alive, {echoed} messages echoed, the slowest in {1000 * slowest:.0f} ms"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        async def end():
            # One that is cancelled in the moment in which its wait ends may not notice.
            for tunnel in self.all:
                tunnel.closing.set()
            tasks = list(self.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
