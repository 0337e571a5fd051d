"""Repeated lines and passages, from JSON lines to texts without them, against the definitions in plain Python."""

import random
from functools import partial
from pathlib import Path

import pytest

from manifests.shards import read_batches
from manifests.verify import verify
from pipeline.driver import Result
from pipeline.recipe import load_recipe, parse_recipe
from stages import lines, paragraphs, substring, windows
from stages.base import UserError
from tests.runs import run_recipe
from tests.stages.dedup_runner import rows, source
from tests.stages.passages import CHAIN, check, corpus, run, said, write


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    made = corpus(1)
    write(folder / "a" / "1.jsonl", made[:25])
    write(folder / "a" / "2.jsonl", made[25:40])
    write(folder / "b" / "1.jsonl", made[40:])
    return folder


def sources(inputs: Path) -> list[str]:
    return [source("a", [inputs / "a"], priority=5), source("b", [inputs / "b"])]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("first")
    return root, run(root, *sources(inputs))


def test_a_run_does_what_the_definitions_say(first: tuple[Path, Result]) -> None:
    check(*first)
    reasons = {cut["reason"] for cut in rows(*first, "apply", "cuts")}
    assert reasons == {"duplicate_line", "boilerplate_line", "duplicate_passage"}
    assert verify(str(first[0])).faults == ()


def test_neither_ranges_nor_buckets_nor_batches_change_anything(
    first: tuple[Path, Result], inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paragraphs, "MEMORY_PER_BYTE", 900_000)
    monkeypatch.setattr(paragraphs, "BUCKET_ROWS", 7)
    monkeypatch.setattr(substring, "MEMORY_PER_BYTE", 60_000)
    monkeypatch.setattr(substring, "BUCKET_ROWS", 5)
    monkeypatch.setattr(substring, "KEYS", 20)
    monkeypatch.setattr(substring, "CHUNK_ROWS", 10)
    monkeypatch.setattr(substring, "SPANS_PER_FILE", 40)
    monkeypatch.setattr(windows, "BATCH_BYTES", 2_000)
    monkeypatch.setattr(windows, "BYTES_PER_FILE", 30_000)
    monkeypatch.setattr(lines, "ROWS_PER_FILE", 10)
    monkeypatch.setattr(lines, "read_batches", partial(read_batches, limit=2_000))
    other = run(tmp_path, *reversed(sources(inputs)))
    assert min(other.ran["paragraphs"], other.ran["substring"]) >= 2
    assert len(other.rows["windows"]) > other.ran["windows"] and len(other.rows["lines"]) > other.ran["lines"]
    for stage in ("paragraphs", "boilerplate", "substring"):
        assert said(tmp_path, other, stage) == said(*first, stage)
    assert sorted(r.digest for r in other.rows["apply"]) == sorted(r.digest for r in first[1].rows["apply"])


def test_other_texts_in_other_files(tmp_path: Path) -> None:
    made = corpus(2)
    random.Random(7).shuffle(made)
    root = tmp_path / "root"
    check(root, run(root, source("x", [write(tmp_path / "x.jsonl", made)])))


def test_a_later_snapshot_changes_nothing_before_it(first: tuple[Path, Result], inputs: Path, tmp_path: Path) -> None:
    new = source("c", [write(tmp_path / "c.jsonl", corpus(3)[:12] + corpus(1)[:3])], snapshot="10", priority=-9)
    second = run(tmp_path / "root", *sources(inputs), new)
    check(tmp_path / "root", second)
    for stage in ("paragraphs", "substring", "apply"):
        before = sorted(r.digest for r in first[1].rows[stage])
        assert sorted(r.digest for r in second.rows[stage] if r.snapshot == "9") == before


