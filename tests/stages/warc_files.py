"""Archives for the tests of the reader: records of English, Chinese and odd pages in every container, and a reader that
checks that the bytes of records and losses add up to the size of the file."""

import gzip
import io
import random
from collections.abc import Callable

import zstandard
from fastwarc.stream_io import Lz4Writer

from stages.warc import Lost, Record, RecordLimits, read_records

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
NOISE = random.Random(0).randbytes(200_000)


NEXT = record(9, ZH)
