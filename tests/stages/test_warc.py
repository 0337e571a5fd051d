"""Archives are built record by record, damaged in every way, and read: what was not damaged must come out, and the
bytes of records and losses must add up to the size of the file."""

import gzip
import io
import random
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard
from fastwarc.stream_io import Lz4Writer

from stages import warc, warc_header
from stages.warc import Lost, Record, RecordLimits, read_records
from stages.warc_header import clean_url, parse_arc_header, parse_warc_header

EN = b"<p>A page about tea.</p>"
ZH = "<p>一页关于茶的文字。</p>".encode()
PAGES = [EN, ZH, b"", b"\x00\xff" * 400, gzip.compress(EN * 9) + b"behind a stored member", EN * 300]


def record(number: int, body: bytes, length: object = None, kind: str = "response") -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://x.org/{number}\r\n"
        f"WARC-Record-ID: <urn:uuid:{number}>\r\nWARC-Date: 2024-05-0{number % 9 + 1}T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


RECORDS = [record(number, body) for number, body in enumerate(PAGES)]
ALL = b"".join(RECORDS)


def read(data: bytes, max_payload: int = 1 << 26) -> tuple[list[Record], list[Lost]]:
    """Records and losses, after the check that their bytes are those of the file and their places are distinct."""
    found = list(read_records(io.BytesIO(data), RecordLimits(max_payload=max_payload)))
    assert sum(item.length for item in found) == len(data)
    records = [item for item in found if isinstance(item, Record)]
    places = [(item.offset, item.inner if isinstance(item, Record) else 0) for item in found if item.length]
    assert places == sorted(set(places))
    assert len({(r.offset, r.inner) for r in records}) == len(records)
    return records, [item for item in found if isinstance(item, Lost)]


def summary(data: bytes) -> tuple[str, list[str]]:
    """Numbers of the records found, with "~" behind truncated ones; reasons of the losses."""
    records, lost = read(data)
    numbers = (r.url.removeprefix("http://x.org/") + "~" * r.truncated for r in records)
    return " ".join(numbers), [item.reason for item in lost]


def with_extra_field(data: bytes) -> bytes:
    member = gzip.compress(data)
    return member[:3] + b"\x04" + member[4:10] + b"\x04\x00sl\x00\x00" + member[10:]


