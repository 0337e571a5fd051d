"""An S3 store on loopback that misbehaves on purpose: moto's HTTP server behind a proxy that injects seeded faults.

Enter it, put `environment()` into the process that shall use it, and set `faults` at any moment. Which request meets
which fault depends on the seed, the request's method and address, and how often that was asked before: never on the
order in which threads or processes come. No request meets more than two faults in a row. The proxy also makes
conditional writes atomic, which moto's threads are not, and can ignore their condition as some stores do.
"""

import contextlib
import http.client
import logging
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

ACCESS_KEY, SECRET_KEY = "loopback-access", "loopback-secret"
MOST_IN_A_ROW = 2
PIECE = 64 << 10
UPLOAD_ID = re.compile("uploadId=[^&]*")
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True)
class Faults:
    """Share of requests that meet each fault; those that do not fit a request (an upload without a body) pass."""

    seed: int = 0
    slow_down: float = 0.0  # 503 SlowDown
    torn_upload: float = 0.0  # connection reset after half of the request's body; nothing is stored
    lost_reply: float = 0.0  # the object is stored, the connection is reset before the reply
    torn_download: float = 0.0  # connection reset, or closed without a word, after half of the reply's body
    slow_read: float = 0.0  # the reply's body comes in drops, over about 0.2 s


@dataclass(frozen=True)
class Request:
    """What one request asked for and got."""

    method: str
    path: str
    range: str | None
    status: int
    sent: int  # bytes of body that were served, or would have been to a client that stays


@dataclass
class FaultyS3:
    """The store; a context manager."""

    faults: Faults = Faults()
    ignores_conditions: bool = False
    conflicts: int = 0  # so many conditional writes are answered with 409 first
    injected: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    hold_uploads: bool = False  # uploads stop half-way until the client is gone
    upload_held: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""

    def __enter__(self) -> "FaultyS3":
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self.upstream = self._moto.get_host_and_port()
        self._proxy = _Proxy(self)
        self.endpoint = f"http://127.0.0.1:{self._proxy.server_port}"
        self._thread = threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join()
        self._moto.stop()

    def environment(self) -> dict[str, str]:
        """Variables that make boto3, in any process on this machine, use this store and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def behind(self) -> Any:
        """A boto3 client that goes round the faults, to prepare a test and to see what is really stored."""
        import boto3

        host, port = self.upstream
        return boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").client(
            "s3", endpoint_url=f"http://{host}:{port}"
        )

    def make_bucket(self, name: str) -> None:
        self.behind().create_bucket(Bucket=name)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, store: FaultyS3) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self.conditional = threading.Lock()
        self.resets: set[Any] = set()
        self._lock = threading.Lock()
        self._asked: Counter[tuple[str, str]] = Counter()
        self._in_a_row: Counter[tuple[str, str]] = Counter()

    def draw(self, method: str, target: str, kinds: list[str]) -> tuple[str, int]:
        """The fault that this request meets, or '', and how often it was asked before."""
        with self._lock:
            address = (method, UPLOAD_ID.sub("", target))  # the store draws upload ids at random
            turn = self._asked[address]
            self._asked[address] += 1
            fault = ""
            if self._in_a_row[address] < MOST_IN_A_ROW:
                text = f"{self.store.faults.seed}|{'|'.join(address)}|{turn}"
                fraction = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
                for kind in kinds:
                    fraction -= getattr(self.store.faults, kind)
                    if fraction < 0:
                        fault = kind
                        break
            self._in_a_row[address] = self._in_a_row[address] + 1 if fault else 0
            if fault:
                self.store.injected[fault] += 1
            return fault, turn

    def conflict(self) -> bool:
        with self._lock:
            self.store.conflicts -= 1
            return self.store.conflicts >= 0

    def shutdown_request(self, request: Any) -> None:
        if request in self.resets:
            self.resets.discard(request)
            # Closing with linger 0 and no shutdown sends RST, not FIN.
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed or that close early are the purpose here, no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def serve(self) -> None:
        store, length = self.server.store, int(self.headers.get("Content-Length") or 0)
        kinds = ["slow_down"]
        if self.command == "PUT":
            kinds += ["torn_upload", "lost_reply"] if length else ["lost_reply"]
        elif self.command == "GET":
            kinds += ["torn_download", "slow_read"]
        fault, turn = self.server.draw(self.command, self.path, kinds)
        body = self.rfile.read(length // 2)
        if fault == "torn_upload":
            return self.reset()
        if store.hold_uploads and self.command == "PUT":
            store.upload_held.set()
            while self.connection.recv(PIECE):  # until the client is gone; what it still sends is thrown away
                time.sleep(0.01)
        body += self.rfile.read(length - len(body))
        if len(body) < length:
            return self.reset()
        if fault == "slow_down":
            return self.refuse(503, "SlowDown", "Please reduce your request rate.")
        if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
            return self.refuse(403, "InvalidAccessKeyId", "The access key does not exist in our records.")
        conditional = "If-None-Match" in self.headers and self.command == "PUT"
        if conditional and store.conflicts > 0 and self.server.conflict():
            return self.refuse(409, "ConditionalRequestConflict", "A conflicting operation is in progress.")
        with self.server.conditional if conditional else contextlib.nullcontext():
            reply, data = self.forward(body)
        if fault == "lost_reply":
            return self.reset()
        self.answer(reply, data, fault, turn)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

    def forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "expect")
            and not (self.server.store.ignores_conditions and name.lower() == "if-none-match")
        }
        connection = http.client.HTTPConnection(*self.server.store.upstream, timeout=60)
        try:
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            return reply, reply.read()
        finally:
            connection.close()

    def answer(self, reply: http.client.HTTPResponse, data: bytes, fault: str, turn: int) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        size = reply.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", size)
        whole = len(data)
        if fault == "torn_download":
            data = data[: whole // 2]
        pieces = max(1, len(data) // 10) if fault == "slow_read" else PIECE
        # Noted before the first byte goes: to a client that expects no body, the headers are the whole reply.
        self.note(reply.status, len(data))
        self.end_headers()
        for start in range(0, len(data), pieces):
            self.wfile.write(data[start : start + pieces])
            if fault == "slow_read":
                time.sleep(0.02)
        if len(data) < whole:
            self.close_connection = True
            if turn % 2 == 0:
                self.reset()

    def refuse(self, status: int, code: str, message: str) -> None:
        self.note(status, 0)
        data = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def reset(self) -> None:
        self.close_connection = True
        self.server.resets.add(self.connection)

    def note(self, status: int, sent: int) -> None:
        path = self.path.partition("?")[0]
        self.server.store.requests.append(Request(self.command, path, self.headers.get("Range"), status, sent))
