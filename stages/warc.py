"""A web archive comes in as a stream, its records come out with their place in the file; what cannot be read comes out
as `Lost`, and the lengths of both add up to the file size. The surprising thing: a Content-Length is believed only
when a record, a new member or the end of the file follows it. Otherwise the record ends at the first record header
inside it, so that one wrong number costs one record and not the rest of the file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from stages.inflate import pieces
from stages.warc_header import (
    ANY_START,
    LENGTH,
    VALID_LENGTH,
    Header,
    find_start,
    parse_arc_header,
    parse_warc_header,
)
from stages.window import Window

OVERLAP = 1 << 15  # longer than any START: kept when a piece has been searched in vain
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
LINE_END = re.compile(rb"\n")
FIRST_TEXT = re.compile(rb"[^\r\n]")
CHUNK = 1 << 20  # bytes of an oversized payload that are skipped at once


@dataclass(frozen=True)
class RecordLimits:
    """Bytes of one record that are held in memory: of its payload, and of its header."""

    max_payload: int = 64 << 20
    max_header: int = 64 << 10


@dataclass(frozen=True)
class Record:
    """One record. `offset` is that of its member in a compressed file, and `inner` its place in the decompressed
    member (0 in a plain file). `length` counts the file's bytes: those of all records and losses add up to its size."""

    offset: int
    inner: int
    length: int
    warc_type: str
    url: str
    record_id: str
    date: str
    content_type: str
    payload: bytes
    too_large: bool  # the payload is cut at the limit
    truncated: bool  # the payload is shorter than declared, or the crawler cut it and said so


@dataclass(frozen=True)
class Lost:
    """File bytes without a record; length 0 when they lie inside a member, before a record that is given its bytes, so
    that places ascend. Reasons: bad_member, not_a_member, bad_dictionary, bad_header, truncated, junk,
    and padding, which was never a record (empty members, newlines, a dictionary)."""

    offset: int
    length: int
    reason: str


def read_records(stream: BinaryIO, limits: RecordLimits | None = None) -> Iterator[Record | Lost]:
    """Every record of a plain, gzip, zstd or lz4 archive (WARC 0.17 to 1.1, or ARC), in the order of the file."""
    limits = limits or RecordLimits()
    window = Window(pieces(stream, ANY_START))
    arc: bool | None = None  # which kind of archive it is, once a record has shown it
    done = 0  # file bytes accounted for
    while window.next_run():
        reason = ""  # why the bytes since `done` have no record
        while window.fill(1):
            if text := _skip_newlines(window, 0):
                window.drop(text)
                continue
            head, header = _header(window, 0, limits.max_header)
            if header is None:
                ended = head == 0 and window.ended
                reason = reason or (("truncated" if ended else "bad_header") if _starts(window, 0) else "junk")
                _drop_until(window, arc)
                continue
            arc = not window.buffer.startswith(b"WARC/")
            offset, inner = window.place()
            gap = max(window.file_begin() - done, 0)
            if reason or gap:
                gap = gap if done <= offset else 0  # inside a member: its bytes go to the record that follows
                yield Lost(done, gap, reason or "padding")
            done, reason = done + gap, ""
            payload, size = _take_payload(window, head, header.length, arc, limits)
            if window.is_damaged():
                break  # the end of the member, with its checksum, was never reached: all of it counts as lost
            begin, done = done, max(done, window.file_end())
            yield Record(
                offset=offset,
                inner=inner,
                length=done - begin,
                warc_type=header.warc_type,
                url=header.url,
                record_id=header.record_id,
                date=header.date,
                content_type=header.content_type,
                payload=payload,
                too_large=size > len(payload),
                truncated=size < header.length or header.truncated,
            )
        end = max(done, window.run_end())
        if end > done or reason:
            yield Lost(done, end - done, window.stop.reason if window.stop else reason or "padding")
        done = end


