"""The clients, behind the same two calls: `get(url)` gives the digest of the body, `put(url, path)` sends a file in chunks and
gives the body of the answer. Either fails unless the status is one of success."""

import hashlib

import httpx
import requests

from stage import HERE, PATIENCE, run

PIECE = 256 * 1024


def pieces_of(path):
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


def digest_of_pieces(pieces):
    body = hashlib.sha256()
    for piece in pieces:
        body.update(piece)
    return body.hexdigest()


class Curl:
    def get(self, url):
        return run("bash", "-o", "pipefail", "-c", 'curl -sS --fail "$0" | sha256sum', url).split()[0].decode()

    def put(self, url, path):
        with open(path, "rb") as file:
            return run("curl", "-sS", "--fail", "-T", "-", url, stdin=file).decode()

    def put_whole(self, url, path):
        """The same with a Content-Length."""
        return run("curl", "-sS", "--fail", "-T", path, url).decode()


class Requests:
    def get(self, url):
        with requests.get(url, stream=True, timeout=PATIENCE) as response:
            response.raise_for_status()
            return digest_of_pieces(response.iter_content(PIECE))

    def put(self, url, path):
        response = requests.put(url, data=pieces_of(path), timeout=PATIENCE)
        response.raise_for_status()
        return response.text


class Httpx:
    def get(self, url):
        with httpx.stream("GET", url, timeout=PATIENCE) as response:
            response.raise_for_status()
            return digest_of_pieces(response.iter_raw())

    def put(self, url, path):
        response = httpx.put(url, content=pieces_of(path), timeout=PATIENCE)
        response.raise_for_status()
        return response.text


class NodeFetch:
    def get(self, url):
        status, digest = run("node", HERE / "client.mjs", "get", url).decode().split()
        assert status.startswith("2"), status
        return digest

    def put(self, url, path):
        status, _, text = run("node", HERE / "client.mjs", "put", url, path).decode().strip().partition(" ")
        assert status.startswith("2"), status
        return text


CLIENTS = [Curl(), Requests(), Httpx(), NodeFetch()]
