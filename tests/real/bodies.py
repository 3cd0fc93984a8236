"""A GiB in either direction, whole, with memory that does not follow it."""

from backends import backend
from clients import Curl, Httpx, NodeFetch, Requests
from stage import FILES, MIB, Rondel, check, digest_of, file_of

GIB = 1024 * MIB
# What a transfer may add to what rondel needs at start: the loop's buffer of 128 KiB, what waits on either side, the pages
# of code that were not needed before.
GROWTH_MAX = 2 * MIB


def flat(rondel, transfer):
    """Does the transfer, and says how memory was meanwhile."""
    at_start = rondel.memory()
    with rondel.memory_watched() as seen:
        transfer()
    growth = seen[-1] - at_start
    assert growth <= GROWTH_MAX, f"memory grew by {growth / MIB:.1f} MiB from {at_start / MIB:.1f}"
    return f"{seen[-1] / MIB:.1f}"


@check
def a_gib_goes_down_and_its_checksum_matches():
    path, digest = file_of(GIB)
    seen = []
    for server, client, target in (
        ("nginx", Curl(), path.name),
        ("python", Requests(), f"chunked/{path.name}"),
        ("node", Httpx(), f"chunked/{path.name}"),
    ):
        with Rondel([backend(server).port]) as rondel:

            def transfer():
                assert client.get(f"{rondel.url}/{target}") == digest

            seen.append(f"{server} to {type(client).__name__} {flat(rondel, transfer)} MiB")
            rondel.stops()
    return f"most memory: {', '.join(seen)}"


@check
def a_gib_goes_up_and_its_checksum_matches():
    path, digest = file_of(GIB)
    seen = []
    for client, put, server in ((Curl(), "put_whole", "nginx"), (NodeFetch(), "put", "python"), (Curl(), "put", "node")):
        with Rondel([backend(server).port]) as rondel:

            def transfer():
                answer = getattr(client, put)(f"{rondel.url}/{'came' if server == 'nginx' else 'digest'}", path)
                came = digest_of(FILES / "came") if server == "nginx" else answer
                assert came == (digest if server == "nginx" else f"chunked {digest}"), came

            seen.append(f"{type(client).__name__} to {server} {flat(rondel, transfer)} MiB")
            rondel.stops()
    return f"most memory: {', '.join(seen)}"