def lz4(data: bytes) -> bytes:
    out = io.BytesIO()
    writer = Lz4Writer(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


def zstd_with_dictionary(packed: bool) -> bytes:
    dictionary = zstandard.ZstdCompressionDict(b"".join(RECORDS[:2]) * 9, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frame = zstandard.compress(dictionary.as_bytes()) if packed else dictionary.as_bytes()
    compress = zstandard.ZstdCompressor(dict_data=dictionary).compress
    return b"\x5d\x2a\x4d\x18" + len(frame).to_bytes(4, "little") + frame + b"".join(map(compress, RECORDS))


CONTAINERS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: b"".join(RECORDS),
    "a member per record": lambda: b"".join(map(gzip.compress, RECORDS)),
    "a member per record, extra field": lambda: b"".join(map(with_extra_field, RECORDS)),
    "one big member": lambda: gzip.compress(b"".join(RECORDS)),
    "two records per member": lambda: b"".join(gzip.compress(b"".join(RECORDS[i : i + 2])) for i in (0, 2, 4)),
    "members of 100 bytes": lambda: b"".join(
        gzip.compress(b"".join(RECORDS)[i : i + 100]) for i in range(0, 14000, 100)
    ),
    "an empty member between": lambda: b"".join(gzip.compress(r) + gzip.compress(b"") for r in RECORDS),
    "zstd frames": lambda: b"".join(map(zstandard.ZstdCompressor().compress, RECORDS)),
    "zstd dictionary": lambda: zstd_with_dictionary(packed=False),
    "zstd packed dictionary": lambda: zstd_with_dictionary(packed=True),
    "lz4": lambda: lz4(b"".join(RECORDS)),
    "line feeds only": lambda: b"".join(RECORDS).replace(b"\r\n", b"\n"),
    "version 0.18": lambda: b"".join(RECORDS).replace(b"WARC/1.0", b"WARC/0.18"),
    "version 1.1": lambda: b"".join(map(gzip.compress, [r.replace(b"WARC/1.0", b"WARC/1.1") for r in RECORDS])),
    "no newlines between": lambda: b"".join(r[:-4] for r in RECORDS),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_records(container: str) -> None:
    records, lost = read(CONTAINERS[container]())
    assert [r.payload for r in records] == PAGES
    assert [r.url for r in records] == [f"http://x.org/{number}" for number in range(6)]
    assert [item.reason for item in lost if item.reason != "padding"] == []
    first = records[0]
    assert (first.warc_type, first.record_id, first.date) == ("response", "urn:uuid:0", "2024-05-01T00:00:00Z")
    assert not any(r.truncated or r.too_large for r in records)


@pytest.mark.parametrize("container", ["plain", "a member per record", "zstd frames"])
def test_offset_and_length_cut_the_record_out_of_the_file(container: str) -> None:
    data = CONTAINERS[container]()
    for original in read(data)[0]:
        assert read(data[original.offset :][: original.length])[0][0].payload == original.payload


def test_inner_is_the_place_in_the_decompressed_member() -> None:
    data = CONTAINERS["two records per member"]()
    for r, expected in zip(read(data)[0], RECORDS, strict=True):
        member = zlib.decompressobj(31).decompress(data[r.offset :])
        assert member[r.inner :].startswith(expected)


def test_short_reads_change_nothing() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    data = CONTAINERS["one big member"]()
    assert list(read_records(Trickle(data))) == list(read_records(io.BytesIO(data)))


M = [gzip.compress(r) for r in RECORDS]
NOISE = random.Random(0).randbytes(200_000)
BIG = gzip.compress(record(6, NOISE))  # its first pieces are out before its end is seen
DAMAGE = {
    "nothing": (b"".join(M), "0 1 2 3 4 5", []),
    "a byte in a member": (
        M[0] + M[1][:60] + b"\xff\x00\xff" + M[1][63:] + b"".join(M[2:]),
        "0 2 3 4 5",
        ["bad_member"],
    ),
    "a checksum": (M[0] + M[1][:-8] + b"\0" * 8 + M[2], "0 2", ["bad_member"]),
    "the first magic number": (b"\0\0" + M[0][2:] + M[1] + M[2], "1 2", ["not_a_member"]),
    "a magic number": (M[0] + b"\0\0" + M[1][2:] + M[2], "0 2", ["not_a_member"]),
    "a member with a gzip body": (M[0] + M[4][:20] + b"\xff\xff\xff" + M[4][23:] + M[5], "0 5", ["bad_member"]),
    "the checksum of a big member": (M[0] + BIG[:-8] + b"\0" * 8 + M[1], "0 1", ["bad_member"]),
    "the end of a big member": (M[0] + BIG[:-50] + M[1], "0 1", ["bad_member"]),
    "newlines before a damaged member": (M[0] + gzip.compress(b"\n") * 9 + BIG[:-8] + b"\0" * 8, "0", ["bad_member"]),
    "an empty file before a damaged member": (gzip.compress(b"") + BIG[:-8] + b"\0" * 8, "", ["padding", "bad_member"]),
    "zeros between members": (M[0] + b"\0" * 5000 + M[1], "0 1", ["not_a_member"]),
    "half a member in the middle": (M[0] + M[5][:100] + M[1], "0 1", ["bad_member"]),
    "two neighbours": (M[0] + M[1][:-9] + M[2][:-9] + M[3], "0 3", ["bad_member"]),
    "the end of the file": (M[0] + M[1] + M[5][:-20], "0 1 5~", []),
    "the end, in a header": (M[0] + M[1][:30], "0", ["truncated"]),
    "the end, in the trailer": (M[0] + M[1][:-3], "0 1", []),
    "text behind": (M[0] + gzip.compress(b"some text"), "0", ["junk"]),
    "only text": (b"some text", "", ["junk"]),
    "nothing at all": (b"", "", []),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_members(damage: str) -> None:
    data, numbers, reasons = DAMAGE[damage]
    assert summary(data) == (numbers, reasons)


NEXT = record(9, ZH)
LENGTHS = {
    "right": (record(1, EN), "1 9", []),
    "too long by 10": (record(1, EN, 34), "1~ 9", []),
    "as long as a disk": (record(1, EN, 10**15), "1~ 9", []),
    "too short by 10": (record(1, EN, 14), "1 9", ["junk"]),
    "missing": (record(1, EN).replace(b"Content-Length", b"X-Length"), "9", ["bad_header"]),
    "negative": (record(1, EN, -5), "9", ["bad_header"]),
    "not a number": (record(1, EN, "２４"), "9", ["bad_header"]),  # full-width digits
    "longer than any": (record(1, EN, "9" * 5000), "9", ["bad_header"]),
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("compressed", [False, True])
def test_wrong_lengths_cost_one_record(length: str, compressed: bool) -> None:
    data, numbers, reasons = LENGTHS[length]
    assert summary(gzip.compress(data) + gzip.compress(NEXT) if compressed else data + NEXT) == (numbers, reasons)


def test_junk_inside_a_member_is_counted_and_its_bytes_go_to_the_next_record() -> None:
    records, lost = read(gzip.compress(record(1, NOISE, 10) + NEXT + record(2, NOISE, 10) + NEXT))
    assert [len(r.payload) for r in records] == [10, len(ZH), 10, len(ZH)]
    assert [(item.reason, item.length) for item in lost] == [("junk", 0), ("junk", 0)]


def test_a_record_inside_a_page_stays_there_when_the_length_is_right() -> None:
    page = b"An example:\r\n\r\n" + record(7, EN) + b"is a record."
    records, lost = read(record(1, page) + NEXT)
    assert [r.payload for r in records] == [page, ZH] and lost == []


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


def corrupt(data: bytes, rng: random.Random) -> tuple[bytes, int, int]:
    """The data with one fault, and the range [begin, end) of the old bytes that it touched."""
    begin, size = rng.randrange(len(data)), rng.choice([1, 1, 4, 50, 700])
    end = min(begin + size, len(data))
    way = rng.choice(["flip", "zero", "insert", "delete"])
    if way == "flip":
        return data[:begin] + bytes(b ^ rng.randrange(1, 256) for b in data[begin:end]) + data[end:], begin, end
    if way == "zero":
        return data[:begin] + b"\0" * (end - begin) + data[end:], begin, end
    if way == "insert":
        return data[:begin] + rng.randbytes(size) + data[begin:], begin, begin
    return data[:begin] + data[end:], begin, end


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_whatever_is_damaged_the_rest_is_found(pack: Callable[[bytes], bytes]) -> None:
    for seed in range(150):
        rng = random.Random(seed)
        bodies = [rng.choice([EN, ZH, rng.randbytes(300)]) * rng.randrange(3) + b"%d" % i for i in range(8)]
        packed = [pack(record(number, body)) for number, body in enumerate(bodies)]
        data, begin, end = corrupt(b"".join(packed), rng)
        found = {(r.url, r.payload) for r in read(data)[0]}
        at = 0
        for number, (body, part) in enumerate(zip(bodies, packed, strict=True)):
            if at + len(part) <= begin or at >= end and not at < begin < at + len(part):
                assert (f"http://x.org/{number}", body) in found, f"seed {seed}: record {number} was not damaged"
            at += len(part)


@pytest.mark.parametrize("container", CONTAINERS)
def test_any_fault_and_any_end_leave_the_books_balanced(container: str) -> None:
    data = CONTAINERS[container]()
    for seed in range(40):
        rng = random.Random(seed)
        read(corrupt(data, rng)[0], max_payload=rng.choice([10, 1 << 26]))
        read(data[: rng.randrange(len(data))])
        read(rng.randbytes(rng.randrange(200)) + data[rng.randrange(len(data)) :])


HEADERS = [
    # what is unusual, the header, (type, URL, date) or None
    ("nothing", b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 1\r\n\r\n", ("response", "", "")),
    ("names", b"WARC/1.0\r\nwarc-TYPE : Response\r\nCONTENT-length:1\r\n\r\n", ("response", "", "")),
    ("brackets", b"WARC/1.0\nWARC-Target-URI: <http://a.org/> \nContent-Length: 1\n\n", ("", "http://a.org/", "")),
    ("space", b"WARC/1.0\nWARC-Target-URI: http://a.org/b c\nContent-Length: 1\n\n", ("", "http://a.org/b%20c", "")),
    (
        "chinese",
        "WARC/1.0\nWARC-Target-URI: http://a.org/茶\nContent-Length: 1\n\n".encode(),
        ("", "http://a.org/茶", ""),
    ),
    ("twice", b"WARC/1.0\nWARC-Type: a\nWARC-Type: b\nContent-Length: 1\n\n", ("a", "", "")),
    ("folded", b"WARC/1.0\nWARC-Type:\n  a\nContent-Length: 1\n\n", ("a", "", "")),
    ("bad date", b"WARC/0.18\nWARC-Date: 2008-10-294T05:21:46-0700\nContent-Length: 1\n\n", ("", "", "")),
    ("no version", b"WARC\r\nWARC-Type: response\r\nContent-Length: 1\r\n\r\n", None),
    ("no length", b"WARC/1.0\r\nWARC-Type: response\r\n\r\n", None),
]


@pytest.mark.parametrize("what, block, expected", HEADERS)
def test_warc_headers(what: str, block: bytes, expected: tuple[str, str, str] | None) -> None:
    header = parse_warc_header(block)
    assert (header and (header.warc_type, header.url, header.date)) == expected


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\nA: b\r\n\r\n", b"\nContent-Length: 3\n\n"])
@pytest.mark.parametrize(
    "length, valid",
    [
        (b"Content-Length: 1", True),
        (b"content-length:1 \t", True),
        (b"Content-Length\r\n :\r\n\t1\r\n ", True),
        (b"Content-Length: 1\r\r", True),
        (b"Content-Length: " + b"1" * 18, True),
        (b"Content-Length: " + b"1" * 19, False),
        (b"Content-Length: 1\n 1", False),
        (b"Content-Length: 1 1", False),
        (b"Content-Length: x", False),
        (b"Content-Length:", False),
    ],
)
def test_the_length_is_judged_as_it_is_parsed(length: bytes, valid: bool, end: bytes) -> None:
    block = b"WARC/1.0\nX-Content-Length: x\n" + length + end
    first, good = warc_header.LENGTH.search(block), warc_header.VALID_LENGTH.search(block)
    assert first and (good is not None and good.start() == first.start()) == valid
    assert (parse_warc_header(block) is not None) == valid


ARC = [
    (b"http://a.org/ 1.2.3.4 20140216050221 text/html 24\n", ("http://a.org/", "2014-02-16T05:02:21Z", 24)),
    (b"http://a.org/b c 1.2.3.4 20140216050221 text/html 24\n", ("http://a.org/b%20c", "2014-02-16T05:02:21Z", 24)),
    (b"http://a.org/ ::1 20140216050221 text/html 200 - - 0 x.arc 24\n", ("http://a.org/", "2014-02-16T05:02:21Z", 24)),
    (b"http://a.org/ 1.2.3.4 201402160502210000 text/html 24\n", None),
    (b"http://a.org/ 1.2.3.4 20140216050221 text/html -1\n", None),
    (b"http://a.org/ 1.2.3.4 20140216050221 text/html abc\n", None),
]


@pytest.mark.parametrize("line, expected", ARC)
def test_arc_lines(line: bytes, expected: tuple[str, str, int] | None) -> None:
    header = parse_arc_header(line)
    assert (header and (header.url, header.date, header.length)) == expected


@pytest.mark.parametrize("compressed", [False, True])
def test_arc_files(compressed: bool) -> None:
    lines = [b"filedesc://x.arc 0.0.0.0 20140216050221 text/plain 24\n" + b"1 0 Someone\nURL IP-addr\n" + b"\n"]
    lines += [
        b"http://x.org/%d 1.2.3.4 20140216050221 text/html %d\n%b\n" % (n, len(p), p) for n, p in enumerate([EN, ZH])
    ]
    data = b"".join(map(gzip.compress, lines)) if compressed else b"".join(lines)
    records, lost = read(data)
    assert [(r.warc_type, r.payload) for r in records[1:]] == [("response", EN), ("response", ZH)] and lost == []
    assert records[0].warc_type == "warcinfo"
    broken, lost = read(data[:20] + b"\xff" + data[21:])
    assert [r.payload for r in broken if r.url.startswith("http")] == [EN, ZH] and len(lost) == 1


@pytest.mark.parametrize("url", ["http://a.org/", " http://a.org/ ", "<http://a.org/>", "< http://a.org/ >"])
def test_clean_url(url: str) -> None:
    assert clean_url(url) == "http://a.org/"


EXPECTED = {  # records, truncated records, reasons of the losses; every other archive: no loss, no truncated record
    "bad.arc": (1, 0, ["bad_header", "junk"]),
    "example-trunc.warc": (4, 0, ["junk"]),
    "example-space-in-url.arc": (2, 1, []),
    "clipped.warc.gz": (1, 1, []),
    "double-single-inflate-error.gz": (0, 0, ["bad_member"]),
    "empty.gz": (0, 0, ["padding"]),
    "abcd.gz": (0, 0, ["junk"]),
    "hi.gz": (0, 0, ["junk"]),
    "hi-2.gz": (0, 0, ["junk"]),
    "CC-MAIN-2024-22.warc.paths.gz": (0, 0, ["junk"]),
    "20130729-heritrix-revisit-with-http-headers.warc.gz": (1, 1, []),
    "20141124-heritrix-server-not-modified.warc.gz": (1, 1, []),
    "20141129-heritrix-revisit-with-http-headers-and-new-warc-headers.warc.gz": (1, 1, []),
}


def test_real_archives(shared_data: Path) -> None:
    suffixes = (".gz", ".warc", ".arc", ".bad", ".lz4", ".wat", ".wet")
    archives = sorted(path for path in (shared_data / "warc").rglob("*") if path.name.endswith(suffixes))
    assert len(archives) == 49
    for path in archives:
        records, lost = read(path.read_bytes())
        result = (len(records), sum(r.truncated for r in records), [item.reason for item in lost])
        assert result == EXPECTED.get(path.name, (len(records), 0, [])), path.name
        assert records or lost, path.name
