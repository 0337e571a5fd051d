"""An archive's file bytes come in, pieces of decompressed bytes with their place in the file go out. The surprising
thing is what happens at damage: the search for the next good member starts again one byte after the start of the
damaged one, because a broken stream may swallow its neighbours before it is noticed, and a member counts as found only
when a record header comes out of it: the body of a page may itself hold the first bytes of a gzip member."""

import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from io import BytesIO
from re import Pattern
from typing import Any, BinaryIO

import zstandard
from fastwarc.stream_io import Lz4Reader

READ = 1 << 18  # bytes read from the file at once
OUTPUT = 1 << 20  # decompressed bytes taken at once: a compression bomb cannot fill the memory
HELD = 1 << 26  # compressed bytes of one member that are kept for the search after damage
GZIP = b"\x1f\x8b\x08"
ZSTD = b"\x28\xb5\x2f\xfd"
LZ4 = b"\x04\x22\x4d\x18"
ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"  # the skippable frame that opens a .warc.zst (a convention of IIPC)


@dataclass(frozen=True)
class Piece:
    """Decompressed bytes and the file bytes [begin, end) that they came from; `opens` and `closes` mark a member."""

    data: bytes
    begin: int
    end: int
    opens: bool
    closes: bool


@dataclass(frozen=True)
class Break:
    """The bytes [begin, resume) of the file cannot be decompressed as they should; the next piece begins at resume."""

    begin: int
    resume: int
    reason: str


@dataclass(frozen=True)
class Codec:
    """A compression whose members are found by their magic number; `feed` compressed bytes are given at once."""

    magic: bytes
    feed: int
    engine: Callable[[], Any]  # zlib and zstandard share eof, unused_data and unconsumed_tail, but no type
    limited: bool  # whether the engine can be told how much to put out


def pieces(stream: BinaryIO, starts: Pattern[bytes]) -> Iterator[Piece | Break]:
    """The decompressed stream of a plain, gzip, zstd or lz4 file; `starts` matches the beginning of a record."""
    source = Source(stream)
    head = source.peek(READ)
    gzip = Codec(GZIP, 1 << 15, lambda: zlib.decompressobj(31), True)  # 32 KiB: zlib copies what it does not use
    if head.startswith((ZSTD, ZSTD_DICTIONARY)):
        yield from _zstd(source, starts)
    elif head.startswith(LZ4):
        yield from _lz4(source)
    elif head.startswith(GZIP) or (not starts.match(head) and _find_member(head, gzip, starts)):
        yield from _members(source, gzip, starts)  # the first member may be the damaged one
    else:
        while data := source.take(READ):
            yield Piece(data, source.position - len(data), source.position, False, True)


def _members(source: "Source", codec: Codec, starts: Pattern[bytes]) -> Iterator[Piece | Break]:
    """The members of a file; after a damaged one, the next that begins with a record."""
    while source.peek(1):
        begin = source.position
        reason = yield from _member(source, codec)
        if reason:
            source.position = _next_member(source, codec, begin + 1, starts)
            swallowed = reason == "truncated" and source.peek(1)  # it ran over whole members to the end
            yield Break(begin, source.position, "bad_member" if swallowed else reason)


def _member(source: "Source", codec: Codec) -> Generator[Piece, None, str]:
    """The pieces of one member; returns the reason why it failed, or ""."""
    source.forget(source.position)
    if source.peek(len(codec.magic)) != codec.magic:
        return "not_a_member"
    engine = codec.engine()
    opens = True
    while not engine.eof:
        begin = source.position
        feed = source.peek(codec.feed)
        try:
            data = engine.decompress(feed, OUTPUT) if codec.limited else engine.decompress(feed)
        except (zlib.error, zstandard.ZstdError):
            return "bad_member"
        # At the end zlib may name the same bytes in both places.
        source.position += len(feed) - len(engine.unused_data if engine.eof else engine.unconsumed_tail)
        if not data and source.position == begin and not engine.eof:
            return "truncated"
        yield Piece(data, begin, source.position, opens, engine.eof)
        opens = False
        source.forget(source.position - HELD)
    return ""


