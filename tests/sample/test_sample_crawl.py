"""The sample crawl as written: the same bytes from one seed, archives that other readers can read, faults where they
are said to be, and a gold table that fits."""

import gzip
import json
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.sample import GoldRow, generate, read_gold
from pipeline.sample.compose import NEAR_PAIR, jaccard
from pipeline.sample.crawl import FILES, PLANTERS, RECORDS
from pipeline.sample.documents import DECLARED

SMALL = 500
CATEGORIES = {
    *("article-en", "article-zh", "article-zh-hant", "digest", "forum", "exact-copy", "near-copy", "mirror", "charset"),
    *(
        "other-language",
        "gzip",
        "chunked",
        "wrong-length",
        "boilerplate",
        "spam",
        "list",
        "script-only",
        "empty",
        "huge",
    ),
    *("garbage", "http-error", "redirect", "request", "metadata", "revisit", "image", "pdf", "json", "plain-text"),
    *("damaged", "truncated", "warcinfo"),
}
LOST = {"damaged", "truncated", "wrong-warc-length"}
SOUND = (0, 3, 4)  # the files that no fault is planted in
Crawl = tuple[Path, list[GoldRow]]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Crawl:
    out = tmp_path_factory.mktemp("crawl")
    return out, generate(7, out, SMALL)


def member(crawl: Crawl, row: GoldRow) -> bytes:
    data = (crawl[0] / row.file).read_bytes()[row.offset : row.offset + row.length]
    return gzip.decompress(data)


def test_about_as_many_records_as_asked(crawl: Crawl) -> None:
    assert abs(len(crawl[1]) - SMALL) <= 20
    assert abs(sum(share for share, _ in PLANTERS) - RECORDS) <= 10


