"""Payloads as servers and crawlers store them, with headers that are right, wrong and leftover."""

import gzip
import random
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from stages.http import decompress, is_html, join_chunks, parse_content_type, parse_response

EN = b"<html><p>A page about tea.</p></html>"
ZH = "<html><p>一页关于茶的文字。</p></html>".encode()


def payload(headers: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + body


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def chunked(body: bytes) -> bytes:
    return b"A;x=1\r\n" + body[:10] + b"\r\n%x\r\n" % (len(body) - 10) + body[10:] + b"\r\n0\r\n\r\n"


HTML = "Content-Type: text/html"
RESPONSES = [
    # what is unusual, payload, body, fault
    ("nothing", payload(HTML, EN), EN, ""),
    ("line feeds only", payload(HTML, EN).replace(b"\r\n", b"\n"), EN, ""),
    ("no header", EN, EN, ""),
    ("no end of the header", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", b"", "no_header_end"),
    ("length too long", payload(HTML + "\r\nContent-Length: 9999", EN), EN, ""),
    ("length too short", payload(HTML + "\r\nContent-Length: 3", ZH), ZH, ""),
    ("chunks", payload("Transfer-Encoding: chunked", chunked(ZH)), ZH, ""),
    ("chunks already joined", payload("Transfer-Encoding: chunked", EN), EN, ""),
    ("gzip", payload("Content-Encoding: gzip", gzip.compress(ZH)), ZH, ""),
    ("gzip in two members", payload("Content-Encoding: gzip", gzip.compress(EN) + gzip.compress(ZH)), EN + ZH, ""),
    (
        "gzip in chunks",
        payload("Content-Encoding: x-gzip\r\nTransfer-Encoding: Chunked", chunked(gzip.compress(EN))),
        EN,
        "",
    ),
    ("gzip not declared", payload(HTML, gzip.compress(EN)), EN, ""),
    ("gzip already decoded", payload("Content-Encoding: gzip", EN), EN, ""),
    ("deflate", payload("Content-Encoding: deflate", zlib.compress(EN)), EN, ""),
    ("raw deflate", payload("Content-Encoding: deflate", raw_deflate(ZH)), ZH, ""),
    ("deflate already decoded", payload("Content-Encoding: deflate", ZH), ZH, ""),
    ("brotli", payload("Content-Encoding: br", brotli.compress(ZH)), ZH, ""),
    ("brotli already decoded", payload("Content-Encoding: br", EN), EN, ""),
    ("zstd", payload("Content-Encoding: zstd", zstandard.compress(EN)), EN, ""),
    ("two encodings", payload("Content-Encoding: deflate, gzip", gzip.compress(zlib.compress(EN))), EN, ""),
    (
        "two headers",
        payload("Content-Encoding: br\r\nContent-Encoding: gzip", gzip.compress(brotli.compress(EN))),
        EN,
        "",
    ),
    ("identity", payload("Content-Encoding: identity", EN), EN, ""),
    ("unknown, decoded", payload("Content-Encoding: sdch", EN), EN, ""),
    ("unknown", payload("Content-Encoding: sdch", b"\x01\x02"), b"\x01\x02", "unknown_encoding"),
    ("not gzip", payload("Content-Encoding: gzip", b"\x01\x02"), b"\x01\x02", "bad_encoding"),
    (
        "another chunk follows a wrong one",
        payload("Transfer-Encoding: chunked", b"4\r\nabcdzz\r\n"),
        b"abcdzz\r\n",
        "bad_chunks",
    ),
    (
        "the last chunk is short",
        payload("Transfer-Encoding: chunked", b"4\r\nabcd\r\n9\r\nef"),
        b"abcdef",
        "bad_chunks",
    ),
]


@pytest.mark.parametrize("what, stored, body, fault", RESPONSES)
def test_responses(what: str, stored: bytes, body: bytes, fault: str) -> None:
    response = parse_response(stored)
    assert (response.body, response.fault) == (body, fault)


def test_fields() -> None:
    response = parse_response(payload('content-TYPE: Text/HTML;\r\n Charset="gb2312"', EN))
    assert (response.status, response.media_type, response.charset) == (200, "text/html", "gb2312")
    assert parse_response(b"HTTP/1.0 404\r\n\r\nx").status == 404
    assert parse_response(EN).status == 0


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", PACK)
def test_bombs_are_refused_and_broken_streams_salvaged(coding: str) -> None:
    assert decompress(PACK[coding](EN * 500), coding, 1000) == (b"", "too_large")
    noise = random.Random(1).randbytes(500_000)
    body, fault = decompress(PACK[coding](noise)[:450_000], coding, 1 << 20)
    assert fault == "bad_encoding" and len(body) > 200_000 and noise.startswith(body)


def test_noise_never_raises() -> None:
    for seed in range(300):
        noise = random.Random(seed).randbytes(200)
        for coding in ("gzip", "deflate", "br", "zstd"):
            decompress(noise, coding, 1000)
            decompress(b"\x1f\x8b\x08\x00" + noise, coding, 1000)
        parse_response(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n" + noise)


def test_chunk_sizes_that_overflow_end_the_body() -> None:
    assert join_chunks(b"ffffffff\r\nabc") == (b"abc", "bad_chunks")
    assert join_chunks(b"fffffffff\r\nabc") == (b"fffffffff\r\nabc", "")  # nine digits are no chunk line


TYPES = [
    ("text/html", ("text/html", None)),
    ("TEXT/HTML; charset=utf-8", ("text/html", "utf-8")),
    ("text/html;charset='big5'; x=y", ("text/html", "big5")),
    ("text/html, text/html; charset = GBK", ("text/html", "GBK")),
    ("", ("", None)),
]


@pytest.mark.parametrize("value, expected", TYPES)
def test_content_types(value: str, expected: tuple[str, str | None]) -> None:
    assert parse_content_type(value) == expected


BODIES = [
    ("text/html", EN, True),
    ("text/html", b"words only", True),
    ("application/xhtml+xml", ZH, True),
    ("", ZH, True),
    ("", b"words only", False),
    ("application/octet-stream", b"\xef\xbb\xbf<!DOCTYPE html>", True),
    ("text/plain", EN, False),
    ("text/html", b"%PDF-1.4", False),
    ("text/html", b"\x89PNG\r\n", False),
]


@pytest.mark.parametrize("media_type, body, expected", BODIES)
def test_is_html(media_type: str, body: bytes, expected: bool) -> None:
    assert is_html(media_type, body) is expected