def _next_member(source: "Source", codec: Codec, at: int, starts: Pattern[bytes]) -> int:
    """Position of the first member at or after `at` that begins with a record, or the end of the file."""
    while (at := source.find(codec.magic, at)) >= 0:
        source.position = at
        engine = codec.engine()
        feed = source.peek(codec.feed)
        try:
            head = engine.decompress(feed, 1 << 12) if codec.limited else engine.decompress(feed)
        except (zlib.error, zstandard.ZstdError):
            head = b""
        if starts.match(head.lstrip(b"\r\n")):
            return at
        at += 1
    return source.end()


def _find_member(head: bytes, codec: Codec, starts: Pattern[bytes]) -> bool:
    return _next_member(Source(BytesIO(head)), codec, 0, starts) < len(head)


def _zstd(source: "Source", starts: Pattern[bytes]) -> Iterator[Piece | Break]:
    """Frames of zstd; a dictionary in the first frame, itself compressed or not, holds for all that follow."""
    dictionary = None
    if source.peek(4) == ZSTD_DICTIONARY:
        size = 8 + struct.unpack("<I", source.peek(8)[4:].ljust(4, b"\0"))[0]
        raw = source.take(min(size, HELD))[8:]
        try:
            raw = zstandard.decompress(raw, max_output_size=HELD) if raw.startswith(ZSTD) else raw
            dictionary = zstandard.ZstdCompressionDict(raw)
        except zstandard.ZstdError:
            yield Break(0, source.end(), "bad_dictionary")
            return
        yield Piece(b"", 0, source.position, True, True)
    codec = Codec(ZSTD, 1 << 12, lambda: zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj(), False)
    yield from _members(source, codec, starts)


def _lz4(source: "Source") -> Iterator[Piece | Break]:
    """The lz4 frames as one stream; all that follows damage is lost."""
    reader = Lz4Reader(SourceFile(source))
    begin = 0
    while True:
        try:
            data = reader.read(READ)
        except OSError:
            yield Break(begin, source.end(), "bad_member")
            return
        end = source.position if data else source.end()
        if not data and end == begin:
            return
        yield Piece(data, begin, end, begin == 0, True)
        begin = end


class Source:
    """A stream that is read forward, and of which the bytes since `forget` can be searched again."""

    def __init__(self, stream: BinaryIO) -> None:
        self.position = 0
        self._stream = stream
        self._held = bytearray()
        self._origin = 0  # position of the first byte held

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes at the position, fewer only at the end of the file."""
        at = self.position - self._origin
        while len(self._held) < at + size and self._more():
            pass
        with memoryview(self._held) as held:
            return bytes(held[at : at + size])

    def take(self, size: int) -> bytes:
        """As `peek`; then moves on, for good."""
        data = self.peek(size)
        self.position += len(data)
        self.forget(self.position)
        return data

    def forget(self, before: int) -> None:
        if before > self._origin:
            del self._held[: before - self._origin]
            self._origin = before

    def find(self, magic: bytes, at: int) -> int:
        """Position of `magic` at or after `at`, or -1; bytes that were searched in vain are forgotten."""
        at = max(at, self._origin)
        while (found := self._held.find(magic, at - self._origin)) < 0:
            at = max(at, self._origin + len(self._held) - len(magic) + 1)
            self.forget(at)
            if not self._more():
                return -1
        return self._origin + found

    def end(self) -> int:
        """Reads to the end of the file and returns its size."""
        self.position = self._origin + len(self._held)
        while self.take(READ):
            pass
        return self.position

    def _more(self) -> bool:
        """Reads READ bytes, fewer only at the end: a pipe's short reads must not move the cuts between pieces."""
        before = len(self._held)
        while (missing := before + READ - len(self._held)) > 0 and (data := self._stream.read(missing)):
            self._held += data
        return len(self._held) > before


class SourceFile:
    """The little of a file object that FastWARC asks for."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int = READ) -> bytes:
        return self._source.take(size if size >= 0 else READ)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.position

    def tell(self) -> int:
        return self._source.position

    def close(self) -> None:
        pass
