"""One page at a time goes to a child process, its text or the reason why there is none comes back: no page can take
the worker down. The surprising thing is the second try: a child that dies, or has no memory left, is replaced, and the
page is tried once more in the new one, which has seen no other page, so that neither the pages before it nor somebody's
SIGKILL change the result."""

import ctypes
import importlib
import logging
import math
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

PR_SET_PDEATHSIG = 1  # prctl(2)
SERVE = "import sys; from stages.sandbox import serve; serve(*sys.argv[1:])"
READY = (b"ready", b"", b"", b"")
FRAME = struct.Struct("<4Q")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
CPU_LIMIT = "cpu_limit"
DIED = "error:child_died"
STUCK = "error:child_stuck"
NO_MEMORY = "error:MemoryError"


@dataclass(frozen=True)
class PageLimits:
    """What one page, and one child, may use."""

    max_html_bytes: int = 8 << 20
    max_nodes: int = 250_000  # elements and texts; the largest of 231 real pages has 54,000
    cpu_seconds: int = 60
    wall_seconds: float = 900.0  # only for a child that hangs without using the CPU
    memory_bytes: int = 1 << 30  # of data, in the child
    recycle_pages: int = 2_000
    recycle_rss: int = 512 << 20


@dataclass(frozen=True)
class Extracted:
    """A page's text, or the reason why it has none: empty, too_large, too_many_nodes, cpu_limit, error:<type>,
    error:child_died, error:child_stuck. `language` is what the page declares."""

    text: str = ""
    title: str = ""
    language: str = ""
    reason: str = ""


def serve(descriptor: str, parent: str, target: str, cpu_seconds: str, memory_bytes: str, max_nodes: str) -> None:
    """The child: answers pages until its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the line above
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_DATA, int(memory_bytes))
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    connection = socket.socket(fileno=int(descriptor))
    stream = connection.makefile("rb")
    connection.sendall(_pack(READY))
    while (parts := _read(stream)) is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        used = math.ceil(usage.ru_utime + usage.ru_stime)
        _limit(resource.RLIMIT_CPU, used + int(cpu_seconds))  # the kernel ends this process there (SIGXCPU)
        try:
            answer = function(parts[0], parts[1].decode(), int(max_nodes))
        except Exception as error:  # the guard around one document: its reason is the type
            answer = Extracted(reason=f"error:{type(error).__name__}")
        fields = (answer.text, answer.title, answer.language, answer.reason)
        connection.sendall(_pack([field.encode("utf-8", "replace") for field in fields]))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _pack(parts: Sequence[bytes]) -> bytes:
    """A frame: the lengths of its four parts, then the parts."""
    return b"".join((FRAME.pack(*map(len, parts)), *parts))


def _read(stream: BinaryIO) -> list[bytes] | None:
    """The parts of the next frame; None when the other side is gone."""
    head = stream.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    parts = [stream.read(size) for size in FRAME.unpack(head)]
    return parts if tuple(map(len, parts)) == FRAME.unpack(head) else None


class Child:
    """A running child. It dies with the thread that started it."""

    def __init__(self, limits: PageLimits, target: str) -> None:
        self.pages = 0  # answered
        self._ready = False
        self._socket, other = socket.socketpair()
        self._socket.settimeout(limits.wall_seconds)
        self._stream = self._socket.makefile("rb")
        arguments = (other.fileno(), os.getpid(), target, limits.cpu_seconds, limits.memory_bytes, limits.max_nodes)
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                # sets of strings have one order in every child
                env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
            )

    def ask(self, html: bytes, url: str) -> Extracted:
        """The child's answer, or how it died."""
        try:
            if not self._ready and _read(self._stream) is None:
                raise RuntimeError(f"the extractor does not start (exit status {self._process.wait()})")
            self._ready = True
            self._socket.sendall(_pack((html, url.encode("utf-8", "replace"), b"", b"")))
            parts = _read(self._stream)
        except TimeoutError:
            return Extracted(reason=STUCK)
        except (BrokenPipeError, ConnectionResetError):
            parts = None
        if parts is None:
            return Extracted(reason=CPU_LIMIT if self._process.wait() == -signal.SIGXCPU else DIED)
        self.pages += 1
        return Extracted(*(part.decode() for part in parts))

    def rss(self) -> int:
        """Resident bytes."""
        with open(f"/proc/{self._process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * PAGE_SIZE

    def stop(self) -> None:
        self._stream.close()
        self._socket.close()
        self._process.kill()  # it holds nothing that could be lost
        self._process.wait()


class Extractor:
    """Extracts pages in a child, which is replaced when it dies or has grown. `started` counts the children."""

    def __init__(self, limits: PageLimits | None = None, target: str = "stages.page:extract_page") -> None:
        self.started = 0
        self._limits = limits or PageLimits()
        self._target = target
        self._child = self._start()

    def extract(self, html: str | bytes, url: str) -> Extracted:
        """The main text of one page; bytes are taken for UTF-8."""
        data = html.encode("utf-8", "replace") if isinstance(html, str) else html
        if len(data) > self._limits.max_html_bytes:
            return Extracted(reason="too_large")
        answer = self._ask(data, url)
        if answer.reason in (DIED, NO_MEMORY):
            answer = self._ask(data, url)
        return answer

    def close(self) -> None:
        self._child.stop()

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, html: bytes, url: str) -> Extracted:
        child, limits = self._child, self._limits
        answer = child.ask(html, url)
        dead = answer.reason in (DIED, STUCK, NO_MEMORY, CPU_LIMIT)
        if dead or child.pages >= limits.recycle_pages or child.rss() > limits.recycle_rss:
            child.stop()
            self._child = self._start()  # it imports while the worker goes on
        return answer

    def _start(self) -> Child:
        self.started += 1
        return Child(self._limits, self._target)
