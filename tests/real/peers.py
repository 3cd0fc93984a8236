"""Every client through every server, and what they say to each other besides a plain request."""

import re

from backends import backend, backends
from clients import CLIENTS
from stage import FILES, MIB, Rondel, check, digest_of, file_of, run
from wrk import Wrk

# Where each server has its files: with a length, and in chunks.
FILES_AT = {"nginx": [""], "python": ["", "chunked/"], "node": ["chunked/"]}


@check
def each_client_gets_and_puts_through_each_server():
    path, digest = file_of(3 * MIB)
    for server in backends():
        with Rondel([server.port]) as rondel:
            for client in CLIENTS:
                for where in FILES_AT[server.name]:
                    assert client.get(f"{rondel.url}/{where}{path.name}") == digest
                if server.name == "nginx":
                    client.put(f"{rondel.url}/came", path)
                    assert digest_of(FILES / "came") == digest
                else:
                    assert client.put(f"{rondel.url}/digest", path) == f"chunked {digest}"
            rondel.stops()
    return f"{len(CLIENTS)} clients, 3 servers, 3 MiB each way, in chunks and with a length"


@check
def wrk_and_each_server_count_the_same_requests():
    counts = []
    for server in backends():
        with Rondel([server.port]) as rondel:
            before = server.asked()
            load = Wrk(f"{rondel.url}/", 1).done()
            load.without_failure()
            rondel.stops()
            seen = server.asked() - before
            # What was under way when wrk left has been asked, but not counted by it.
            assert load.requests <= seen <= load.requests + load.connections, (load.requests, seen)
            counts.append(f"{server.name} {load.requests}")
    return f"0 failed of {', '.join(counts)}"


@check
def apache_bench_is_served_as_http_1_0():
    asked = 0
    for server in backends():
        with Rondel([server.port]) as rondel:
            for flags in ((), ("-k",)):
                before = server.asked()
                text = run("ab", "-q", "-n", 1000, "-c", 20, *flags, f"{rondel.url}/").decode()
                assert re.search(r"Complete requests: +1000\n", text), text
                assert re.search(r"Failed requests: +0\n", text) and "Non-2xx" not in text, text
                kept = re.search(r"Keep-Alive requests: +(\d+)", text)
                assert not flags or int(kept[1]) == 1000, text
                assert server.asked() - before == 1000
                asked += 1000
            rondel.stops()
    return f"{asked} requests with and without keep-alive, 0 failed, each seen once by its server"


@check
def expect_100_continue_is_between_client_and_server():
    path, digest = file_of(3 * MIB)
    # curl would wait for an hour: that it does not shows that the server's word came through.
    command = ("curl", "-sSv", "--expect100-timeout", 3600, "-H", "Expect: 100-continue", "-T", path)
    for server in ("python", "node"):
        with Rondel([backend(server).port]) as rondel:
            trace = run("bash", "-c", '"$@" 2>&1', "-", *command, f"{rondel.url}/digest").decode(errors="replace")
            assert "< HTTP/1.1 100 Continue" in trace and f"length {digest}" in trace, trace
            rondel.stops()
    with Rondel([backend("python").port]) as rondel:
        shown = ("-o", "/dev/null", "-w", "%{http_code}, %{size_upload} bytes sent")
        seen = run(*command, *shown, f"{rondel.url}/refused").decode()
        assert seen == "413, 0 bytes sent", seen
        rondel.stops()
    return f"curl waits for the 100 of Python and Node; where 413 comes in its place: {seen}"


@check
def ranges_are_the_parts_that_were_asked_for():
    path, _ = file_of(3 * MIB)
    whole, asked = path.read_bytes(), 0
    across = whole[MIB - 9:2 * MIB + 1]
    ranges = {"0-0": whole[:1], "5-9999": whole[5:10_000], f"{MIB - 9}-{2 * MIB}": across, "-7": whole[-7:]}
    for server in ("nginx", "python"):
        with Rondel([backend(server).port]) as rondel:
            url = f"{rondel.url}/{path.name}"
            for wanted, part in ranges.items():
                assert run("curl", "-sS", "--fail", "-r", wanted, url) == part, wanted
                asked += 1
            shown = ("-o", "/dev/null", "-w", "%{http_code} %header{content-range}")
            answer = run("curl", "-sS", *shown, "-r", "99999999-", url)
            assert answer.decode() == f"416 bytes */{len(whole)}", answer
            # A download that broke off is taken up where it ended.
            part = path.with_suffix(".part")
            part.write_bytes(whole[:MIB])
            run("curl", "-sS", "--fail", "-C", "-", "-o", part, url)
            assert part.read_bytes() == whole
            if server == "nginx":
                parts = run("curl", "-sS", "--fail", "-r", "1-2,9-12", "-D", "-", url)
                assert b"multipart/byteranges" in parts and whole[1:3] in parts and whole[9:13] in parts
            rondel.stops()
    return f"{asked} ranges, one in two parts, one download resumed, one beyond the end (416)"
