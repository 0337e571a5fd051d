"""Stated priority: keys by hand, then which of duplicates stays in a run, against the plain reference."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.recipe import parse_recipe
from stages.base import UserError
from stages.prefer import columns, sort_keys
from stages.schema import DOC
from stages.sign import Sign
from tests.stages.dedup_corpus import corpus
from tests.stages.dedup_runner import CHAIN, run, source, write


def batch(documents: Sequence[tuple[int, str, str | None]]) -> pa.RecordBatch:
    """Documents of (priority of the source, text, date)."""
    rows = [
        {"doc_id": bytes([i]) * 16, "source": "s", "snapshot": "1", "lang": "en", "text": text, "date": date}
        | {"priority": priority}
        for i, (priority, text, date) in enumerate(documents)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DOC)


DOCUMENTS: list[tuple[int, str, str | None]] = [
    (0, "绿茶是茶", "2024-05-01"),
    (0, "green tea", "2024-04-30T23:59:59Z"),
    (0, "green tea again", None),
    (0, "茶", "yesterday"),
    (-1, "a", "1999-12-31"),
    (0, "b c d e", "2024-13-45"),
]


@pytest.mark.parametrize(
    "priority, order",
    [
        ([], [4, 0, 1, 2, 3, 5]),  # the source's alone; equal ones in the order of their ids
        (["length"], [4, 2, 1, 5, 0, 3]),
        (["-length"], [4, 3, 0, 5, 1, 2]),
        (["date"], [4, 0, 1, 2, 3, 5]),  # what has no date comes last
        (["-date"], [4, 1, 0, 2, 3, 5]),
        (["date", "length"], [4, 0, 1, 2, 5, 3]),
        (["quality", "length"], [4, 5, 2, 1, 0, 3]),  # words: 1, 4, 3, 2, then Chinese characters in one
    ],
)
def test_the_order_by_hand(priority: list[str], order: list[int]) -> None:
    documents = batch(DOCUMENTS)
    quality = "word_count" if "quality" in priority else ""
    keys = sort_keys(documents.select(columns(priority)), priority, quality)
    found = sorted(range(len(keys)), key=lambda i: (keys[i], i))
    if "quality" not in priority:
        assert found == order
    else:  # how many words Chinese has is not the question here
        assert [i for i in found if i not in (0, 3)] == [i for i in order if i not in (0, 3)]
    assert sort_keys(documents.slice(2), priority, quality).tolist() == keys.tolist()[2:]


def test_extremes_keep_their_order() -> None:
    dates = ["0001-01-01", "1970-01-01", "2149-06-05", "9999-12-31"]
    keys = sort_keys(
        batch([(p, "x", d) for p in (-512, 0, 511) for d in dates]), ["-date", "length", "quality"], "word_count"
    )
    by_source = [keys[i : i + 4].tolist() for i in (0, 4, 8)]
    assert [sorted(part) for part in by_source] == by_source
    assert max(by_source[0]) < min(by_source[1]) and max(by_source[1]) < min(by_source[2])


@pytest.mark.parametrize(
    "setting, complaint",
    [
        ("sign.priority=['lenght']", "priority has no 'lenght'; did you mean 'length'"),
        ("sign.priority=['length', '-length']", "names the same twice"),
        ("sign.priority=['quality']", 'quality = "word_count"'),
        ("sign.quality='word_count'", 'quality = "word_count"'),
        ("sign.priorty=[]", "unknown key 'priorty'; did you mean 'priority'"),
    ],
)
def test_mistakes_are_named(setting: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_recipe(source("s", [tmp_path]) + CHAIN, "wrong", [setting])


def test_an_unknown_signal_is_named() -> None:
    with pytest.raises(ValueError, match="unknown signal 'word_cuont'; did you mean 'word_count'"):
        Sign("sign", priority=("quality",), quality="word_cuont")
    with pytest.raises(ValueError, match="needs a list"):
        Sign("sign", priority=("quality",), quality="bad_word_count")


def test_a_source_beyond_the_range_is_named(tmp_path: Path) -> None:
    lines = write(tmp_path / "s.jsonl", [("en-1", "tea")])
    with pytest.raises(UserError, match=r"source s: beside a stated priority its own must lie in \[-512, 512\)"):
        run(tmp_path / "root", source("s", [lines], priority=512), settings=["sign.priority=['length']"])


def test_the_longest_stays_as_in_the_reference(tmp_path: Path) -> None:
    """The seeded corpus in both languages; the reference takes the length as it is."""
    lines = write(tmp_path / "s.jsonl", corpus(5))
    outcome = run(tmp_path / "root", source("s", [lines]), settings=["sign.priority=['length']"])
    plain = {doc: removal.kept for doc, removal in run(tmp_path / "plain", source("s", [lines])).gone.items()}
    outcome.documents = [replace(document, priority=-len(document.text)) for document in outcome.documents]
    outcome.check()
    assert {doc: removal.kept for doc, removal in outcome.gone.items()} != plain


def test_the_latest_copy_and_the_best_near_duplicate_stay(tmp_path: Path) -> None:
    words, han = " ".join(f"w{i}" for i in range(80)), "".join(chr(0x4E00 + 11 * i) for i in range(120))
    table = [
        ("en-old", words, "2020-01-01"),
        ("en-new", words, "2024-01-01"),
        ("en-more", words + " and more", "2019-01-01"),
        ("zh-old", han, "2020-01-01"),
        ("zh-new", han, "2024-01-01"),
        ("zh-more", han + "也好", "2019-01-01"),
    ]
    lines = [{"id": own, "lang": own[:2], "text": text, "date": date} for own, text, date in table]
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "s.jsonl").write_text(body, encoding="utf-8")
    sources = source("s", [tmp_path / "s.jsonl"])
    by_date = run(tmp_path / "root", sources, settings=["sign.priority=['date']"])
    by_length = run(tmp_path / "root", sources, settings=["sign.priority=['length', 'date']"])
    for lang in ("en", "zh"):
        assert by_date.fate(f"{lang}-new") == by_length.fate(f"{lang}-more") == ("kept", "")
        assert by_date.fate(f"{lang}-old") == ("exact_duplicate", f"{lang}-new")
        assert by_date.fate(f"{lang}-more") == ("near_duplicate", f"{lang}-new")
        assert by_length.fate(f"{lang}-new") == by_length.fate(f"{lang}-old") == ("near_duplicate", f"{lang}-more")
