"""Probes: true similarities by hand and against the kernels, what a run writes about them, and that they are no part of
the corpus."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.jaccard import jaccard_sorted
from dedup.shingles import shingle_sets
from manifests.latest import open_run
from manifests.shards import read_batches
from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.driver import Result
from pipeline.recipe import parse_recipe
from stages import probe
from stages.base import UserError
from stages.edits import edited, jaccard, shingles
from stages.probe import Probe, bins, chosen_shards, quotas
from tests.runs import run_recipe
from tests.stages.dedup_corpus import corpus, spelled, units
from tests.stages.dedup_runner import CHAIN, source, write

PROBE = '[[stage]]\nuse = "probe"\nafter = ["read", "verify"]\n'


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ("a b c d e f g", "a b c d e f g", 1.0),
        ("a b c d e f g", "A, b c-d e f. g!", 1.0),  # case and punctuation are no part of words
        ("a b c d e f g", "a b c d e f h", 2 / 4),  # three shingles each, the last one differs
        ("a b c d e f g", "h a b c d e f", 2 / 4),
        ("one two", "one two", 1.0),  # fewer than five: one shingle of all
        ("one two", "one", 0.0),
        ("一二三四五六七", "一二三四五六八", 2 / 4),
        ("一二三 四五六七", "一二三四五六七", 1.0),
        ("", "", 0.0),
    ],
)
def test_true_similarity(a: str, b: str, expected: float) -> None:
    assert jaccard(shingles(a), shingles(b)) == expected


TEXTS = st.text(alphabet="abAΣςİ é'-1 \n\u3000\u00a0，。的一二カไ", max_size=80)


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_true_similarity_is_that_of_the_kernels(a: str, b: str) -> None:
    offsets, hashes = shingle_sets(pa.array([a, b], pa.string()))
    assert jaccard(shingles(a), shingles(b)) == jaccard_sorted(offsets, hashes, np.array([0]), np.array([1]))[0]


@pytest.mark.parametrize("lang", ["en", "zh", "mx"])
def test_copies_have_all_similarities(lang: str) -> None:
    """The edit aims at [0.5, 1]; repeated words and neighbouring places make it miss by a little."""
    text = spelled(lang, units(random.Random(1), lang, 300))
    found = [jaccard(shingles(text), shingles(edited(text, random.Random(seed)))) for seed in range(200)]
    assert min(found) > 0.4 and max(found) > 0.95
    assert min(np.histogram(found, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])[0]) >= 15
    assert edited(text, random.Random(5)) == edited(text, random.Random(5)) != edited(text, random.Random(6))


@pytest.mark.parametrize("text", ["", "too short " * 20, "太短了" * 16])
def test_short_texts_have_no_copy(text: str) -> None:
    assert edited(text, random.Random(1)) == ""


@pytest.mark.parametrize("text", ["long " * 50, "长" * 50])
def test_fifty_units_have_one(text: str) -> None:
    assert edited(text, random.Random(1))


def test_the_threshold_ends_a_range() -> None:
    assert bins(0.8) == bins(1.0) == bins(0.0) == [0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1]
    assert bins(0.83)[7:10] == [0.8, 0.83, 0.85]


def shard(key: str, **docs: int) -> Shard:
    """A file of documents with so many of each language."""
    counters = tuple((f"kept/s/{lang}/docs", count) for lang, count in docs.items())
    rows = sum(docs.values())
    return Shard("read", "id", key, key, "docs", "docs", key, rows, f"{key}.parquet", counters=counters)


def test_how_many_are_probed() -> None:
    rows = [shard("a", en=30_000, zh=50, fr=7), shard("b", en=30_000, de=6, und=5)]
    assert quotas(rows, 2000) == {"de": 100, "en": 300, "fr": 100, "zh": 100}
    assert quotas(rows, 150) == {"de": 100, "en": 150, "fr": 100, "zh": 100}


def test_as_many_shards_as_are_needed() -> None:
    rows = [shard(str(i), en=40) for i in range(9)] + [shard("z", zh=3), shard("y", fr=99)]
    chosen = chosen_shards(rows, {"en": 100, "zh": 100})
    assert sorted(row.task_key for row in chosen if row.task_key in "yz") == ["z"]
    assert len(chosen) == 4
    assert chosen == chosen_shards(rows[::-1], {"en": 100, "zh": 100})


def complete(folder: Path, text: str, settings: tuple[str, ...] = ()) -> Result:
    """Run the chain over the seeded corpus."""
    lines = write(folder / "in.jsonl", corpus(5))
    recipe = parse_recipe(source("in", [lines]) + text, "probes", settings)
    return run_recipe(recipe, folder / "root")


def table(folder: Path, result: Result) -> list[dict]:
    """What the probes of a run found."""
    paths = [row.path for row in result.rows["probe"] if row.output == "probes"]
    storage = open_storage(str(folder / "root"))
    return [row for path in paths for batch in read_batches(storage, path or "") for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("probe")
    return folder, complete(folder, CHAIN + PROBE)


def test_probes_are_no_part_of_the_corpus(first: tuple[Path, Result], tmp_path: Path) -> None:
    _, probed = first
    plain = complete(tmp_path, CHAIN)
    assert (plain.root, plain.tokens) == (probed.root, probed.tokens)
    counts = {name: {(r.output, r.rows) for r in rows} for name, rows in probed.rows.items() if name != "probe"}
    assert counts == {name: {(r.output, r.rows) for r in rows} for name, rows in plain.rows.items()}
    assert {row.kind for row in probed.rows["probe"]} == {"side"}


def test_what_is_found(first: tuple[Path, Result]) -> None:
    folder, result = first
    rows = table(folder, result)
    assert {row["lang"] for row in rows} >= {"en", "zh"}
    for row in rows:
        assert row["pairs"] >= row["proposed"] >= row["likely"] >= row["verified"]
        if not row["similar"]:
            assert row["verified"] == 0
        elif row["low"] > 0.84:
            assert row["verified"] == row["pairs"]  # the bands propose 99.97 % at 0.85
    proposed, expected = (sum(row[name] for row in rows) for name in ("proposed", "expected"))
    assert abs(proposed - expected) < 4 * np.sqrt(sum(row["pairs"] for row in rows)) / 2
    made = sum(row.count().get("probes", 0) for row in result.rows["probe"])
    assert sum(row["pairs"] for row in rows) == made > 100


def test_it_runs_once(first: tuple[Path, Result]) -> None:
    folder, result = first
    assert result.ran["probe"] == 1
    assert complete(folder, CHAIN + PROBE).ran["probe"] == 0
    assert {s.use for s in open_run(str(folder / "root")).stages} >= {"probe", "apply"}


def test_none_where_none_are_wanted(tmp_path: Path) -> None:
    result = complete(tmp_path, CHAIN + PROBE, ("probe.documents=0",))
    assert (result.ran["probe"], result.rows["probe"]) == (0, [])


@pytest.mark.parametrize("kernel, name", [("signatures", "recall"), ("jaccard_sorted", "precision")])
def test_a_wrong_kernel_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, name: str) -> None:
    real = getattr(probe, kernel)

    def wrong(*arguments: object) -> object:
        found = real(*arguments)
        if kernel == "signatures":
            values, filled = found
            return values ^ np.arange(len(values), dtype=np.uint32)[:, None], filled
        return np.ones_like(found)

    monkeypatch.setattr(probe, kernel, wrong)
    rows = table(tmp_path, complete(tmp_path, CHAIN + PROBE))
    similar = [row for row in rows if row["similar"]]
    right = sum(row["verified"] for row in similar)
    if name == "recall":
        assert right < 0.1 * sum(row["pairs"] for row in similar)
    else:
        assert right < 0.9 * sum(row["verified"] for row in rows)


def test_it_has_the_fields_of_the_search(tmp_path: Path) -> None:
    given = ("sign.bands=25", "sign.rows=5", "match.floor=0.4", "verify.threshold=0.7")
    recipe = parse_recipe(source("in", [tmp_path]) + CHAIN + PROBE, "fields", given)
    (made,) = [stage for stage in recipe.stages if isinstance(stage, Probe)]
    assert made.sign and made.match and made.verify
    assert (made.sign.bands, made.sign.rows, made.match.floor, made.verify.threshold) == (25, 5, 0.4, 0.7)
    # What the stages above are is in their ids, which are part of this stage's.
    assert replace(made, sign=None, match=None, verify=None).stage_id(["a"]) == made.stage_id(["a"])


@pytest.mark.parametrize("after", ['["read"]', '["verify"]', '["read", "match"]', '["read", "cluster"]'])
def test_it_must_be_told_what_to_probe(tmp_path: Path, after: str) -> None:
    with pytest.raises(UserError, match="stage probe: `after` must name the stage whose documents are signed, and one"):
        parse_recipe(source("in", [tmp_path]) + CHAIN + f'[[stage]]\nuse = "probe"\nafter = {after}\n', "wrong")
