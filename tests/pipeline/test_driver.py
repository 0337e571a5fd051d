"""Runs of small recipes: what runs again and what does not, and how a run ends that cannot go on."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from manifests import runs
from manifests.runs import read_rows, read_run
from manifests.storage import OutOfDisk, StorageError, open_storage
from pipeline.driver import Driver, Result, RunFailed
from pipeline.forecast import forecast
from pipeline.local import LocalExecutor
from pipeline.recipe import parse_recipe
from stages.base import Mapped, UserError
from stages.filter import Filtering
from tests.manifests.faulty_web import Page, serve

RECIPE = """
[[source]]
name = "text"
kind = "jsonl"
inputs = ["{inputs}"]
trust_lang = true
[[stage]]
use = "read"
[[stage]]
use = "filter"
lang = ["en", "zh"]
rules = [{{ signal = "char_count", lo = 5 }}]
store = true
[[stage]]
use = "filter"
name = "second"
lang = ["zh"]
rules = [{{ signal = "char_count", hi = 50 }}]
"""
EN, ZH = "A text that is long enough.", "这是一段足够长的文字。"


def write(folder: Path, name: str, texts: list[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"id": f"{name}:{i}", "lang": lang, "text": text}) for i, (lang, text) in enumerate(texts)]
    (folder / name).write_text("".join(line + "\n" for line in lines))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    write(folder, "a.jsonl", [("en", EN), ("en", "no"), ("zh", ZH)])
    write(folder, "b.jsonl", [("zh", ZH * 9), ("zh", "短"), ("fr", "si")])
    return folder


@pytest.fixture
def run(tmp_path: Path, inputs: Path) -> Callable[..., Result]:
    def go(*settings: str, keep_going: bool = False, pattern: str = "/*.jsonl", root: str = "root") -> Result:
        recipe = parse_recipe(RECIPE.format(inputs=f"{inputs}{pattern}"), "test", settings)
        storage = open_storage(str(tmp_path / root))
        return Driver(recipe, storage, lambda: LocalExecutor(attempts=1), keep_going, quiet=True).run()

    return go


def test_what_is_kept_and_why_the_rest_goes(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run()
    storage = open_storage(str(tmp_path / "root"))
    counts: dict[str, int] = {}
    for stage in ("read", "filter", "second"):
        for row in read_rows(storage, stage):
            for key, value in row.counters:
                if key.split("/")[3:4] == ["docs"] and not key.startswith("in/"):
                    counts[f"{stage}:{key}"] = counts.get(f"{stage}:{key}", 0) + value
    assert counts == {
        "read:kept/text/en/docs": 2,
        "read:kept/text/zh/docs": 3,
        "read:kept/text/fr/docs": 1,
        "filter:kept/text/en/docs": 1,
        "filter:kept/text/zh/docs": 2,
        "filter:kept/text/fr/docs": 1,
        "filter:dropped/text/en/docs/char_count": 1,
        "filter:dropped/text/zh/docs/char_count": 1,
        "second:kept/text/en/docs": 1,
        "second:kept/text/zh/docs": 1,
        "second:kept/text/fr/docs": 1,
        "second:dropped/text/zh/docs/char_count": 1,
    }
    stages = read_run(storage)
    assert [s.stage for s in stages] == ["fetch", "read", "filter", "second"]
    assert {s.root for s in stages} == {result.root}


def test_nothing_runs_twice(run: Callable[..., Result]) -> None:
    first = run()
    assert first.ran == {"filter": 2, "second": 2}
    again = run()
    assert again.ran == {"filter": 0, "second": 0} and again.root == first.root


@pytest.mark.parametrize(
    "setting, ran",
    [
        ("second.rules=[{signal='char_count', hi=40}]", {"filter": 0, "second": 2}),
        ("filter.rules=[{signal='char_count', lo=6}]", {"filter": 2, "second": 2}),
        ("read.max_bytes=1000", {"filter": 2, "second": 2}),
        ("run.errors=0.5", {"filter": 0, "second": 0}),
    ],
)
def test_a_change_runs_its_stage_and_what_follows(
    run: Callable[..., Result], setting: str, ran: dict[str, int]
) -> None:
    run()
    assert run(setting).ran == ran


def test_a_changed_or_added_input_runs_alone(run: Callable[..., Result], inputs: Path) -> None:
    run()
    write(inputs, "c.jsonl", [("en", EN + " And more.")])
    assert run().ran == {"filter": 1, "second": 1}
    write(inputs, "a.jsonl", [("en", EN + " Changed.")])
    assert run().ran == {"filter": 1, "second": 1}


def test_touching_a_file_changes_nothing(run: Callable[..., Result], inputs: Path) -> None:
    run()
    (inputs / "a.jsonl").touch()
    assert run().ran == {"filter": 0, "second": 0}


def test_the_order_and_spelling_of_inputs_do_not_count(run: Callable[..., Result], inputs: Path) -> None:
    result = run()
    listed = f"text.inputs=['{inputs}/b.jsonl', '{inputs}/a.jsonl']"
    assert run(listed, root="other").root == result.root


def test_an_input_that_changes_while_it_is_read(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    real = Filtering.transform

    def transform(self: Filtering, batch: pa.RecordBatch) -> Mapped:
        write(inputs, "a.jsonl", [("en", "Something else, of another length.")])
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Filtering, "transform", transform)
        with pytest.raises(UserError, match="a.jsonl changed while it was read"):
            run()
    assert run().root == run(root="other").root


def test_different_files_of_one_size_and_date_on_the_web(
    run: Callable[..., Result], inputs: Path, tmp_path: Path
) -> None:
    pages = {f"/{i}.jsonl": json.dumps({"lang": "en", "text": f"{EN} {i}"}).encode() for i in range(3)}
    with serve({path: Page(body, etag=None) for path, body in pages.items()}) as base:
        listed = [f"{base}{path}" for path in pages]
        result = run(f"text.inputs={listed}")
    assert sum(row.rows for row in result.rows["second"] if row.output == "docs") == 3


def test_a_run_that_dies_while_it_is_published_is_not_complete(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run()
    storage = open_storage(str(tmp_path / "root"))
    with monkeypatch.context() as patch:
        # Fails where run.parquet is made, the last object of all.
        patch.setattr(runs, "asdict", None)
        with pytest.raises(TypeError):
            run("second.rules=[{signal='char_count', hi=40}]")
    with pytest.raises(FileNotFoundError):
        read_run(storage)
    run()
    assert read_run(storage)


def test_the_same_content_twice_is_read_once(run: Callable[..., Result], inputs: Path) -> None:
    result = run()
    (inputs / "copy.jsonl").write_bytes((inputs / "a.jsonl").read_bytes())
    again = run(root="other")
    assert again.root == result.root
    assert sum(row.count()["duplicate_input"] for row in again.rows["fetch"]) == 1


def test_an_empty_file_is_a_task_without_documents(run: Callable[..., Result], inputs: Path) -> None:
    (inputs / "empty.jsonl").touch()
    assert run().ran == {"filter": 3, "second": 3}


def test_inputs_that_match_nothing_are_an_error(run: Callable[..., Result], inputs: Path) -> None:
    with pytest.raises(StorageError, match="nothing.jsonl"):
        run(pattern="/nothing.jsonl")


def test_a_root_of_another_layout_is_refused(run: Callable[..., Result], tmp_path: Path) -> None:
    run()
    (tmp_path / "root" / "manifests" / "LAYOUT").write_text("99")
    with pytest.raises(StorageError, match="layout 99"):
        run()


def break_on(monkeypatch: pytest.MonkeyPatch, word: str, error: BaseException) -> None:
    """Make the filters fail on texts with a word."""
    real = Filtering.transform

    def transform(self: Filtering, batch: pa.RecordBatch) -> Mapped:
        if any(word in text for text in batch["text"].to_pylist()):
            raise error
        return real(self, batch)

    monkeypatch.setattr(Filtering, "transform", transform)


def test_a_failed_task_ends_the_run_and_the_rest_is_kept(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_on(patch, "这是", OSError("broken pipe"))
        with pytest.raises(RunFailed) as caught:
            run(keep_going=True)
    assert [f.message for f in caught.value.failures] == ["broken pipe", "broken pipe"]
    assert run().ran == {"filter": 2, "second": 2}


def test_keep_going_finishes_the_other_tasks(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    for name in "cdef":
        write(inputs, f"{name}.jsonl", [("en", f"{EN} {name}")])
    with monkeypatch.context() as patch:
        break_on(patch, "短", OSError("broken pipe"))
        with pytest.raises(RunFailed, match="stage read > filter: 1 of its tasks failed"):
            run(keep_going=True)
    assert run().ran == {"filter": 1, "second": 6}


def test_a_document_that_breaks_a_kernel_goes_alone(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on(monkeypatch, "A text", ZeroDivisionError("no words"))
    result = run()
    reasons = [key for row in result.rows["filter"] for key, _ in row.counters if "error:" in key]
    assert reasons == ["dropped/text/en/bytes/error:ZeroDivisionError", "dropped/text/en/docs/error:ZeroDivisionError"]


def test_too_many_broken_documents_stop_the_run(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    write(inputs, "many.jsonl", [("en", f"{EN} {i}") for i in range(50)])
    with monkeypatch.context() as patch:
        break_on(patch, "A text", ZeroDivisionError("no words"))
        with pytest.raises(UserError, match="51 of 56 documents broke it.* 51 error:ZeroDivisionError"):
            run()
    # The code is mended: what was lost to it comes back.
    mended = run()
    assert mended.ran == {"filter": 2, "second": 3}
    assert mended.root == run(root="other").root


def test_a_full_disk_stops_the_run_and_it_goes_on_later(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutOfDisk, match="run again"):
        run("run.min_free=1000000000000000")
    with monkeypatch.context() as patch:
        break_on(patch, "短", OutOfDisk(f"{errno.ENOSPC}: no space left"))
        with pytest.raises(OutOfDisk, match="no space left"):
            run()
    assert run().ran["second"] == 2


def test_the_forecast_says_what_would_run_and_writes_nothing(
    run: Callable[..., Result], tmp_path: Path, inputs: Path
) -> None:
    recipe = parse_recipe(RECIPE.format(inputs=f"{inputs}/*.jsonl"), "test")
    storage = open_storage(str(tmp_path / "root"))
    before = forecast(recipe, storage)
    assert "read > filter" in before and "no complete run here yet" in before
    assert not (tmp_path / "root").exists()
    run()
    assert forecast(recipe, storage).count("committed") == 2
    write(inputs, "c.jsonl", [("en", EN)])
    assert "new or changed inputs" in forecast(recipe, storage)
    later = recipe.text + f'[[source]]\nname = "later"\nkind = "jsonl"\nsnapshot = "2"\ninputs = ["{inputs}/*.jsonl"]\n'
    assert "snapshot 1 is closed and gets 1 new inputs" in forecast(parse_recipe(later, "test"), storage)
    changed = parse_recipe(recipe.text, "test", ["filter.rules=[{signal='char_count', lo=7}]"])
    assert "changed: it was" in forecast(changed, storage)


@pytest.mark.parametrize("bands, rows, share", [(18, 7, "0.80: 0.986"), (25, 5, "0.70: 0.990"), (9, 13, "0.80: 0.399")])
def test_the_forecast_prints_what_the_bands_propose(
    bands: int, rows: int, share: str, tmp_path: Path, inputs: Path
) -> None:
    text = RECIPE.format(inputs=f"{inputs}/*.jsonl") + f'[[stage]]\nuse = "sign"\nbands = {bands}\nrows = {rows}\n'
    said = forecast(parse_recipe(text, "test"), open_storage(str(tmp_path / "root")))
    assert share in next(line for line in said.splitlines() if line.startswith("sign: "))
