"""Archives are damaged in every way, and read: what was not damaged must come out, and the bytes of records and losses
must add up to the size of the file."""

import gzip
import random
from collections.abc import Callable

import pytest
import zstandard

from tests.stages.warc_files import CONTAINERS, EN, NEXT, NOISE, RECORDS, ZH, read, record


def summary(data: bytes) -> tuple[str, list[str]]:
    """Numbers of the records found, with "~" behind truncated ones; reasons of the losses."""
    records, lost = read(data)
    numbers = (r.url.removeprefix("http://x.org/") + "~" * r.truncated for r in records)
    return " ".join(numbers), [item.reason for item in lost]


M = [gzip.compress(r) for r in RECORDS]
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
