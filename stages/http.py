"""The payload of a record comes in, the body of its HTTP response goes out, without chunks and decompressed. The
surprising thing: headers are hints. Crawlers store decoded bodies under the headers of the encoded ones, so an encoding
that does not fit the body is ignored, and HTTP's Content-Length, which is wrong as often, is not even read."""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import zstandard
from fastwarc.stream_io import BrotliReader

HTML_TYPES = ("text/html", "application/xhtml+xml")
NO_TYPES = ("", "application/octet-stream", "unknown/unknown", "content/unknown", "application/unknown")
HTML_MARK = re.compile(rb"<(?:!doctype\s+html|html|head|title|meta|body|div|table|p|h1|script)\b", re.IGNORECASE)
NOT_HTML = re.compile(
    rb"%PDF-|\x89PNG|GIF8[79]a|\xff\xd8\xff|PK\x03\x04|Rar!|\x00\x00\x00.ftyp|RIFF....WEBP", re.DOTALL
)
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)
CHUNK_LINE = re.compile(rb"\r?\n?[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")
FEED = 1 << 11  # compressed bytes given at once: a bomb makes 64 MiB of them, and a broken stream loses no more
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
READ = 1 << 16


@dataclass(frozen=True)
class Response:
    """A response; status 0 when the payload has no HTTP header. Faults: no_header_end, bad_chunks, bad_encoding,
    unknown_encoding, too_large; the body then holds what could be had, except that it is empty when too_large."""

    status: int
    media_type: str
    charset: str | None
    body: bytes
    fault: str


def parse_response(payload: bytes, max_body: int = 64 << 20) -> Response:
    """The response stored in a payload; a payload without an HTTP header is all body."""
    if not payload.startswith(b"HTTP/"):
        return Response(0, "", None, payload, "")
    end = BLANK_LINE.search(payload)
    if end is None:
        return Response(_status(payload[:100]), "", None, b"", "no_header_end")
    fields = _fields(payload[: end.start()])
    media_type, charset = parse_content_type(fields.get("content-type", [""])[-1])
    body, fault = payload[end.end() :], ""
    if "chunked" in ",".join(fields.get("transfer-encoding", [])).lower():
        body, fault = join_chunks(body)
    codings = [c.strip().lower() for c in ",".join(fields.get("content-encoding", [])).split(",") if c.strip()]
    if not codings and media_type in (*HTML_TYPES, "") and body.startswith(GZIP):
        codings = ["gzip"]
    for coding in reversed(codings):
        body, worse = decompress(body, coding, max_body)
        fault = worse or fault
    return Response(_status(payload[:100]), media_type, charset, body, fault)


def is_html(media_type: str, body: bytes) -> bool:
    """Whether to read a body as HTML: it says so and is no known binary, or says nothing and looks like it."""
    if NOT_HTML.match(body):
        return False
    return media_type in HTML_TYPES or (media_type in NO_TYPES and HTML_MARK.search(body, 0, 2048) is not None)


def parse_content_type(value: str) -> tuple[str, str | None]:
    """Media type in lower case, and the charset that is named beside it."""
    charset = CHARSET.search(value)
    return re.split("[;,]", value)[0].strip().lower(), charset[1] if charset else None


def join_chunks(body: bytes) -> tuple[bytes, str]:
    """The body without its chunk lines; from the first wrong one on it is left as it is."""
    if not (line := CHUNK_LINE.match(body)):
        return body, ""  # joined already by the crawler
    parts = []
    while size := int(line[1], 16):
        parts.append(body[line.end() : line.end() + size])
        after = line.end() + size
        if after > len(body):
            return b"".join(parts), "bad_chunks"
        if not (line := CHUNK_LINE.match(body, after)):
            return b"".join(parts) + body[after:], "bad_chunks"
    return b"".join(parts), ""


def decompress(body: bytes, coding: str, limit: int) -> tuple[bytes, str]:
    """The decoded body, or as much as is whole; a body that is not in that coding is returned as it is."""
    plain = body.lstrip()[:1] in (b"<", b"")  # decoded already by the crawler
    if coding == "identity" or not body:
        return body, ""
    if coding in ("gzip", "x-gzip"):
        if not body.startswith(GZIP):
            return body, "" if plain else "bad_encoding"
        text, fault = _inflate(body, lambda: zlib.decompressobj(31), GZIP, limit)
    elif coding == "deflate":  # zlib by the standard, but many servers send raw deflate
        zlib_header = body[0] & 15 == 8 and len(body) > 1 and (body[0] << 8 | body[1]) % 31 == 0
        text, fault = _inflate(body, lambda: zlib.decompressobj(15 if zlib_header else -15), b"", limit)
    elif coding == "zstd":
        text, fault = _inflate(body, lambda: zstandard.ZstdDecompressor().decompressobj(), ZSTD, limit)
    elif coding == "br":
        text, fault = _read_brotli(body, limit)
    else:
        return body, "" if plain else "unknown_encoding"
    if fault == "bad_encoding" and (plain or not text):
        return body, "" if plain else fault
    return text, fault


def _inflate(body: bytes, engine_of: Callable[[], Any], magic: bytes, limit: int) -> tuple[bytes, str]:
    """The stream in `body`, and those that follow it with the same magic number."""
    out = bytearray()
    engine = engine_of()
    at = 0
    while at < len(body):
        feed = body[at : at + FEED]
        try:
            out += engine.decompress(feed)
        except (zlib.error, zstandard.ZstdError):
            return bytes(out), "bad_encoding"
        if len(out) > limit:
            return b"", "too_large"
        at += len(feed) - len(engine.unused_data)
        if engine.eof:
            if not magic or not body.startswith(magic, at):
                return bytes(out), ""
            engine = engine_of()
    return bytes(out), "bad_encoding"  # it has no end


def _read_brotli(body: bytes, limit: int) -> tuple[bytes, str]:
    out = bytearray()
    reader = BrotliReader(BytesIO(body))
    try:
        while data := reader.read(READ):
            out += data
            if len(out) > limit:
                return b"", "too_large"
    except OSError:
        return bytes(out), "bad_encoding"
    return bytes(out), ""


def _status(line: bytes) -> int:
    match = re.match(rb"HTTP/[\d.]+\s+(\d{3})\b", line)
    return int(match[1]) if match else 0


def _fields(block: bytes) -> dict[str, list[str]]:
    """Header fields by lower-case name, in their order; folded lines are joined."""
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for line in block.decode("latin-1").split("\n")[1:]:
        if line[:1] in (" ", "\t") and values:
            values[-1] += " " + line.strip()
            continue
        name, _, value = line.partition(":")
        values = fields.setdefault(name.strip().lower(), [])
        values.append(value.strip())
    return fields
