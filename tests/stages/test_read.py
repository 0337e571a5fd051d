"""Reading JSONL and Parquet: what becomes a document, what is dropped and why, and what stops the run."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from manifests.balance import total
from stages import read as read_module
from stages import records
from stages.base import UserError
from tests.stages.reading import LINES, TEXTS, Reading, parquet


def zst(*parts: bytes) -> bytes:
    """Each part as a frame."""
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.jsonl", LINES),
        ("a.jsonl", LINES.rstrip(b"\n")),
        ("a.jsonl", LINES.replace(b"\n", b"\r\n")),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl.gz", gzip.compress(LINES[:20]) + gzip.compress(LINES[20:])),
        ("a.jsonl.zst", zst(LINES)),
        ("a.jsonl.zstd", SKIPPABLE + zst(LINES[:20], LINES[20:]) + SKIPPABLE),
    ],
)
def test_the_same_lines_from_every_kind_of_file(tmp_path: Path, name: str, data: bytes) -> None:
    found = Reading(tmp_path, name, data)
    assert found.texts == TEXTS
    assert [doc["source_id"] for doc in found.docs] == ["0", "1", "2"]
    assert [doc["offset"] for doc in found.docs] == [0, 1, 2]
    assert found.gone == []


@pytest.mark.parametrize(
    "line, outcome",
    [
        (b'{"text": "kept"}', "kept"),
        (b'{"text": "\xe7\x95\x99"}', "留"),
        (b'{"text": "cut', "not_json"),
        (b'["text", "a list"]', "not_json"),
        (b'"a string"', "not_json"),
        (b"null", "not_json"),
        (b'{"text": "\xff"}', "\ufffd"),
        (b"[" * 100_000, "not_json"),
        (b'{"text": "x", "id": ' + b"1" * 5000 + b"}", "not_json"),
        (b'{"id": 7}', "no_text"),
        (b'{"text": null}', "no_text"),
        (b'{"text": ["a"]}', "no_text"),
        (b'{"text": ""}', "empty"),
        ('{"text": " \\n\u3000"}'.encode(), "empty"),
        (b'{"text": "longer than thirty bytes, which is the limit"}', "too_large"),
        # JSON can spell half of a surrogate pair, which is no character.
        (b'{"text": "a\\ud800b"}', "a\ufffdb"),
        (b'{"text": "\\ud83d\\ude00 \\u4e2d"}', "😀 中"),
    ],
)
def test_each_line_is_a_document_or_has_a_reason(tmp_path: Path, line: bytes, outcome: str) -> None:
    """A blank line is no record, but it counts as a line."""
    found = Reading(tmp_path, "a.jsonl", b'{"text": "before"}\n\n' + line + b'\n{"text": "after"}\n', max_bytes=30)
    reasons = ("not_json", "no_text", "empty", "too_large")
    assert found.gone == ([(2, outcome)] if outcome in reasons else [])
    assert found.texts == ["before", *([] if outcome in reasons else [outcome]), "after"]
    assert total(found.rows)["in/src/?/docs"] == 3


@pytest.mark.parametrize(
    "name, data, whole",
    [
        ("cut.jsonl.gz", gzip.compress(LINES)[:-9], 0),
        ("cut.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES)[:-9], 3),
        ("crc.jsonl.gz", gzip.compress(LINES)[:-8] + b"\0" * 8, 3),
        ("tail.jsonl.gz", gzip.compress(LINES) + b"not gzip", 3),
        ("no.jsonl.gz", b"not gzip at all", 0),
        # zstandard's own reader passes over a missing end without a word.
        ("cut.jsonl.zst", zst(LINES)[:-1], 0),
        ("cut.jsonl.zst", zst(LINES) + zst(LINES)[:-1], 3),
        ("tail.jsonl.zst", zst(LINES) + b"not zstd", 3),
    ],
)
def test_damage_ends_a_compressed_file_with_a_record(tmp_path: Path, name: str, data: bytes, whole: int) -> None:
    """What was whole before it stays; of the damaged part, whatever lines the library still gives."""
    found = Reading(tmp_path, name, data)
    ((number, reason),) = found.gone
    assert reason == "damaged_archive"
    assert found.texts == (TEXTS * 2)[:number]
    assert number >= whole


def test_a_zstd_file_with_a_large_window(tmp_path: Path) -> None:
    """As `zstd --long` writes it: a frame whose header asks for 2^28 bytes, and one block of raw bytes."""
    frame = (
        b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(28 - 10) << 3]) + (len(LINES) << 3 | 1).to_bytes(3, "little") + LINES
    )
    assert Reading(tmp_path, "a.jsonl.zst", frame).texts == TEXTS


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_line_above_the_limit_goes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: bytes) -> None:
    monkeypatch.setattr(records, "LINE_LIMIT", 1000)
    long = b'{"text": "' + b"x" * 5000 + b'"}' + ending
    fits = b'{"text": "' + b"y" * 987 + b'"}'
    found = Reading(tmp_path, "a.jsonl", LINES + fits + b"\n" + long)
    assert found.texts == [*TEXTS, "y" * 987]
    assert found.gone == [(4, "too_large")]
    assert found.dropped[0]["length"] == len(long)
    assert Reading(tmp_path, "b.jsonl", long + (ending and LINES)).texts == (TEXTS if ending else [])


@pytest.mark.parametrize(
    "name, kind, data",
    [
        ("a.jsonl", "jsonl", b""),
        ("a.jsonl", "jsonl", b"\n \n"),
        ("a.jsonl.gz", "jsonl", gzip.compress(b"")),
        ("a.jsonl.zst", "jsonl", zst(b"")),
        ("a.parquet", "parquet", parquet(pa.table({"text": pa.array([], pa.string())}))),
    ],
)
def test_a_file_without_rows_gives_no_documents(tmp_path: Path, name: str, kind: str, data: bytes) -> None:
    found = Reading(tmp_path, name, data, kind=kind)
    assert (found.docs, found.dropped, dict(found.counts)) == ([], [], {})


def test_fields_are_named_by_the_recipe(tmp_path: Path) -> None:
    line = {"body": "正文", "text": "not this", "link": "HTTP://Example.ORG:80/a", "key": "k1", "l": "zh", "when": 2024}
    fields = (("date", "when"), ("id", "key"), ("lang", "l"), ("text", "body"), ("url", "link"))
    (doc,) = Reading(tmp_path, "a.jsonl", json.dumps(line).encode(), fields=fields, trust_lang=True, priority=3).docs
    assert {name: doc[name] for name in ("text", "url", "host", "source_id", "lang", "date", "priority")} == {
        "text": "正文",
        "url": "HTTP://Example.ORG:80/a",
        "host": "example.org",
        "source_id": "k1",
        "lang": "zh",
        "date": "2024",
        "priority": 3,
    }


def test_a_field_that_does_not_exist_in_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no 'body'.*text, id, url, lang, date"):
        Reading(tmp_path, "a.jsonl", LINES, fields=(("body", "text"),))


@pytest.mark.parametrize(
    "lang, trusted, expected",
    [
        ("en", True, "en"),
        ("zh-Hans", True, "zh-Hans"),
        ("en", False, "?"),
        (None, True, "?"),
        ("", True, "?"),
        (5, True, "?"),
        ("zh/cn", True, "?"),  # a slash would break the names of counters
        ("English, mostly", True, "?"),
    ],
)
def test_a_label_counts_only_from_a_trusted_source(tmp_path: Path, lang: Any, trusted: bool, expected: str) -> None:
    found = Reading(tmp_path, "a.jsonl", json.dumps({"text": "t", "lang": lang}).encode(), trust_lang=trusted)
    assert found.docs[0]["lang"] == expected
    assert found.counts[f"kept/src/{expected}/docs"] == 1


@pytest.mark.parametrize(
    "fields, source_id, url, date",
    [
        ({"id": 12}, "12", None, None),
        ({"id": 0, "url": 5, "date": 20240131}, "0", None, "20240131"),
        ({"id": "\ud800", "url": "http://[bad/", "date": None}, "\ufffd", "http://[bad/", None),
    ],
)
def test_other_fields_are_taken_as_they_can_be(
    tmp_path: Path, fields: dict[str, Any], source_id: str, url: str | None, date: str | None
) -> None:
    (doc,) = Reading(tmp_path, "a.jsonl", json.dumps({"text": "t"} | fields).encode()).docs
    assert (doc["source_id"], doc["url"], doc["date"], doc["host"]) == (source_id, url, date, None)


def test_ids_follow_from_source_file_line_and_url(tmp_path: Path) -> None:
    """The same text again is another document; the source's own id has no part in it."""
    data = b'{"text": "t", "url": "http://a/\xe4\xb8\xad", "id": 1}\n{"text": "t", "url": "http://a/", "id": 1}\n'
    ids = [doc["doc_id"] for doc in Reading(tmp_path, "a.jsonl", data).docs]
    spelled = [r'["src", "a.jsonl", 0, "http://a/\u4e2d"]', '["src", "a.jsonl", 1, "http://a/"]']
    assert ids == [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in spelled]


def test_batches_are_no_part_of_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"".join(b'{"text": "%d"}\n{"x": 1}\n' % i for i in range(50))
    whole = Reading(tmp_path, "a.jsonl", lines)
    monkeypatch.setattr(read_module, "BATCH_BYTES", 40)
    monkeypatch.setattr(read_module, "BATCH_ROWS", 3)
    (tmp_path / "other").mkdir()
    parts = Reading(tmp_path / "other", "a.jsonl", lines)
    assert [row.digest for row in parts.rows] == [row.digest for row in whole.rows]
    assert (len(whole.docs), len(whole.dropped)) == (50, 50)
