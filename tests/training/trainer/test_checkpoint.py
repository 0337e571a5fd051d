import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from manifests.storage import StorageError
from tests.training.trainer.toys import corpus, hashes, settings
from training.checkpoint import Checkpoints, tensors
from training.config import Config, ConfigError, Optimizer, digest_of, parse_config
from training.fsdp import Training, open_data, open_training
from training.model import LanguageModel
from training.optim import SpikeGuard, optimizer_of
from training.parallel import initialise, join, shard

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run that has taken no step."""
    folder = tmp_path_factory.mktemp("begun")
    config, run = open_data(parse_config(settings(folder / "run", corpus(folder / "corpus"))))
    return open_training(config, run, join(config))


@pytest.fixture
def saved(begun: Training, tmp_path: Path) -> Iterator[Checkpoints]:
    """The checkpoints of a run in a folder of its own."""
    made = Checkpoints(tmp_path / "checkpoints", begun.config, begun.world)
    yield made
    made.close()


def save(saved: Checkpoints, begun: Training, step: int, last: bool = False) -> None:
    saved.save(step, begun.model, begun.optimizer, begun.guard, begun.run, f"digest {step}", last)


def step(training: Training, optimizer: torch.optim.Optimizer) -> None:
    """A step with gradients that anyone can make again."""
    for number, parameter in enumerate(training.model.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * number)
    optimizer.param_groups[0]["lr"] = 0.01
    optimizer.step()
    optimizer.zero_grad()


def other(begun: Training, **changes: Any) -> Training:
    """A model of the same or another shape, seeded otherwise."""
    config = replace(begun.config, seed=7, model=replace(begun.config.model, **changes))
    return open_training(config, begun.run, begun.world)


@pytest.mark.parametrize(
    ("saving", "full", "weights"),
    [
        # 64 tokens a step, 16 steps
        ({"every": 4}, [4, 8, 12, 16], []),
        ({"every": 100, "weights_tokens": 256}, [], [4, 8, 12, 16]),
        ({"every": 100, "weights_tokens": 300}, [], [5, 10, 15, 16]),  # the first at or after; the plan's end
        ({"every": 6, "weights_tokens": 600, "dense": True}, [6, 12], [1, 2, 4, 8, 10, 16]),
        ({"every": 100, "weights_tokens": 10}, [], list(range(1, 17))),
    ],
)
def test_what_is_due_when(
    begun: Training, tmp_path: Path, saving: dict[str, Any], full: list[int], weights: list[int]
) -> None:
    config = replace(begun.config, saving=replace(begun.config.saving, **saving))
    made = Checkpoints(tmp_path, config, begun.world)
    assert [n for n in range(1, 17) if made.weights_due(n, begun.run)] == weights
    assert [n for n in range(1, 17) if made.due(n, begun.run)] == sorted({*full, *weights})
    assert [begun.run.order.tokens(n) for n in (0, 1, 8, 9, 16)] == [0, 64, 512, 576, 1024]


@pytest.mark.parametrize(
    ("keep", "archive", "left"),
    [(2, 0, [20, 24]), (1, 8, [8, 16, 24]), (2, 8, [8, 16, 20, 24]), (9, 0, [4, 8, 12, 16, 20, 24])],
)
def test_old_checkpoints_go(begun: Training, tmp_path: Path, keep: int, archive: int, left: list[int]) -> None:
    config = replace(begun.config, saving=replace(begun.config.saving, keep=keep, archive=archive))
    made = Checkpoints(tmp_path, config, begun.world)
    for number in range(4, 28, 4):
        made.path(number).mkdir()
        (made.path(number) / ".metadata").touch()
    made.prune()
    assert made.complete() == left
    assert len(list(tmp_path.iterdir())) == len(left)


def test_what_is_half_removed_is_no_checkpoint(
    saved: Checkpoints, begun: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4, 28, 4):
        saved.path(number).mkdir(parents=True)
        (saved.path(number) / ".metadata").touch()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            saved.prune()
    assert saved.complete() == [8, 12, 16, 20, 24]
    part = saved.exports / "step-00000004-0.000B-tokens.part"
    part.mkdir(parents=True)
    saved.tidy()
    assert not saved.path(4).exists() and not part.exists() and saved.path(8).exists()
    assert saved.newest() == 24 and saved.newest(19) == 16 and saved.newest(7) is None


def test_all_comes_back(saved: Checkpoints, begun: Training) -> None:
    step(begun, begun.optimizer)
    begun.guard.harmful(torch.tensor(2.0), torch.tensor(1.0))
    save(saved, begun, 4)
    saved.settle()
    again = other(begun)
    assert hashes(tensors(again.model, None)) != hashes(tensors(begun.model, None))
    saved.load(4, again.model, again.optimizer, again.guard)
    assert hashes(tensors(again.model, again.optimizer)) == hashes(tensors(begun.model, begun.optimizer))
    assert {name: value.tolist() for name, value in again.guard.state().items()} == {
        name: value.tolist() for name, value in begun.guard.state().items()
    }
    facts = saved.state(4)
    assert (facts["step"], facts["tokens"], facts["digest"], facts["ranks"]) == (4, 256, "digest 4", 1)
    assert facts["identity"] == begun.run.identity() and facts["config"] == digest_of(begun.config.text())


def test_a_window_of_another_length_begins_anew(saved: Checkpoints, begun: Training) -> None:
    save(saved, begun, 4)
    saved.settle()
    guard = SpikeGuard(replace(begun.config.guard, window=5), torch.device("cpu"))
    saved.load(4, begun.model, None, guard)
    assert guard.seen.shape == (2, 5) and guard.count == 0


@pytest.mark.parametrize("through_a_checkpoint", [False, True])
def test_an_optimizer_without_a_step_is_saved_as_one(
    saved: Checkpoints, begun: Training, through_a_checkpoint: bool
) -> None:
    fresh = other(begun)
    plain = hashes(tensors(fresh.model, None))
    save(saved, fresh, 4)
    saved.settle()
    assert hashes(tensors(fresh.model, None)) == plain
    optimizer = optimizer_of(fresh.model, fresh.config.model, fresh.config.optimizer)
    if through_a_checkpoint:
        saved.load(4, fresh.model, optimizer, None)
    step(fresh, optimizer)
    never = other(begun)
    step(never, never.optimizer)
    assert hashes(tensors(fresh.model, optimizer)) == hashes(tensors(never.model, never.optimizer))


def test_what_is_written_is_what_was_there_at_the_save(
    saved: Checkpoints, begun: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, write = threading.Event(), dcp.save

    def late(*args: Any, **named: Any) -> Any:
        assert changed.wait(60)
        return write(*args, **named)

    monkeypatch.setattr(dcp, "save", late)
    training = other(begun)
    before = hashes(tensors(training.model, training.optimizer))
    save(saved, training, 4)
    assert saved.newest() is None
    step(training, training.optimizer)
    changed.set()
    saved.settle()
    again = other(begun)
    saved.load(4, again.model, again.optimizer, None)
    assert hashes(tensors(again.model, again.optimizer)) == before


def test_a_disk_without_room_is_told_of_before_a_byte_is_written(
    saved: Checkpoints, begun: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(saved, begun, 4)
    saved.settle()
    size = sum(file.stat().st_size for file in saved.path(4).iterdir())
    needs = []
    for free in (0, size // 2):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(0, 0, free))
        with pytest.raises(StorageError) as told:
            save(saved, begun, 8)
        needs.append(str(told.value))
    assert "the checkpoint after step 8 needs" in needs[0]
    assert needs[0].endswith("start again: the newest complete checkpoint is step-00000004")
    assert saved.newest() == 4 and not saved.path(8).exists()
    # What is reckoned is what is written, but for names and the like.
    parameters = begun.config.model.parameters
    assert 12 * parameters < size < 12 * parameters * 1.2
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 12 * parameters * 1.01))
    save(saved, begun, 8)
    saved.settle()
    assert saved.newest() == 8


def test_a_write_that_fails_is_told_of_and_leaves_the_one_before(
    saved: Checkpoints, begun: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(saved, begun, 4)
    saved.settle()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.checkpoint.FileSystemWriter.write_data", full)
    save(saved, begun, 8)
    with pytest.raises(StorageError, match="could not be written: .*No space left"):
        save(saved, begun, 12)
    assert saved.newest() == 4
    saved.tidy()
    assert not saved.path(8).exists()


def test_closing_after_a_failure_tells_and_does_not_hide_it(
    begun: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.checkpoint.FileSystemWriter.write_data", full)
    failed, quiet = (Checkpoints(tmp_path / name, begun.config, begun.world) for name in "ab")
    for each in (failed, quiet):
        save(each, begun, 4)
    with pytest.raises(KeyError):
        try:
            raise KeyError("the cause")
        finally:
            failed.close()
    assert "could not be written" in capsys.readouterr().err
    with pytest.raises(StorageError, match="No space left"):
        quiet.close()


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"layers": 3}, "adamw", "has no model.model.layers.2."),
        ({"ffn": 64}, "adamw", r"has model.model.layers.0.mlp.gate_proj.weight as \[48, 32\], .* wants \[64, 32\]"),
        ({}, "adamw8bit", "holds moments of adamw: go on with optimizer.kind = adamw"),
    ],
)
def test_another_model_or_optimizer_is_refused(
    saved: Checkpoints, begun: Training, changes: dict[str, Any], kind: Any, told: str
) -> None:
    save(saved, begun, 4)
    saved.settle()
    training = other(begun, **changes)
    config: Config = replace(training.config, optimizer=Optimizer(kind=kind))
    reading = Checkpoints(saved.folder, config, begun.world)
    with pytest.raises(ConfigError, match=told):
        reading.load(4, training.model, training.optimizer, training.guard)
    reading.close()


def test_what_float8_wraps_is_kept_plain(saved: Checkpoints, begun: Training) -> None:
    """A checkpoint of a float8 model is one of the model without, and the other way round."""
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    with torch.device("meta"):
        model = LanguageModel(begun.config.model)
    gathered = Float8LinearConfig(enable_fsdp_float8_all_gather=True, emulate=True)
    convert_to_float8_training(model.model.layers, config=gathered)
    shard(model, begun.config.parallel, begun.world.mesh)
    model.to_empty(device="cpu")
    initialise(model, 7)
    plain = other(begun)  # seeded by 7 as well
    wrapped = [p for p in model.parameters() if type(p.to_local()) is not torch.Tensor]
    assert len(wrapped) == 7 * begun.config.model.layers
    assert hashes(tensors(model, None)) == hashes(tensors(plain.model, None))
    save(saved, begun, 4)
    saved.settle()
    saved.load(4, model, None, None)
    assert hashes(tensors(model, None)) == hashes(tensors(begun.model, None))
