"""Archives in every container are read: the same records must come out. Real ones have the records that they should."""

import io
import zlib
from pathlib import Path

import pytest

from stages.warc import read_records
from tests.stages.warc_files import CONTAINERS, PAGES, RECORDS, read


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