def test_characters_and_repeats_within_a_document(tmp_path: Path) -> None:
    """MAP-Neo's measure: 50 characters; a text of exactly 50 is a passage, one of 49 is none."""
    fifty = "".join(chr(0x4E00 + 37 * i) for i in range(50))
    made = [("a", "甲" + fifty + "乙"), ("b", fifty), ("c", fifty[:49]), ("d", f"x {fifty[:49]} {fifty} {fifty} y")]
    rows_made = [{"id": name, "lang": "zh", "text": text} for name, text in made]
    chain = """
[[stage]]
use = "read"
[[stage]]
use = "windows"
length = 50
unit = "character"
[[stage]]
use = "substring"
inside = true
[[stage]]
use = "apply"
after = ["read", "substring"]
spans = true
sentences = false
min_chars = 1
"""
    where = [
        source(row["id"], [write(tmp_path / row["id"] / "x.jsonl", [row])], priority=i)
        for i, row in enumerate(rows_made)
    ]
    result = run(tmp_path / "root", *where, chain=chain)
    left = {d["source_id"]: d["text"] for d in rows(tmp_path / "root", result, "apply", "docs")}
    # The spaces went too: 50 characters with one of them occurred twice.
    assert left == {"a": made[0][1], "c": made[2][1], "d": f"x {fifty[:49]}y"}
    gone = rows(tmp_path / "root", result, "apply", "dropped")
    assert [(d["source_id"], d["reason"], d["value"]) for d in gone] == [("b", "too_short_after_cuts", 0)]


@pytest.mark.parametrize(
    "change, message",
    [
        ("spans = true", "spans = true is needed"),
        ('"substring"]\nspans', "so all copies of one might go"),
    ],
)
def test_mistakes_of_a_recipe(change: str, message: str, tmp_path: Path) -> None:
    """Passages need spans = true; and documents cannot go where passages of theirs may be the last copies."""
    chain = '[[stage]]\nuse = "read"\n[[stage]]\nuse = "sign"\n[[stage]]\nuse = "exact"\n' + CHAIN.split("\n", 3)[3]
    chain = chain.replace('use = "lines"\nmin', 'use = "lines"\nafter = ["read"]\nmin')
    if change == "spans = true":
        chain = chain.replace("spans = true\n", "")
    else:
        chain = chain.replace('"substring"]\n', '"substring", "exact"]\n')
    where = source("x", [write(tmp_path / "x.jsonl", corpus(1)[:4])])
    with pytest.raises(UserError, match=message):
        run(tmp_path / "root", where, chain=chain)


@pytest.mark.parametrize(
    "stage, message",
    [
        ('use = "lines"\nwithin = "site"', "within must be"),
        ('use = "lines"\nmin_bytes = 0', "min_bytes must be above 0"),
        ('use = "paragraphs"\nmin_docs = 0', "min_docs must be above 0"),
        ('use = "windows"\nunit = "token"', "unit must be"),
        ('use = "windows"\nlength = 5', "length must lie between 8 and 4096"),
        ('use = "apply"\nmin_chars = 0', "min_chars must be above 0"),
        ('use = "apply"\nspans = true\nmax_cut_ratio = 0.9', "max_cut_ratio must be 1"),
        ('use = "similar"\nratio = 0.5', "ratio must lie between 0 and 0.3"),
    ],
)
def test_mistakes_in_fields(stage: str, message: str, tmp_path: Path) -> None:
    where = source("x", [write(tmp_path / "x.jsonl", corpus(1)[:1])])
    with pytest.raises(UserError, match=message):
        parse_recipe(f'{where}[[stage]]\nuse = "read"\n[[stage]]\n{stage}\n', "test")


@pytest.mark.parametrize("name", ["matrix-dedup-en", "matrix-dedup-zh"])
def test_the_chains_of_the_paper(name: str, tmp_path: Path) -> None:
    made = corpus(4)
    sentence = "我们沿着古老的城墙走，一直走到路的尽头，那里有一扇门"
    made.append(
        {"id": "own", "lang": "zh", "text": f"{sentence}。\n中间的一段话，与别处不同。\n{sentence}！", "url": ""}
    )
    made.append(made[0] | {"id": "copy"})
    recipe = load_recipe(name, (), [str(write(tmp_path / "x.jsonl", made))])
    result = run_recipe(recipe, tmp_path / "root")
    last = result.rows[recipe.stages[-1].name]
    counts = {key.split("/")[0] for row in last for key, _ in row.counters}
    assert {"in", "kept"} <= counts and verify(str(tmp_path / "root")).faults == ()
    if name.endswith("zh"):
        texts = {d["source_id"]: d["text"] for d in rows(tmp_path / "root", result, "similar", "docs")}
        assert texts["own"] == f"{sentence}。\n中间的一段话，与别处不同。"