def _take_payload(window: Window, head: int, length: int, arc: bool | None, limits: RecordLimits) -> tuple[bytes, int]:
    """The payload that begins at `head`, cut at the limit, and its true size; the window moves behind the record."""
    window.fill(head + min(length, limits.max_payload))
    end = min(head + length, head + limits.max_payload, len(window.buffer))
    cut = _member_start(window, head, end)
    if cut is None and (length > limits.max_payload or not _ends_well(window, head + length)):
        cut = _inner_start(window, head, end, arc, limits)
    end = end if cut is None else cut
    payload = window.read(head, end)
    size = end - head
    if cut is None and size == limits.max_payload < length:
        window.drop(end)
        size += _skip(window, length - size, arc, limits)
    else:
        window.drop(end)
    window.drop(_skip_newlines(window, 0))
    return payload, size


def _skip(window: Window, length: int, arc: bool | None, limits: RecordLimits) -> int:
    """Drops the rest of an oversized payload, up to a record header inside it; returns how much there was."""
    left = length
    while left and window.fill(1):
        window.fill(min(left, CHUNK) + OVERLAP)
        end = min(left, len(window.buffer))
        cut = _member_start(window, 0, end)
        if cut is None:
            cut = _inner_start(window, 0, end, arc, limits)
        if cut is None and end == len(window.buffer) > OVERLAP and not window.ended:
            end -= OVERLAP  # a header may begin here and end in the next piece
        window.drop(end if cut is None else cut)
        left -= end if cut is None else cut
        if cut is not None:
            break
    return length - left


def _ends_well(window: Window, at: int) -> bool:
    """Whether a payload may end at `at`: the run reaches it, and then ends, or goes on with a record or a member."""
    if not window.fill(at):
        return False
    at = _skip_newlines(window, at)
    return not window.fill(at + 1) or at in window.openings() or _starts(window, at)


def _starts(window: Window, at: int) -> bool:
    """Whether the bytes at `at` look like the beginning of a record."""
    window.fill(at + (32 if window.buffer.startswith(b"WARC/", at) else OVERLAP))
    return ANY_START.match(window.buffer, at) is not None


def _member_start(window: Window, begin: int, end: int) -> int | None:
    """The first member inside (begin, end) that opens with a record."""
    return next((at for at in window.openings() if begin < at < end and _starts(window, at)), None)


def _inner_start(window: Window, begin: int, end: int, arc: bool | None, limits: RecordLimits) -> int | None:
    """The first place in [begin, end) with a whole and valid record header."""
    while 0 <= (at := find_start(window.buffer, begin, min(end + OVERLAP, len(window.buffer)), arc)) < end:
        if _header(window, at, limits.max_header)[1]:
            return at
        begin = at + 1
    return None


def _skip_newlines(window: Window, at: int) -> int:
    """The place of the first byte from `at` on that ends no line, or of one of very many newlines."""
    most = at + OVERLAP
    while not (match := FIRST_TEXT.search(window.buffer, at)):
        at = len(window.buffer)
        if at > most or not window.fill(at + 1):
            return at
    return match.start()


def _drop_until(window: Window, arc: bool | None) -> None:
    """Moves the window to the next place that looks like a record, or to the end of the run."""
    begin = 1
    while (at := find_start(window.buffer, begin, len(window.buffer), arc)) < 0:
        if window.ended:
            at = len(window.buffer)
            break
        searched = max(len(window.buffer) - OVERLAP, 0)
        window.drop(searched)
        begin = max(begin - searched, 0)
        window.fill(len(window.buffer) + OVERLAP)  # not less: members may be tiny, and the overlap is searched again
    window.drop(at)


def _header(window: Window, at: int, limit: int) -> tuple[int, Header | None]:
    """Where the payload of the record at `at` begins (0 when the header has no end), and the header if it is valid."""
    window.fill(at + 5)
    warc = window.buffer.startswith(b"WARC/", at)
    while not (found := window.find(BLANK_LINE if warc else LINE_END, at, at + limit)):
        if len(window.buffer) >= at + limit or not window.fill(len(window.buffer) + 1):
            return 0, None
    end = found[1]
    if not warc:
        return end, parse_arc_header(window.read(at, end))
    # A page may hold a false start every few bytes: only a header that will be accepted is worth its parsing.
    length, valid = window.find(LENGTH, at, end), window.find(VALID_LENGTH, at, end)
    accepted = length is not None and valid is not None and length[0] == valid[0]
    return end, parse_warc_header(window.read(at, end)) if accepted else None
