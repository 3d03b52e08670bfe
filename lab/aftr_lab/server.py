"""The lab's internet: an HTTP server (aiohttp) that tells clients how they look from outside, and moves much data.

GET  /               a greeting with the client's external address and port
GET  /whoami         the same as JSON
GET  /bytes/SIZE     SIZE bytes, always the same ones; SIZE may end in K, M or G (powers of 1024)
GET  /sha256/SIZE    their SHA-256, in hex
PUT  /upload         answers {"bytes", "sha256", "address", "port"} of what came
"""

import argparse
import hashlib
import random
import re
from collections.abc import Iterator

from aiohttp import web

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PIECE_BYTES = 1 << 16
PIECE = random.Random(6333).randbytes(PIECE_BYTES)
LARGEST_UPLOAD = 16 << 30


def pieces(size: int) -> Iterator[bytes]:
    """`size` bytes in pieces that all differ (each begins with its number), so that none can be lost or swapped unseen."""
    for start in range(0, size, PIECE_BYTES):
        piece = start.to_bytes(8, "big") + PIECE[8:]
        yield piece[: size - start]


def digest_of(size: int) -> str:
    """SHA-256 of `pieces(size)`, in hex."""
    total = hashlib.sha256()
    for piece in pieces(size):
        total.update(piece)
    return total.hexdigest()


def parse_size(text: str) -> int:
    """Bytes of "64M". Raises HTTPBadRequest."""
    match = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text)
    if match is None:
        raise web.HTTPBadRequest(text=f"{text!r} is not a size: write 1000, 64K, 64M or 1G\n")
    return int(match[1]) * UNITS[match[2]]


def client(request: web.Request) -> dict[str, str | int]:
    """The client's address and port, as the internet sees them."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address, port = peer[:2] if peer else ("", 0)
    return {"address": address, "port": port}


async def greet(request: web.Request) -> web.Response:
    """A sentence for people."""
    seen = client(request)
    return web.Response(text=f"Hello {seen['address']} port {seen['port']}, this is the IPv4 internet.\n")


async def whoami(request: web.Request) -> web.Response:
    """The client as JSON."""
    return web.json_response(client(request))


async def download(request: web.Request) -> web.StreamResponse:
    """SIZE bytes."""
    size = parse_size(request.match_info["size"])
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = size
    await response.prepare(request)
    for piece in pieces(size):
        await response.write(piece)
    await response.write_eof()
    return response


async def digest(request: web.Request) -> web.Response:
    """SHA-256 of what `download` sends."""
    return web.Response(text=digest_of(parse_size(request.match_info["size"])) + "\n")


async def upload(request: web.Request) -> web.Response:
    """Hash what comes, keep nothing."""
    total, received = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        total.update(piece)
        received += len(piece)
    return web.json_response({"bytes": received, "sha256": total.hexdigest(), **client(request)})


def application() -> web.Application:
    """All paths."""
    app = web.Application(client_max_size=LARGEST_UPLOAD)
    app.add_routes(
        [
            web.get("/", greet),
            web.get("/whoami", whoami),
            web.get("/bytes/{size}", download),
            web.get("/sha256/{size}", digest),
            web.put("/upload", upload),
        ]
    )
    return app


def main() -> None:
    """`python -m aftr_lab.server --address ADDRESS [--port PORT]`"""
    parser = argparse.ArgumentParser(description="The HTTP server of the lab's internet.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=80)
    options = parser.parse_args()
    web.run_app(application(), host=options.address, port=options.port, access_log=None)


if __name__ == "__main__":
    main()
