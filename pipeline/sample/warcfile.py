"""Writes planned records as WARC files, one gzip member per record: the record order, the dates (a fixed day plus
seeded seconds) and the record ids all come from the seed, so one seed always gives the same bytes. Some members are
spoiled on purpose, after their place in the gold table is known."""

import base64
import hashlib
import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from pipeline.sample.gold import GoldRow
from pipeline.sample.plan import Record, placed

BASE_DATE = datetime(2024, 3, 1, tzinfo=UTC)
LEVEL = 6
FLIPPED = 24  # bytes in the middle of a damaged member
TRUNCATED_AT = 300  # bytes; enough for the WARC header, too few for the text


def write_files(records: Sequence[Record], infos: Sequence[Record], out: Path, rng: Random) -> list[GoldRow]:
    """Writes one archive per warcinfo record, of about equal size; returns the gold rows with file and offset.

    Damaged records go to the second file, those with a wrong Content-Length to the third, the truncated one to the end
    of the last, so that the others can be read by any reader."""
    clock = _Clock(rng)
    files = [[(info.row, _compress(_frame(info, clock, rng)))] for info in infos]
    sizes = [0] * len(files)
    order = list(records)
    rng.shuffle(order)
    spoiled: dict[str, list[tuple[GoldRow, bytes]]] = {"damaged": [], "length": [], "truncated": []}
    for record in order:
        member = _compress(_frame(record, clock, rng))
        if record.fault:
            kind = "length" if record.fault.endswith("length") else record.fault
            spoiled[kind].append((record.row, _spoil(member, record.fault)))
        else:
            smallest = sizes.index(min(sizes))
            files[smallest].append((record.row, member))
            sizes[smallest] += len(member)
    files[1] = _spread(files[1], spoiled["damaged"])
    files[2] = _spread(files[2], spoiled["length"])
    files[-1] += spoiled["truncated"]
    return [row for at, members in enumerate(files) for row in _write(out, f"sample-{at:05d}.warc.gz", members)]


def _spread(sound: list[tuple[GoldRow, bytes]], spoiled: list[tuple[GoldRow, bytes]]) -> list[tuple[GoldRow, bytes]]:
    """The spoiled members at even distances between the sound ones, none at either end."""
    step = len(sound) // (len(spoiled) + 1)
    mixed = list(sound)
    for at, member in enumerate(spoiled, 1):
        mixed.insert(at * step, member)
    return mixed


def _write(out: Path, name: str, members: Sequence[tuple[GoldRow, bytes]]) -> list[GoldRow]:
    rows, offset = [], 0
    for row, member in members:
        rows.append(placed(row, name, offset, len(member)))
        offset += len(member)
    (out / name).write_bytes(b"".join(member for _, member in members))
    return rows


class _Clock:
    """A fetch every few seconds, from a fixed day on."""

    def __init__(self, rng: Random) -> None:
        self._now, self._rng = BASE_DATE, rng

    def tick(self) -> str:
        self._now += timedelta(seconds=self._rng.randint(1, 40))
        return self._now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _frame(record: Record, clock: _Clock, rng: Random) -> bytes:
    """Header, block and the two empty lines of one WARC record."""
    length = len(record.block)
    if record.fault in ("short-length", "long-length"):
        length = length // 2 if record.fault == "short-length" else length + 700
    fields = [
        ("WARC-Type", record.row.warc_type),
        ("WARC-Record-ID", f"<urn:uuid:{uuid.UUID(int=rng.getrandbits(128), version=4)}>"),
        ("WARC-Date", clock.tick()),
    ]
    if record.row.url is not None:
        fields.append(("WARC-Target-URI", record.row.url))
    if record.row.warc_type == "response":
        payload = record.block.partition(b"\r\n\r\n")[2]
        fields.append(("WARC-IP-Address", f"192.0.2.{rng.randrange(1, 255)}"))
        fields.append(("WARC-Payload-Digest", "sha1:" + base64.b32encode(hashlib.sha1(payload).digest()).decode()))
    fields += record.extra
    fields += [("Content-Type", record.content_type or "application/octet-stream"), ("Content-Length", str(length))]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"WARC/1.0\r\n{head}\r\n".encode() + record.block + b"\r\n\r\n"


def _compress(data: bytes) -> bytes:
    """One gzip member without a time stamp."""
    return zlib.compress(data, LEVEL, wbits=31)


def _spoil(member: bytes, fault: str | None) -> bytes:
    if fault == "truncated":
        return member[:TRUNCATED_AT]
    if fault == "damaged":
        middle = len(member) // 2
        flipped = bytes(byte ^ 0xFF for byte in member[middle : middle + FLIPPED])
        return member[:middle] + flipped + member[middle + FLIPPED :]
    return member
