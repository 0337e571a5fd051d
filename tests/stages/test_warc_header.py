"""Headers of WARC and ARC records, one oddity at a time."""

import gzip

import pytest

from stages import warc_header
from stages.warc_header import clean_url, parse_arc_header, parse_warc_header
from tests.stages.warc_files import EN, ZH, read

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
