"""Reading Parquet: row groups and types, texts that are no Unicode, columns that are missing or used twice."""

import io
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.base import UserError
from tests.stages.reading import TEXTS, Reading, parquet


def test_parquet_rows_over_row_groups_and_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array([*TEXTS, None, "", "最后"], pa.large_string()),
            "id": pa.array([1, 2, None, 4, 5, 6]),
            "lang": pa.array(["en", "zh", "en", None, "en", "zh"]).dictionary_encode(),
            "date": pa.array([datetime(2024, 1, 31, 12)] * 6, pa.timestamp("ns")),
            "unread": pa.array([[1]] * 6),
        }
    )
    found = Reading(tmp_path, "a.parquet", parquet(table, 2), kind="parquet", trust_lang=True)
    assert found.texts == [*TEXTS, "最后"]
    assert [doc["offset"] for doc in found.docs] == [0, 1, 2, 5]
    assert [doc["source_id"] for doc in found.docs] == ["1", "2", None, "6"]
    assert [doc["lang"] for doc in found.docs] == ["en", "zh", "en", "zh"]
    assert found.docs[0]["date"].startswith("2024-01-31 12:00:00")
    assert [doc["length"] for doc in found.docs[:2]] == [13 + 1 + 2 + 29, 27 + 1 + 2 + 29]  # bytes, not characters
    assert found.gone == [(3, "no_text"), (4, "empty")]


def test_parquet_text_that_is_not_unicode(tmp_path: Path) -> None:
    """Other writers do not always check what they call a string."""
    raw = pa.array([b"fine", b"a\xffb", "\u4e2d".encode()])
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    found = Reading(tmp_path, "a.parquet", parquet(pa.table({"text": text})), kind="parquet")
    assert found.texts == ["fine", "a\ufffdb", "中"]


def test_one_column_may_have_two_uses(tmp_path: Path) -> None:
    data = parquet(pa.table({"text": ["t"], "url": ["http://a/"]}))
    (doc,) = Reading(tmp_path, "a.parquet", data, kind="parquet", fields=(("id", "url"),)).docs
    assert (doc["source_id"], doc["url"]) == ("http://a/", "http://a/")


@pytest.mark.parametrize(
    "columns, fields, message",
    [
        ({"body": ["t"]}, (), "no column 'text'; it has body"),
        ({"text": ["t"]}, (("text", "body"),), "no column 'body'"),
        ({"text": ["t"]}, (("url", "link"),), "no column 'link'"),
        ({"text": [b"t"]}, (), "'text' is of type binary"),
        ({"text": [1]}, (), "'text' is of type int64"),
    ],
)
def test_a_missing_column_stops_the_run(
    tmp_path: Path, columns: dict[str, list], fields: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Reading(tmp_path, "a.parquet", parquet(pa.table(columns)), kind="parquet", fields=fields)


def test_a_damaged_parquet_file_is_a_record(tmp_path: Path) -> None:
    """Row groups before the damage are read; a file without its end has no readable row at all."""
    data = parquet(pa.table({"text": [f"{i} " * 300 for i in range(20)]}), 10)
    start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0).data_page_offset
    broken = data[: start + 20] + bytes(60) + data[start + 80 :]
    found = Reading(tmp_path, "a.parquet", broken, kind="parquet")
    assert (len(found.docs), found.gone) == (10, [(10, "damaged_archive")])
    for name, part in (("b.parquet", data[:-20]), ("c.parquet", b"no"), ("d.parquet", b"")):
        found = Reading(tmp_path, name, part, kind="parquet")
        assert (found.docs, found.gone) == ([], [(0, "damaged_archive")])
