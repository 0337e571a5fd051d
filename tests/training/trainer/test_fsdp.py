"""The trainer from its command line, in this process: two phases to the end, stops, refusals, what it leaves behind."""

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import training.fsdp
from tests.training.trainer.toys import corpus, settings, written
from training.config import digest_of
from training.fsdp import main


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("trained") / "corpus")


def lines(run: Path) -> list[dict[str, Any]]:
    """The record of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_two_phases_to_the_end(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    windows: list[int] = []
    take = training.fsdp.take

    def watched(state: training.fsdp.Training, batch: Any, stop: bool = False) -> torch.Tensor:
        made.append(id(state.optimizer))
        windows.append(int(state.guard.count))
        return take(state, batch, stop)

    monkeypatch.setattr(training.fsdp, "take", watched)
    file, run = written(settings(tmp_path / "run", root)), tmp_path / "run"
    assert main([str(file)]) == 0
    assert "step 16 of 16 is saved" in capsys.readouterr().out
    record = lines(run)
    assert [line["step"] for line in record] == list(range(16))
    assert [line["phase"] for line in record] == ["first"] * 8 + ["second"] * 8
    # 2 steps of warm-up, a cosine to a tenth; then an exponential that halves in 4 steps.
    assert [line["lr"] for line in record[:3]] == pytest.approx([0.0, 5e-4, 1e-3])
    assert [line["lr"] for line in record[8:16:4]] == pytest.approx([5e-4, 2.5e-4])
    assert {name for line in record for name in line["streams"]} == {"web/en", "web/zh"}
    assert sum(line["loss"] for line in record[12:]) < sum(line["loss"] for line in record[:4])
    assert len(set(made[:8])) == len(set(made[8:])) == 1 and made[0] != made[8]
    assert windows == [*range(8), *range(8)]
    assert gc.isenabled() and not torch.distributed.is_initialized()
    # The same command again has nothing to do; another configuration leaves the first beside it.
    assert main([str(file)]) == 0
    assert len(lines(run)) == 16
    first = (run / "config.json").read_text(encoding="utf-8")
    assert main([str(file), "optimizer.clip=0.5"]) == 0
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [start["step"] for start in starts] == [0, 16, 16]
    assert (run / f"config-{starts[0]['config']}.json").read_text(encoding="utf-8") == first
    assert starts[2]["config"] == digest_of((run / "config.json").read_text(encoding="utf-8")) != starts[0]["config"]


def test_steps_without_sense_in_a_row_stop_the_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = training.fsdp.clipped_norm
    calls = iter(range(100))
    monkeypatch.setattr(
        training.fsdp, "clipped_norm", lambda p, clip: norm(p, clip) * (math.nan if next(calls) in {1, 5, 6, 7} else 1)
    )
    file = written(settings(tmp_path / "run", root, guard={"in_a_row": 3}))
    assert main([str(file)]) == 1
    said = capsys.readouterr().err
    assert "3 steps in a row were skipped, the last of them step 7" in said and "Traceback" not in said
    record = lines(tmp_path / "run")
    assert [line["step"] for line in record if line["skipped"]] == [1, 5, 6, 7]
    assert [line["in_a_row"] for line in record] == [0, 1, 0, 0, 0, 1, 2, 3]
    assert all(line["why"] for line in record if line["skipped"])
    # It goes on from the checkpoint of step 4 when the cause is mended.
    assert main([str(file)]) == 0
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(16))
    assert not any(line["skipped"] for line in lines(tmp_path / "run")[4:])


@pytest.mark.parametrize("until", [0, 3])
def test_until_is_the_step_that_would_be_next(root: Path, tmp_path: Path, until: int) -> None:
    file = written(settings(tmp_path / "run", root))
    assert main([str(file), "--until", str(until)]) == 0
    assert len(lines(tmp_path / "run")) == until
    assert main([str(file), "--until", "5"]) == 0
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(5))


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("model.context=8", "sequences of 16 tokens, and the model's context is 8"),
        ("model.vocabulary=4000", "give the model at least as many"),
        ("microbatch=3", "3"),
        ("optimizer.clipp=1", "did you mean 'clip'?"),
        ("corpus=/nowhere/语料", "/nowhere/语料"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    root: Path, tmp_path: Path, override: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(written(settings(tmp_path / "run", root))), override]) == 2
    said = capsys.readouterr().err
    assert said.startswith("training.fsdp: ") and said.count("\n") == 1 and sentence in said
    assert not torch.distributed.is_initialized()


def test_steps_leave_no_tensors_for_the_collector(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector is off between steps, so tensors in a cycle would pile up."""
    take = training.fsdp.take
    found: list[int] = []

    def watched(state: training.fsdp.Training, batch: Any, stop: bool = False) -> torch.Tensor:
        known = take(state, batch, stop)
        if batch.step == 2:
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
        if batch.step == 5:
            gc.collect()
            found.append(sum(isinstance(thing, torch.Tensor) for thing in gc.garbage))
            gc.set_debug(0)
            gc.garbage.clear()
        return known

    monkeypatch.setattr(training.fsdp, "take", watched)
    assert main([str(written(settings(tmp_path / "run", root))), "--until", "6"]) == 0
    assert found == [0]
