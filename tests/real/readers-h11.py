"""Reads jobs of `readers` with h11: JSON in, JSON out."""

import base64
import json
import sys

import h11

HEAD_BYTES_MAX = 131072


def read_requests(data):
    """The whole requests in a stream of bytes, and why there is something else."""
    messages = []
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    conn.receive_data(data)
    conn.receive_data(b"")
    current = None
    try:
        while True:
            event = conn.next_event()
            if isinstance(event, h11.Request):
                hosts = [value for name, value in event.headers if name == b"host"]
                current = {
                    "method": event.method.decode("latin-1"),
                    "target": event.target.decode("latin-1"),
                    "host": b"|".join(hosts).decode("latin-1"),
                    "body": b"",
                }
            elif isinstance(event, h11.Data):
                current["body"] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                messages.append({**current, **rest_of(current, event)})
                conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                conn.send(h11.EndOfMessage())
                conn.start_next_cycle()
            else:
                # The end of the stream between two requests.
                assert isinstance(event, h11.ConnectionClosed), event
                return messages, None
    except h11.RemoteProtocolError as why:
        return messages, str(why)


def read_response(job, data):
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    headers = [("Host", "h"), ("Connection", "Upgrade" if job["upgrade"] else "close")]
    if job["upgrade"]:
        headers.append(("Upgrade", "x"))
    conn.send(h11.Request(method=job["method"], target="/case", headers=headers))
    conn.send(h11.EndOfMessage())
    conn.receive_data(data)
    if not job["reset"]:
        conn.receive_data(b"")
    interims, current = [], None
    try:
        while True:
            event = conn.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    tunnel = conn.trailing_data[0]
                    current = {"status": 101, "body": tunnel, "interims": interims}
                    return [{**current, **rest_of(current, None)}], None
                interims.append(event.status_code)
            elif isinstance(event, h11.Response):
                current = {"status": event.status_code, "body": b"", "interims": interims}
            elif isinstance(event, h11.Data):
                current["body"] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                whole = [{**current, **rest_of(current, event)}]
                left = conn.trailing_data[0]
                return whole, f"{len(left)} bytes left over" if left else None
            else:
                return [], f"no whole response: {event}"
    except h11.RemoteProtocolError as why:
        return [], str(why)


def rest_of(current, end):
    trailers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in end.headers] if end else []
    return {"body": base64.b64encode(current["body"]).decode(), "trailers": trailers}


def main():
    results = []
    for job in json.load(sys.stdin):
        found = {"messages": [], "error": None}
        for stream in job["streams"]:
            data = b"".join(base64.b64decode(piece) for piece in stream)
            read = read_requests(data) if job["kind"] == "request" else read_response(job, data)
            found["messages"] += read[0]
            found["error"] = found["error"] or read[1]
        results.append(found)
    json.dump(results, sys.stdout)


main()
