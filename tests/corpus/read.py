"""Reads the corpus: lines in, cases out. The format is told in README.md here."""

import pathlib
import re
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
PLAIN = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


@dataclass
class Outcome:
    """What becomes of one message."""

    kind: str  # forwarded, got, refused, truncated, nothing
    method: str = ""
    target: str = ""
    host: str = ""
    status: int = 0
    reason: str = ""
    framing: str = "none"  # none, length, chunked, until-close, tunnel, head-length, head-chunked
    body: bytes = b""
    trailers: list = field(default_factory=list)
    has: list = field(default_factory=list)
    lacks: list = field(default_factory=list)
    interims: list = field(default_factory=list)

    def take(self, word, rest):
        if word in ("length", "chunked", "until-close", "tunnel"):
            self.framing, self.body = word, unescaped(rest)
        elif word in ("head-length", "head-chunked"):
            self.framing = word
        elif word in ("trailer", "has"):
            name, value = rest.split(":", 1)
            pair = (text(name), text(value.removeprefix(" ")))
            (self.trailers if word == "trailer" else self.has).append(pair)
        elif word == "lacks":
            self.lacks.append(rest)
        elif word == "interim":
            self.interims.append(int(rest))
        else:
            raise ValueError(f"what is {word}?")


@dataclass
class Case:
    """What a stranger sends, and what is to become of it."""

    id: str
    section: str
    topic: str
    data: bytes = b""
    asked: list = field(default_factory=list)  # of a response: the method and words about the request
    after: str = ""  # finish, ends, resets
    reached: int = 1
    outcomes: list = field(default_factory=list)
    closed: bool = False

    def is_kept(self):
        """Whether the next request on the client's connection is served."""
        kind = self.outcomes[-1].kind
        keeps = kind in ("forwarded", "got") or (kind == "refused" and bool(self.asked))
        return keeps and not self.closed and self.after != "finish"

    def request(self, target):
        """The request that a response answers."""
        method, words = self.asked[0], self.asked[1:]
        version = "1.0" if "1.0" in words else "1.1"
        has_body = method in ("POST", "PUT", "PATCH")
        fields = {
            "keep-alive": "Connection: keep-alive\r\n",
            "close": "Connection: close\r\n",
            "upgrade": "Connection: Upgrade\r\nUpgrade: x\r\n",
            "trailers": "Connection: TE\r\nTE: trailers\r\n",
            "half": "Content-Length: 9\r\n",
        }.get(words[-1] if words else "", "Content-Length: 4\r\n" if has_body else "")
        body = "body" if has_body else ""
        return f"{method} {target} HTTP/{version}\r\nHost: h\r\n{fields}\r\n{body}".encode()

    def take(self, word, rest):
        if word in (">", "|"):
            self.data += unescaped(rest) + (b"\r\n" if word == ">" else b"")
        elif word in ("finish", "ends", "resets"):
            self.after = word
        elif word == "closed":
            self.closed = True
        elif word == "reached":
            self.reached = int(rest)
        elif word == "asked":
            self.asked = rest.split(" ")
        elif word == "forwarded":
            method, target, host = (rest.split(" ", 2) + [""])[:3]
            self.outcomes.append(Outcome(word, method=text(method), target=text(target), host=text(host)))
        elif word == "refused":
            status, reason = rest.split(" ", 1)
            self.outcomes.append(Outcome(word, status=int(status), reason=reason))
        elif word in ("got", "truncated"):
            status, _, body = rest.partition(" ")
            self.outcomes.append(Outcome(word, status=int(status), body=unescaped(body)))
        elif word == "nothing":
            self.outcomes.append(Outcome(word))
        else:
            self.outcomes[-1].take(word, rest)


def cases(path):
    """The cases of a file."""
    found, topic = [], ""
    for line in path.read_text(encoding="ascii", errors="surrogateescape").split("\n"):
        word, _, rest = line.lstrip(" ").partition(" ")
        if word in ("", "#"):
            continue
        if word == "topic":
            topic = rest.split(" ")[0]
        elif word == "case":
            found.append(Case(*rest.split(" ", 1), topic))
        else:
            found[-1].take(word, rest)
    return found


def requests():
    return [case for path in sorted(HERE.glob("requests-*.txt")) for case in cases(path)]


def responses():
    return cases(HERE / "responses.txt")


def text(escaped):
    """Bytes as text: the character of each byte has its number."""
    return unescaped(escaped).decode("latin-1")


def unescaped(escaped):
    """The bytes that text stands for."""
    data, rest = _run(escaped, False)
    return data


def _run(rest, within):
    data = []
    while rest:
        if rest[0] == ")" and within:
            return b"".join(data), rest[1:]
        if rest[0] != "\\":
            data.append(rest[0].encode("ascii"))
            rest = rest[1:]
        elif rest[1] == "x":
            data.append(bytes.fromhex(rest[2:4]))
            rest = rest[4:]
        elif rest[1] == "*":
            count, inner = re.fullmatch(r"\\\*(\d+)\((.*)", rest, re.DOTALL).groups()
            repeated, rest = _run(inner, True)
            data.append(repeated * int(count))
        else:
            data.append(PLAIN[rest[1]])
            rest = rest[2:]
    if within:
        raise ValueError("a repeat without its end")
    return b"".join(data), rest
