"""What no archive can do to its reader: a payload without end is not held, and false starts take linear work."""

import gzip
import io
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import pytest

from stages import warc, warc_header
from stages.warc import Record, RecordLimits, read_records
from stages.warc_header import parse_warc_header
from tests.stages.warc_files import ALL, NEXT, ZH, read, record


class Stream(io.RawIOBase):
    """Parts of up to 64 KiB that are made while they are read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts

    def read(self, size: int = -1) -> bytes:
        return next(self.parts, b"")


def compressed(parts: Iterator[bytes]) -> Iterator[bytes]:
    engine = zlib.compressobj(1, zlib.DEFLATED, 31)
    yield from filter(None, map(engine.compress, parts))
    yield engine.flush()


@pytest.mark.parametrize("pack", [iter, compressed])
def test_an_oversized_payload_is_cut_and_never_held(pack: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
    parts = (record(1, b"", 30 << 20)[:-4], *[b"abcd" * (1 << 14)] * 480, b"\r\n\r\n" + NEXT)
    tracemalloc.start()
    stream = cast(BinaryIO, Stream(pack(iter(parts))))
    found = [item for item in read_records(stream, RecordLimits(max_payload=1 << 20)) if isinstance(item, Record)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(r.url, r.too_large, r.truncated, len(r.payload)) for r in found] == [
        ("http://x.org/1", True, False, 1 << 20),
        ("http://x.org/9", False, False, len(ZH)),
    ]
    assert peak < 12 << 20


class Counted:
    """A pattern that counts the bytes it searches, and stops the test that makes it search too many."""

    def __init__(self, pattern: re.Pattern[bytes], most: int) -> None:
        self.pattern, self.left = pattern, most

    def search(self, text: bytearray, begin: int, end: int) -> re.Match[bytes] | None:
        match = self.pattern.search(text, begin, end)
        self.left -= max((match.end() if match else min(end, len(text))) - begin, 0)
        assert self.left >= 0, f"{self.pattern.pattern!r} searches the same bytes again and again"
        return match

    def match(self, text: bytearray, begin: int = 0) -> re.Match[bytes] | None:
        return self.pattern.match(text, begin)


FALSE_START = b"WARC/1.0\nA"
FALSE_STARTS = {  # what is repeated, how often, what follows each round
    "2 MB without a blank line": (FALSE_START, 200_000, b""),
    "fields": (b"WARC/1.0\nA: ", 10_000, b""),
    "a blank line within reach of many": (FALSE_START, 2_000, b"\n\n"),
    "a wrong length in each": (b"WARC/1.0\nContent-Length: x\n", 800, b"\n"),
    "a wrong folded length in each": (b"WARC/1.0\nContent-Length: 1\n X: ", 800, b"\n\n"),
    "a wrong length before the blank line": (FALSE_START, 2_000, b"\nContent-Length: " + b"9" * 999 + b"\n\n"),
    "lines of ARC with an impossible length": (b"a: 1 20140216050221 x x x 1\n", 1_000, b""),
}
FALSE_PLACES: dict[
    str, tuple[Callable[[bytes], bytes], str]
] = {  # the file around the text, the records that are found
    "a response with a wrong length": (lambda text: ALL + record(7, text, 10**9) + NEXT, "0 1 2 3 4 5 7 9"),
    "an oversized payload": (lambda text: ALL + record(7, text) + NEXT, "0 1 2 3 4 5 7 9"),
    "junk between records": (lambda text: ALL + text + b"\r\n\r\n" + NEXT, "0 1 2 3 4 5 9"),
    "junk before the first": (lambda text: b"junk " + text + b"\r\n\r\n" + NEXT, "9"),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", FALSE_PLACES)
@pytest.mark.parametrize("starts", FALSE_STARTS)
def test_false_starts_take_linear_work(
    starts: str, place: str, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, times, behind = FALSE_STARTS[starts]
    text = (part * times + behind) * (3 if behind else 1)
    around, numbers = FALSE_PLACES[place]
    most = 4 * len(text) + (4 << 16)
    for module in (warc, warc_header):
        for name in ("BLANK_LINE", "LINE_END", "LENGTH", "VALID_LENGTH", "WARC_START", "ARC_NEXT", "ANY_START"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, Counted(getattr(module, name), most))
    parsed: list[int] = []

    def parse(block: bytes) -> warc_header.Header | None:
        parsed.append(len(block))
        assert sum(parsed) < 1 << 16, "headers are parsed that cannot be accepted"
        return parse_warc_header(block)

    monkeypatch.setattr(warc, "parse_warc_header", parse)
    data = around(text)
    records, _ = read(
        gzip.compress(data, 1) if compressed else data, 1000 if place == "an oversized payload" else 1 << 26
    )
    assert " ".join(r.url.removeprefix("http://x.org/") for r in records) == numbers
