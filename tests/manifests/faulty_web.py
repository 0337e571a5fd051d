"""A web server on loopback with bad manners, each page with its own: what it serves and how is set by the test."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Page:
    """One resource and its manners; `log` holds (method, Range) of every request."""

    data: bytes
    etag: str | None = '"v1"'
    modified: str | None = "Wed, 21 Oct 2015 07:28:00 GMT"
    ranges: bool = True
    head: bool = True
    tells_size: bool = True
    refusals: list[tuple[int, str | None]] = field(default_factory=list)  # status and Retry-After, one per request
    torn: int = 0  # so many replies break off after half of their body
    next_version: tuple[bytes, str] | None = None  # what the page becomes after the first torn reply
    log: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serve(pages: dict[str, Page]) -> Iterator[str]:
    """The address of a server for the pages, by path; it ends with the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            page = pages.get(unquote(self.path))
            if page is None:
                return self.refuse(404, None)
            page.log.append((self.command, self.headers["Range"]))
            if page.refusals:
                return self.refuse(*page.refusals.pop(0))
            if not body and not page.head:
                return self.refuse(405, None)
            data, total = page.data, len(page.data)
            wanted = self.headers["Range"] if page.ranges else None
            if self.headers["If-Range"] not in (None, page.etag, page.modified):
                wanted = None
            if wanted:
                start, _, stop = wanted.removeprefix("bytes=").partition("-")
                data = data[int(start) : int(stop) + 1]
            self.send_response_only(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{int(start) + len(data) - 1}/{total}")
            for name, value in (("ETag", page.etag), ("Last-Modified", page.modified)):
                if value is not None:
                    self.send_header(name, value)
            if page.tells_size:
                self.send_header("Content-Length", str(len(data)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if not body:
                return None
            if page.torn:
                page.torn -= 1
                self.wfile.write(data[: len(data) // 2])
                if page.next_version:
                    page.data, page.etag = page.next_version
                self.close_connection = True
                if page.torn % 2:
                    server.resets.add(self.connection)
                return None
            self.wfile.write(data)
            return None

        def refuse(self, status: int, retry_after: str | None) -> None:
            self.send_response_only(status)
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    resets: set[Any] = set()

    def shutdown_request(self, request: Any) -> None:
        if request in self.resets:
            self.resets.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that closes early is no news."""
