"""The chain sign - exact - match - shingles - verify - cluster - apply, run by the driver, against the plain reference.

Every claim about the seeded corpus holds for whatever the reference says, so another seed must pass as well.
"""

import json
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from manifests.shards import read_batches
from manifests.storage import Storage, open_storage
from pipeline.driver import Driver
from pipeline.local import LocalExecutor
from pipeline.recipe import parse_recipe
from stages import blocks, cluster, exact, match, ranges, shingles, sign, verify
from stages.base import Stage, Task, UserError
from tests.conftest import REPO
from tests.stages.dedup_corpus import corpus, edited, planted, spelled, units
from tests.stages.dedup_reference import jaccard
from tests.stages.dedup_reference import shingles as shingle_set
from tests.stages.dedup_runner import CHAIN, Outcome, run, source, write

PLANTED = planted(8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of the first snapshot, which is called 9."""
    folder = tmp_path_factory.mktemp("inputs")
    lines = corpus(5)
    for name, part in (("a", lines[::2]), ("b", lines[1::2])):
        write(folder / name / "1.jsonl", part + [(own, text) for where, own, text, _, _ in PLANTED if where == name])
    return folder


def sources(inputs: Path, *more: str) -> list[str]:
    """The sources of the first snapshot; b is preferred to a."""
    return [source("a", [inputs / "a"], priority=7), source("b", [inputs / "b"]), *more]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Outcome:
    """The run of the first snapshot."""
    return run(tmp_path_factory.mktemp("first"), *sources(inputs))


def test_fates_are_those_of_the_reference(first: Outcome) -> None:
    first.check()
    reasons = [removal.reason for removal in first.gone.values()]
    assert min(reasons.count("exact_duplicate"), reasons.count("near_duplicate")) > 20


@pytest.mark.parametrize("own, reason, kept", [row[1:2] + row[3:] for row in PLANTED])
def test_fates_that_follow_by_hand(first: Outcome, own: str, reason: str, kept: str) -> None:
    assert first.fate(own) == (reason, kept)


def test_every_removal_names_a_kept_document_that_is_as_similar_as_it_says(first: Outcome) -> None:
    texts = {document.doc_id: document.text for document in first.documents}
    for doc, removal in first.gone.items():
        assert removal.kept in first.kept
        if removal.reason == "exact_duplicate":
            assert texts[doc] == texts[removal.kept]
        else:
            assert removal.score == jaccard(shingle_set(texts[doc]), shingle_set(texts[removal.kept])) >= 0.8


def test_the_books_of_apply_say_the_same(first: Outcome) -> None:
    counts: dict[str, int] = {}
    for row in first.result.rows["apply"]:
        for key, value in row.counters:
            if "/docs" in key:
                counts[key.split("/")[0]] = counts.get(key.split("/")[0], 0) + value
    assert counts == {"in": len(first.documents), "kept": len(first.kept), "dropped": len(first.gone)}


def test_the_listing_order_of_inputs_changes_nothing(first: Outcome, inputs: Path) -> None:
    again = run(first.root, *reversed(sources(inputs)))
    assert again.result.root == first.result.root
    assert set(again.result.ran.values()) == {0}


@pytest.mark.parametrize("batch", [50_000, 2_000])
def test_neither_ranges_nor_batches_nor_the_number_of_files_change_anything(
    first: Outcome, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(exact, "MEMORY_PER_BYTE", 500_000)
    monkeypatch.setattr(match, "MEMORY_PER_BYTE", 25_000)
    monkeypatch.setattr(match, "PIECE_ROWS", 3)
    monkeypatch.setattr(match, "PART_BYTES", batch // 10)
    monkeypatch.setattr(match, "ROWS_PER_FILE", 40)
    monkeypatch.setattr(verify, "MEMORY_PER_BYTE", 5_000)
    monkeypatch.setattr(verify, "BATCH_BYTES", batch)
    monkeypatch.setattr(ranges, "OPEN_BYTES", 1)
    large: dict[str, list[bool]] = {"bands": [], "shingles": []}

    def parts_of(storage: Storage, task: Task, output: str, least: int) -> list[tuple[tuple[int, int], bool]]:
        found = ranges.parts_of(storage, task, output, least)
        large[output].extend(is_large for _, is_large in found)
        return found

    for stage in (match, verify):
        monkeypatch.setattr(stage, "parts_of", parts_of)
    monkeypatch.setattr(blocks, "BLOCK_EDGES", 9)
    monkeypatch.setattr(cluster, "VERDICTS_PER_FILE", 5)
    monkeypatch.setattr(sign, "read_batches", partial(read_batches, limit=10_000))
    monkeypatch.setattr(sign, "DOCS_PER_FILE", 100)
    monkeypatch.setattr(shingles, "BATCH_BYTES", 10_000)
    monkeypatch.setattr(shingles, "BYTES_PER_FILE", 600_000)
    other = run(tmp_path, *sources(inputs))
    assert min(other.result.ran[stage] for stage in ("exact", "match", "verify")) >= 2
    for stage, output in (("match", "bands"), ("verify", "shingles")):
        assert len(large[output]) > other.result.ran[stage]
        assert any(large[output]) == (batch < 50_000)
    assert len([row for row in other.result.rows["sign"] if row.output == "content"]) > other.result.ran["sign"]
    assert len([row for row in other.result.rows["cluster"] if row.output == "verdicts"]) > 2
    assert len(other.result.rows["shingles"]) > other.result.ran["shingles"]
    assert (other.gone, other.proposed) == (first.gone, first.proposed)
    assert other.result.root == first.result.root


def test_other_lines_in_other_files_with_normalised_copies(tmp_path: Path) -> None:
    """Ids follow from files and lines, so this is another corpus; fates must again be those of the reference.

    Normalised copies may have other shingles, as here, where words are joined: what `exact` removed must not take a
    third document with it.
    """
    rng = random.Random(4)
    base = units(rng, "en", 120)
    joined = "".join(base[:60]) + " " + " ".join(base[60:])
    lines = corpus(5)
    rng.shuffle(lines)
    trap = [("en-trap", " ".join(base)), ("en-joined", joined), ("en-late", joined + " End.")]
    outcome = run(
        tmp_path / "root",
        source("main", [write(tmp_path / "main.jsonl", [*lines, trap[0]])]),
        source("late", [write(tmp_path / "late.jsonl", trap[1:2])], priority=1),
        source("last", [write(tmp_path / "last.jsonl", trap[2:])], priority=2),
        settings=["sign.normalise=true"],
    )
    outcome.check(content=lambda text: "".join(text.split()))
    assert [outcome.fate(own) for own, _ in trap] == [("kept", ""), ("exact_duplicate", "en-trap"), ("kept", "")]


def test_a_later_snapshot_changes_nothing_before_it(first: Outcome, inputs: Path, tmp_path: Path) -> None:
    """Snapshot 10 comes after 9. Old text is read again only for the old documents that new ones meet."""
    shutil.copytree(first.root, tmp_path / "root")
    texts = {first.names[d.doc_id]: d.text for d in first.documents}
    fresh = units(random.Random(12), "zh", 100)
    lines = [
        ("en-base-again", texts["en-base"]),
        ("zh-near-again", texts["zh-near"]),
        ("en-alone-edited", texts["en-alone"] + " More."),
        ("zh-new", spelled("zh", fresh)),
        ("zh-new-edited", spelled("zh", edited(random.Random(13), "zh", fresh, 2))),
    ]
    new = source("c", [write(tmp_path / "c.jsonl", lines)], snapshot="10", priority=-5)
    second = run(tmp_path / "root", *sources(inputs, new))
    second.check()
    assert {doc: removal for doc, removal in second.gone.items() if doc in first.names} == first.gone
    assert second.fate("en-base-again") == ("exact_duplicate", "en-base")
    assert second.fate("zh-near-again") == ("near_duplicate", "zh-base")
    assert second.fate("en-alone-edited") == ("near_duplicate", "en-alone")
    assert sorted([second.fate("zh-new")[0], second.fate("zh-new-edited")[0]]) == ["kept", "near_duplicate"]
    for stage in ("read", "sign", "exact", "match", "shingles", "verify", "cluster", "apply"):
        assert second.keys(stage, "9") == first.keys(stage, "9")
    # Shingles of c, and of a, where en-alone is; nothing of b but exact copies came again.
    assert second.result.ran == dict.fromkeys(second.result.ran, 1) | {"shingles": 2}

    # A file more in the closed snapshot. Group stages run again for both snapshots; of the stages that read documents
    # only what is new, and `apply` where verdicts changed: everywhere but in b.
    more = [("en-alone-first", texts["en-alone"] + " Less."), ("zh-other", spelled("zh", fresh[:9]))]
    late = source("d", [write(tmp_path / "d.jsonl", more)], priority=-1)
    third = run(tmp_path / "root", *sources(inputs, new, late))
    third.check()
    assert third.fate("en-alone") == third.fate("en-alone-edited") == ("near_duplicate", "en-alone-first")
    ran = third.result.ran
    assert {stage: ran[stage] for stage in ran if stage not in ("shingles", "apply")} == {
        "read": 1,
        "sign": 1,
        "exact": 2,
        "match": 2,
        "verify": 2,
        "cluster": 2,
    }
    assert ran["apply"] == 3


def test_two_entries_of_one_kind_are_refused(tmp_path: Path) -> None:
    """Both would read the same source, and each document would be removed as a copy of itself."""
    text = source("a", [write(tmp_path / "a.jsonl", [("en-1", "Once only.")])])
    text += '[[stage]]\nuse = "read"\nname = "again"\n'
    recipe = parse_recipe(text + CHAIN.replace('use = "sign"', 'use = "sign"\nafter = ["read", "again"]'), "twice")
    with pytest.raises(UserError, match="needs one stage with use = 'read', not 2"):
        Driver(recipe, open_storage(str(tmp_path / "root")), lambda: LocalExecutor(attempts=1), quiet=True)


@pytest.mark.parametrize("stage", [sign.Sign, shingles.Shingles])
def test_the_tables_of_characters_are_part_of_the_identity(monkeypatch: pytest.MonkeyPatch, stage: type[Stage]) -> None:
    """What a word is comes with Python, so two versions of it must not share a signature."""
    before = stage(name="s").stage_id([])
    assert stage(name="s").stage_id([]) == before
    monkeypatch.setattr("stages.base.unidata_version", "1.0")
    assert stage(name="s").stage_id([]) != before


# Real documents with exact similarities.


def test_versions_of_real_documents(shared_data: Path, tmp_path: Path) -> None:
    """Versions of the Python documentation: recall of pairs at 0.8 and above, and no removed pair below."""
    texts, gold = shared_data / "dup" / "pydocs-versions.jsonl.gz", shared_data / "dup" / "pydocs-pairs.tsv"
    program = REPO.parent / "shared" / "evaluate" / "score_dedup.py"
    if not (texts.exists() and gold.exists() and program.exists()):
        pytest.skip("the documents or their scoring program are not there")
    outcome = run(tmp_path / "root", source("docs", [texts]), settings=["read.max_bytes=100000000"])
    pairs = [{"a": outcome.names[doc], "b": outcome.names[removal.kept]} for doc, removal in outcome.gone.items()]
    (tmp_path / "pred.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    files = {"--gold": gold, "--docs": texts, "--pred": tmp_path / "pred.jsonl", "--json": tmp_path / "score.json"}
    command = [sys.executable, str(program), "--resolved"]
    command += [str(part) for option in files.items() for part in option]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    score = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    assert score["removed_and_kept"] == []
    recall = {x["lang"]: x["recall"] for x in score["recall_at"] if x["threshold"] == 0.8}
    assert min(recall["en"], recall["zh"]) >= 0.98
    right = {x["lang"]: (x["right"], x["predicted"]) for x in score["precision_at"] if x["threshold"] == 0.8}
    assert right["total"] == (len(pairs), len(pairs))