def test_same_seed_same_bytes(crawl: Crawl, tmp_path: Path) -> None:
    generate(7, tmp_path, SMALL)
    names = sorted(path.name for path in crawl[0].iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (tmp_path / name).read_bytes() == (crawl[0] / name).read_bytes(), name


def test_the_command_gives_the_bytes_of_the_function_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    command = [sys.executable, "-m", "pipeline.sample", "--seed", "3", "--records", "60", "--out", str(one)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    generate(3, two, 60)
    generate(4, other, 60)
    for name in ("sample-00000.warc.gz", "gold.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes() != (other / name).read_bytes()


def test_files_are_of_about_equal_size(crawl: Crawl) -> None:
    sizes = [path.stat().st_size for path in sorted(crawl[0].glob("*.warc.gz"))]
    assert len(sizes) == FILES >= 6
    assert max(sizes) < 1.3 * min(sizes)


def test_every_category_is_there(crawl: Crawl) -> None:
    assert CATEGORIES <= {row.category for row in crawl[1]}
    details = {row.detail for row in crawl[1] if row.category == "charset"}
    assert details == {f"{codec}-{case}" for case in DECLARED for codec in ("gbk", "gb18030", "big5")}


def test_addresses_are_unique_and_reserved(crawl: Crawl) -> None:
    urls = [row.url for row in crawl[1] if row.url is not None]
    assert len(urls) == len(set(urls)) == len(crawl[1]) - FILES
    assert all(".example/" in url for url in urls)


def test_every_sound_member_is_one_record(crawl: Crawl) -> None:
    for row in crawl[1]:
        if row.category in LOST:
            continue
        head, _, rest = member(crawl, row).partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert head.startswith(b"WARC/1.0\r\n")
        assert fields["WARC-Type"] == row.warc_type
        assert fields.get("WARC-Target-URI") == row.url
        assert int(fields["Content-Length"]) == len(rest) - 4 and rest.endswith(b"\r\n\r\n")


def test_members_fill_their_files(crawl: Crawl) -> None:
    out, gold = crawl
    for path in sorted(out.glob("*.warc.gz")):
        rows = sorted((row for row in gold if row.file == path.name), key=lambda row: row.offset)
        assert [row.offset for row in rows[1:]] == [row.offset + row.length for row in rows[:-1]]
        assert rows[0].offset == 0 and rows[-1].offset + rows[-1].length == path.stat().st_size
        assert rows[0].warc_type == "warcinfo"


def test_another_reader_agrees_on_undamaged_files(crawl: Crawl) -> None:
    out, gold = crawl
    for at in SOUND:
        rows = [row for row in gold if row.file == f"sample-{at:05d}.warc.gz"]
        assert not any(row.category in LOST for row in rows)
        with (out / rows[0].file).open("rb") as stream:
            records = [(r.headers.get("WARC-Target-URI"), r.stream_pos) for r in ArchiveIterator(stream)]
        assert records == [(row.url, row.offset) for row in rows]


def test_digests_are_right(crawl: Crawl) -> None:
    checked = []
    for at in SOUND:
        with (crawl[0] / f"sample-{at:05d}.warc.gz").open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                checked.append(record.verify_payload_digest())
    assert len(checked) > 100 and all(checked)


def test_faults_are_where_the_gold_says(crawl: Crawl) -> None:
    by_category = {category: [row for row in crawl[1] if row.category == category] for category in LOST}
    for row in by_category["damaged"]:
        data = (crawl[0] / row.file).read_bytes()
        with pytest.raises((OSError, EOFError, zlib.error)):
            member(crawl, row)
        assert row.offset + row.length < len(data)  # a sound member follows
        assert data[row.offset + row.length :].startswith(b"\x1f\x8b\x08")
    (last,) = by_category["truncated"]
    assert last.file == f"sample-{FILES - 1:05d}.warc.gz"
    with pytest.raises(EOFError):
        member(crawl, last)
    for row in by_category["wrong-warc-length"]:
        head, _, rest = member(crawl, row).partition(b"\r\n\r\n")
        stated = int(head.rpartition(b"Content-Length: ")[2])
        assert stated < len(rest) - 4 if row.detail == "short-length" else stated > len(rest)


def test_huge_page_is_small_in_its_archive(crawl: Crawl) -> None:
    (row,) = (row for row in crawl[1] if row.category == "huge")
    assert row.length < 1_000_000
    assert len(member(crawl, row)) > 59_000_000


def test_gold_files_hold_the_same_rows(crawl: Crawl) -> None:
    out, gold = crawl
    assert read_gold(out) == gold
    lines = [json.loads(line) for line in (out / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["url"] for line in lines] == [row.url for row in gold]
    assert pq.ParquetFile(out / "gold.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_gold_is_consistent(crawl: Crawl) -> None:
    groups = Counter(row.group for row in crawl[1] if row.group)
    assert groups and min(groups.values()) >= 2
    for row in crawl[1]:
        assert (row.fate == "one_of") == (row.group is not None)
        assert row.fates and row.fate in (*row.fates, "one_of")
        if row.fate in ("kept", "one_of"):
            assert row.text and row.main_sha and row.lang in ("en", "zh")
            assert (row.script in ("hans", "hant")) == (row.lang == "zh")
    assert {row.lang for row in crawl[1] if row.category == "other-language"} == {"de", "es", "fr", "ja", "ko", "ru"}


def test_clusters_are_alike(crawl: Crawl) -> None:
    clusters: dict[str, list[GoldRow]] = {}
    for row in crawl[1]:
        if row.group:
            clusters.setdefault(row.group, []).append(row)
    for rows in clusters.values():
        texts = [row.text or "" for row in rows]
        if rows[0].category == "near-copy":
            scores = [jaccard(a, b, rows[0].lang or "") for at, a in enumerate(texts) for b in texts[:at]]
            assert min(scores) >= NEAR_PAIR and max(scores) < 1
        else:
            assert len(set(texts)) == 1
        bodies = {member(crawl, row).partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2] for row in rows}
        assert len(bodies) == (1 if rows[0].category == "exact-copy" else len(rows))


def test_charset_pages_carry_their_text(crawl: Crawl) -> None:
    for row in crawl[1]:
        if row.category == "charset":
            block = member(crawl, row).partition(b"\r\n\r\n")[2]
            page = block.partition(b"\r\n\r\n")[2].decode(row.detail.split("-")[0])
            assert (row.text or "").split("\n")[-1] in page
            with pytest.raises(UnicodeDecodeError):
                block.decode("utf-8")
