"""Reading a remote object as a seekable file: ranges come in over one connection at a time and are retried.

A read from the start streams to the end over one connection; a read elsewhere asks for what was wanted and a little
more, and asks for twice as much each time reading goes on. A connection that breaks is opened again at the byte
where it stopped, and only failures without progress in between count against the limit.
"""

import io
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from manifests.entries import StorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 10
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds; 10 attempts wait about 140 s in all
LONGEST_ASKED = 300.0  # a server's Retry-After is honoured up to here
AHEAD, AHEAD_LIMIT = 256 << 10, 64 << 20
CHUNK = 256 << 10  # what one read takes at most, so that a break loses no more than this


def retried(what: str, action: Callable[[], T]) -> T:
    """The action's result; it is tried again, with growing pauses, as long as it raises Broken."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except Broken as error:
            if attempt == ATTEMPTS:
                raise StorageError(f"{what}: gave up after {ATTEMPTS} attempts ({error}); run again later") from error
            wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1.0)
            wait = max(wait, min(error.asked, LONGEST_ASKED))
            level = logging.WARNING if wait > 2 else logging.INFO
            log.log(level, "%s: %s; attempt %d of %d in %.1f s", what, error, attempt + 1, ATTEMPTS, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def open_ranged(source: "RangeSource") -> io.BufferedReader:
    """A buffered, seekable file over a remote object."""
    return io.BufferedReader(RangedReader(source), AHEAD)


class Broken(Exception):
    """A failure worth another attempt, with the seconds that the server asked us to wait."""

    def __init__(self, reason: str, asked: float = 0.0) -> None:
        super().__init__(reason)
        self.asked = asked


class Stream(Protocol):
    """The body of one response."""

    def read(self, count: int, /) -> bytes: ...
    def close(self) -> None: ...


class RangeSource(Protocol):
    """A remote object of known size; what its streams raise when a connection breaks is in `transient`."""

    @property
    def uri(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def transient(self) -> tuple[type[Exception], ...]: ...

    def open_range(self, start: int, stop: int) -> Stream: ...


class RangedReader(io.RawIOBase):
    """An unbuffered file over a RangeSource; `open_ranged` puts a buffer before it."""

    def __init__(self, source: RangeSource) -> None:
        self._source = source
        self._at = 0
        self._stream: Stream | None = None
        self._stream_at = self._stop = 0  # the stream's position, and the end of its range
        self._broken_at = -1
        self._ahead = AHEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        if not view or self._at >= self._source.size:
            return 0
        data = retried(self._source.uri, lambda: self._read(len(view)))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # The inherited one reads 8 KiB at a time.
        data = bytearray(max(self._source.size - self._at, 0))
        view, filled = memoryview(data), 0
        while filled < len(data):
            filled += self.readinto(view[filled:])
        return bytes(data)

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, wanted: int) -> bytes:
        stream = self._positioned(wanted)
        try:
            data = stream.read(min(wanted, CHUNK, self._stop - self._at))
        except self._source.transient as error:
            data, reason = b"", str(error) or type(error).__name__
        else:
            reason = "the connection was closed early"
        if not data:
            stream.close()
            self._stream, self._broken_at = None, self._at
            raise Broken(reason)
        self._at = self._stream_at = self._at + len(data)
        if self._at == self._stop:
            self._drop()
        return data

    def _positioned(self, wanted: int) -> Stream:
        """A stream at the reader's position: the one that is open, or a new range."""
        if self._stream is not None and self._stream_at == self._at:
            return self._stream
        self._drop()
        if self._at == self._broken_at:
            stop = self._stop
        elif self._at == 0:
            stop = self._source.size
        else:
            going_on = self._at == self._stop
            self._ahead = min(self._ahead * 2, AHEAD_LIMIT) if going_on else AHEAD
            # A large read comes as whole buffers and then one more; a small one is the buffer already.
            more = self._ahead if going_on or wanted > AHEAD else 0
            stop = min(self._at + wanted + more, self._source.size)
        # Set before the request, which may break: the next attempt asks for the same range.
        self._broken_at, self._stop, self._stream_at = self._at, stop, self._at
        self._stream = self._source.open_range(self._at, stop)
        return self._stream

    def _drop(self) -> None:
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        if 0 < self._stop - self._stream_at <= AHEAD:
            # Reading the little that is left keeps the connection for the next request.
            try:
                stream.read(self._stop - self._stream_at)
            except self._source.transient:
                log.debug("%s: the rest of a range did not arrive", self._source.uri)
        stream.close()
