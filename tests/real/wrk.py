"""wrk and what it says when it is done."""

import re
import signal

from stage import HERE, Program


class Wrk(Program):
    """Asks for so many seconds over so many connections, while something else happens."""

    def __init__(self, url, seconds, connections=32):
        super().__init__("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", HERE / "reasons.lua", url)
        self.connections = connections

    def stopped(self):
        """Ended before its time."""
        self.signal(signal.SIGINT)
        return self.done()

    def done(self):
        code = self.wait()
        text = self.log()
        assert code == 0, text
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        others = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.connect, self.read, self.write, self.timeout = map(int, errors.groups()) if errors else (0, 0, 0, 0)
        self.refused = int(others[1]) if others else 0
        self.reasons = {word: int(count) for word, count in re.findall(r"^reason (\S+) (\d+)$", text, re.M)}
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        self.failed = self.connect + self.read + self.write + self.timeout + self.refused
        return self

    def without_failure(self):
        assert self.requests > 0, self.log()
        assert self.failed == 0, (
            f"{self.failed} of {self.requests} failed: connect {self.connect}, read {self.read}, write {self.write}, "
            f"timeout {self.timeout}, other statuses {self.refused}: {self.reasons}"
        )
        return f"{self.requests} requests, 0 failed"
