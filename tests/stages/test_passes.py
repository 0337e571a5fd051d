"""Passes: documents flow through map stages in memory, keep their order, and are accounted for before the commit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.shards import read_batches
from manifests.store import CommitConflict
from stages import read as read_module
from stages.base import Mapped, Plan, Upstream
from stages.dropped import nothing_dropped
from stages.passes import Job, JobWorker, OutOfBalance, Step
from tests.stages.toy_pass import TEXTS, Pass, Toy, Toying


def test_a_stage_decides_on_its_languages_and_the_rest_keeps_its_place(tmp_path: Path) -> None:
    done = Pass(tmp_path).run(Toy(name="toy", lang=("zh", "en")))
    assert [(doc["source_id"], doc["text"]) for doc in done.read("toy", "docs")] == [
        ("0", "one"),
        ("2", "trois"),
        ("4", "五"),
        ("5", "six"),
        ("6", "七"),
        ("7", "huit drop"),
    ]
    assert [row["source_id"] for row in done.read("toy", "dropped")] == ["1", "3"]
    assert done.counts("toy")["seen"] == 6


@pytest.mark.parametrize("lang, kept", [(("fr",), 7), (("de",), 8), (("en", "zh", "fr"), 5), ((), 5)])
def test_stages_for_one_language_none_and_all(tmp_path: Path, lang: tuple[str, ...], kept: int) -> None:
    done = Pass(tmp_path).run(Toy(name="toy", lang=lang))
    ids = [int(doc["source_id"]) for doc in done.read("toy", "docs")]
    assert len(ids) == kept
    assert ids == sorted(ids)


def test_the_books_of_a_stage_that_drops_cuts_and_relabels(tmp_path: Path) -> None:
    done = Pass(tmp_path).run(Toy(name="toy", relabel="en"))
    sizes = [len(text.encode()) for _, text in TEXTS]
    assert done.counts("toy") == {
        "seen": 8,
        "in/s/en/docs": 3,
        "in/s/en/bytes": sizes[0] + sizes[3] + sizes[5],
        "in/s/zh/docs": 3,
        "in/s/zh/bytes": sizes[1] + sizes[4] + sizes[6],
        "in/s/fr/docs": 2,
        "in/s/fr/bytes": sizes[2] + sizes[7],
        "moved/s/fr/en/docs": 1,
        "moved/s/fr/en/bytes": sizes[2],
        "kept/s/en/docs": 3,
        "kept/s/en/bytes": len("one") + len("trois") + len("six"),
        "kept/s/zh/docs": 2,
        "kept/s/zh/bytes": len("五七".encode()),
        "cut/s/en/bytes/toy": len(" cut tail"),
        "cut/s/zh/bytes/toy": len(" cut 尾".encode()),
        "dropped/s/en/docs/said_so": 1,
        "dropped/s/en/bytes/said_so": sizes[3],
        "dropped/s/zh/docs/said_so": 1,
        "dropped/s/zh/bytes/said_so": sizes[1],
        "dropped/s/fr/docs/said_so": 1,
        "dropped/s/fr/bytes/said_so": sizes[7],
    }


@pytest.mark.parametrize("zh", [len(" cut 尾".encode()), 7])
def test_a_stage_may_book_what_it_cut_by_reason_but_not_less_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zh: int
) -> None:
    plain = Toying.transform
    own = {"cut/s/en/bytes/space": 1, "cut/s/en/bytes/tail": len("cut tail"), "cut/s/zh/bytes/tail": zh}
    monkeypatch.setattr(Toying, "transform", lambda self, batch: replace(plain(self, batch), counters=own))
    if zh == 7:
        with pytest.raises(OutOfBalance, match="language zh: 1 bytes are not accounted for"):
            Pass(tmp_path).run(Toy(name="toy"))
    else:
        counts = Pass(tmp_path).run(Toy(name="toy")).counts("toy")
        assert {name: n for name, n in counts.items() if name.startswith("cut/")} == own


def hurt_by(*words: str, error: type[BaseException] = ValueError) -> Callable[[str], None]:
    """A kernel that cannot stand some words."""

    def hurt(text: str) -> None:
        if any(word in text for word in words):
            raise error(text)

    return hurt


@pytest.mark.parametrize("error", [ValueError, KeyError, ZeroDivisionError, UnicodeError, TypeError])
@pytest.mark.parametrize("lang", [(), ("en", "zh")])
def test_a_document_that_breaks_a_kernel_goes_alone(tmp_path: Path, error: type[Exception], lang: tuple) -> None:
    """Also one that would have been dropped for another reason, the first and the last."""
    made = Pass(tmp_path)
    done = made.run(Toy(name="toy", lang=lang, hurt=hurt_by("one", "drop four", "七", error=error)))
    reasons = {row["source_id"]: row["reason"] for row in done.read("toy", "dropped")}
    name = f"error:{error.__name__}"
    others = {} if lang else {"7": "said_so"}
    assert reasons == {"0": name, "1": "said_so", "3": name, "6": name} | others
    assert list(reasons) == sorted(reasons)
    assert [doc["source_id"] for doc in done.read("toy", "docs")] == (["2", "4", "5", "7"] if lang else ["2", "4", "5"])
    assert done.counts("toy")[f"dropped/s/en/docs/{name}"] == 2


def test_documents_that_all_break_a_kernel_all_go(tmp_path: Path) -> None:
    done = Pass(tmp_path).run(Toy(name="toy", hurt=hurt_by("")), Toy(name="after"))
    assert [row["reason"] for row in done.read("toy", "dropped")] == ["error:ValueError"] * 8
    assert (done.of("after", "docs").rows, done.counts("after")) == (0, {})


@pytest.mark.parametrize("error", [MemoryError, OSError, RuntimeError, KeyboardInterrupt])
def test_trouble_of_the_machine_is_no_documents_fault(tmp_path: Path, error: type[BaseException]) -> None:
    """Nothing is committed, and no unfinished file stays."""
    made = Pass(tmp_path)
    with pytest.raises(error):
        made.run(Toy(name="toy", hurt=hurt_by("one", error=error)))
    assert made.files() == []


# Stages that say what is not so.


def nothing_said(mapped: Mapped) -> Mapped:
    return Mapped(mapped.batch, mapped.keep, nothing_dropped())


def all_kept(mapped: Mapped) -> Mapped:
    return Mapped(mapped.batch, np.ones(len(mapped.keep), bool), mapped.dropped)


def another_language(mapped: Mapped) -> Mapped:
    gone = mapped.dropped.to_pylist()
    for row in gone:
        row["lang"] = "de"
    return Mapped(mapped.batch, mapped.keep, pa.RecordBatch.from_pylist(gone, schema=mapped.dropped.schema))


@pytest.mark.parametrize("lie", [nothing_said, all_kept, another_language])
def test_a_stage_that_lies_cannot_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Mapped], Mapped]
) -> None:
    honest = Toying.transform
    monkeypatch.setattr(Toying, "transform", lambda self, batch: lie(honest(self, batch)))
    made = Pass(tmp_path)
    # Rows that are missing altogether show before the books are added up.
    with pytest.raises((OutOfBalance, ValueError)):
        made.run(Toy(name="toy"))
    assert not [path for path in made.files() if path.endswith(".manifest.parquet")]


# What must not change the outcome.


@pytest.mark.parametrize("limit", [1, 30, 100])
def test_other_batches_give_the_same_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    made = Pass(tmp_path, TEXTS * 5)
    stages = [Toy(name="a", lang=("zh",), hurt=hurt_by("七")), Toy(name="b", relabel="en")]
    whole = made.run(*stages)
    monkeypatch.setattr(read_module, "BATCH_BYTES", limit)
    assert made.run(*stages, root="other").digests() == whole.digests()


def test_documents_that_are_not_stored_have_the_same_digests(tmp_path: Path) -> None:
    made, stages = Pass(tmp_path), [Toy(name="a", lang=("zh",)), Toy(name="b")]
    flowing, stored = made.run(*stages), made.run(*stages, root="stored", stored=True)
    assert stored.digests() == flowing.digests()
    assert [flowing.of(stage, "docs").path is None for stage in ("read", "a", "b")] == [True, True, False]
    assert None not in [stored.of(stage, "docs").path for stage in ("read", "a", "b")]


def test_a_stored_shard_goes_on_where_the_pass_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over two stages, or a pass that stores and one that reads what it stored, however that is cut."""
    made, a, b = Pass(tmp_path, TEXTS * 5), Toy(name="a", lang=("zh",)), Toy(name="b")
    whole = made.run(a, b)
    half = made.run(a, root="half")
    (task,) = b.tasks(Plan("2", (Upstream("a", "1", tuple(half.rows)),), ("1",)))
    monkeypatch.setattr("stages.passes.read_batches", lambda storage, path: read_batches(storage, path, limit=50))
    rows = JobWorker(Job((Step(b, "2"),), str(tmp_path / "half"))).run(task)
    assert [(row.output, row.digest) for row in rows] == [
        (output, whole.of("b", output).digest) for output in ("docs", "dropped")
    ]


def test_a_second_run_of_a_task_finds_the_first(tmp_path: Path) -> None:
    made = Pass(tmp_path)
    once, twice = made.run(Toy(name="toy")), made.run(Toy(name="toy"), attempts=2)
    assert twice.rows == once.rows


def test_a_task_that_gives_another_content_is_refused(tmp_path: Path) -> None:
    made = Pass(tmp_path)
    made.run(Toy(name="toy"))
    before = made.files()
    with pytest.raises(CommitConflict, match="another content"):
        made.run(Toy(name="toy", hurt=hurt_by("one")))
    assert [path for path in made.files() if path.endswith(".manifest.parquet")] == [
        path for path in before if path.endswith(".manifest.parquet")
    ]


def test_keys_chain_through_the_stages_of_a_pass(tmp_path: Path) -> None:
    done = Pass(tmp_path).run(Toy(name="a"), Toy(name="b"))
    keys = {stage: done.of(stage, "dropped").task_key for stage in ("read", "a", "b")}
    assert len(set(keys.values())) == 3
    assert {row.commit_key for row in done.rows} == {keys["b"]}
    assert sorted({row.task_key for row in done.rows}) == sorted(keys.values())
