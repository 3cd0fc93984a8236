"""The Python server (aiohttp): python backend.py PORT FILES. What it serves is told in backends.py."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from aiohttp import web

PORT, FILES = int(sys.argv[1]), Path(sys.argv[2])
asked = 0
may_send = asyncio.Queue()


@web.middleware
async def count(request, handler):
    global asked
    asked += request.path != "/asked"
    return await handler(request)


async def chunked(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    with open(FILES / request.match_info["name"], "rb") as file:
        while piece := file.read(256 * 1024):
            await response.write(piece)
    await response.write_eof()
    return response


async def digest(request):
    body = hashlib.sha256()
    async for piece in request.content.iter_any():
        body.update(piece)
    framing = request.headers.get("Transfer-Encoding") or "length"
    return web.Response(text=f"{framing} {body.hexdigest()}")


async def refuse_to_read(request):
    raise web.HTTPRequestEntityTooLarge(max_size=0, actual_size=1)


async def events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(int(request.query["count"])):
        await may_send.get()
        await response.write(f"id: {number}\ndata: event {number}\n\n".encode())
    await response.write_eof()
    return response


async def send_one(request):
    may_send.put_nowait(None)
    return web.Response()


async def git(request):
    """git's own server program, by the rules of CGI (RFC 3875)."""
    said = {
        "GIT_PROJECT_ROOT": str(FILES),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": "/" + request.match_info["path"],
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_USER": "someone",
    }
    program = await asyncio.create_subprocess_exec(
        "git", "http-backend", env=os.environ | said, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await program.communicate(await request.read())
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(fields.pop("Status", "200").split()[0])
    return web.Response(status=status, headers=fields, body=body)


app = web.Application(middlewares=[count], client_max_size=1 << 30)
app.add_routes([
    web.get("/", lambda request: web.Response(text="python\n")),
    web.get("/asked", lambda request: web.Response(text=str(asked))),
    web.get("/chunked/{name}", chunked),
    web.put("/digest", digest),
    web.put("/refused", digest, expect_handler=refuse_to_read),
    web.get("/events", events),
    web.post("/events/next", send_one),
    web.route("*", "/git/{path:.*}", git),
    web.static("/", FILES),
])
web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None, backlog=4096)
