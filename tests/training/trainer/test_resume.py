"""Runs that are stopped, asked or not, and go on; those that must not go on are refused."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer.toys import PHASE, STEPS, corpus, lines, settings, start, written
from training import fsdp
from training.config import parse_config
from training.fsdp import main, open_data, train

KILLED_IN_A_SAVE = """
import os, signal, sys
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from training.fsdp import main

finish = FileSystemWriter.finish

def killed(self, *args, **named):
    if self.path.name == "step-00000008":
        os.kill(os.getpid(), signal.SIGKILL)
    finish(self, *args, **named)

FileSystemWriter.finish = killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A run without a stop, on one rank."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(parse_config(settings(folder, root))) == STEPS
    return folder


def steps_saved(folder: Path) -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in folder.glob("checkpoints/step-*/.metadata"))


def test_a_run_that_was_stopped_has_the_same_digits(whole: Path, root: Path, tmp_path: Path) -> None:
    config = parse_config(settings(tmp_path / "run", root, saving={"keep": 9}))
    # within a phase, between two saves, at the end of a phase, before the plan's end
    for until in (3, 6, 8, 15):
        assert train(config, until) == until
    assert steps_saved(tmp_path / "run") == [3, 4, 6, 8, 12, 15]
    assert train(config) == STEPS
    assert lines(tmp_path / "run") == lines(whole)
    assert train(config) == STEPS  # nothing is left to do


def test_metrics_after_the_checkpoint_are_taken_again(whole: Path, root: Path, tmp_path: Path) -> None:
    config = parse_config(settings(tmp_path / "run", root))
    train(config, 4)
    metrics = tmp_path / "run" / "metrics.jsonl"
    line = json.loads(metrics.read_text().splitlines()[-1])
    for step in (4, 5):
        line["step"] = step
        metrics.write_text(metrics.read_text() + json.dumps(line) + "\n")
    train(config)
    assert lines(tmp_path / "run") == lines(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves(
    whole: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    take = fsdp.take

    def asked(training: Any, batch: Any, stop: bool = False) -> Any:
        if batch.step == 5:
            os.kill(os.getpid(), number)
        return take(training, batch, stop)

    config = parse_config(settings(tmp_path / "run", root))
    with monkeypatch.context() as patch:
        patch.setattr(fsdp, "take", asked)
        reached = train(config)
    assert reached == 7  # the step after that in which it came
    assert steps_saved(tmp_path / "run") == [4, 7]
    assert train(config) == STEPS
    assert lines(tmp_path / "run") == lines(whole)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("corpus", "the corpus of phase first has changed since the run was begun: stream web/en"),
        ("batch", "phase first has begun and cannot change: batch was 4 and is 8"),
        ("seed", "the run was begun with seed 42 and cannot go on with 43"),
        ("model", "use the model it was saved with"),
    ],
)
def test_what_has_changed_is_refused_before_there_is_a_model(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    told: str,
) -> None:
    raw = settings(tmp_path / "run", root)
    train(parse_config(raw), 4)
    if change == "corpus":
        raw["corpus"] = str(corpus(tmp_path / "other", seed=9))
    elif change == "batch":
        raw["plan"]["phase"][0] = {"name": "first", **PHASE, "batch": 8}
    elif change == "seed":
        raw["plan"]["seed"] = 43
    else:
        raw["model"] = {**raw["model"], "ffn": 64}
    if change != "model":
        monkeypatch.setattr(fsdp, "open_training", None)
    assert main([str(written(raw))]) == 2
    error = capsys.readouterr().err
    assert told in error and error.splitlines()[-1].startswith("training.fsdp: ")
    assert steps_saved(tmp_path / "run") == [4]


def test_a_kill_in_a_save_leaves_the_checkpoint_before(whole: Path, root: Path, tmp_path: Path) -> None:
    raw = settings(tmp_path / "run", root)
    (process,) = start(1, "-c", KILLED_IN_A_SAVE, str(written(raw)))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert steps_saved(tmp_path / "run") == [4]
    assert (tmp_path / "run" / "checkpoints" / "step-00000008").is_dir()
    assert train(parse_config(raw), 5) == 5
    assert not (tmp_path / "run" / "checkpoints" / "step-00000008").exists()
    assert train(parse_config(raw)) == STEPS
    assert [line[3] for line in lines(tmp_path / "run")] == [line[3] for line in lines(whole)]


def kill_at_random(folder: Path, file: Path, ranks: int, moments: random.Random) -> None:
    """Begin a run, and kill all its processes some time after it has taken some more steps."""
    metrics, more, later = folder / "metrics.jsonl", moments.randint(2, 6), moments.uniform(0, 0.2)
    processes = start(ranks, "-m", "training.fsdp", str(file))
    begun = starts(folder)
    until = None
    while all(process.poll() is None for process in processes):
        count = len(metrics.read_bytes().splitlines()) if starts(folder) > begun and metrics.exists() else 0
        until = until or (time.monotonic() + later if count and count >= first_of(folder) + more else None)
        if until and time.monotonic() > until:
            break
        time.sleep(0.01)
    for process in processes:
        process.kill()
    outputs = [process.communicate()[0] for process in processes]
    assert processes[0].returncode in (-signal.SIGKILL, 0), outputs


def starts(folder: Path) -> int:
    file = folder / "starts.jsonl"
    return len(file.read_bytes().splitlines()) if file.exists() else 0


def first_of(folder: Path) -> int:
    """The step that the last start began with."""
    return int(json.loads((folder / "starts.jsonl").read_text().splitlines()[-1])["step"])


def killed_again_and_again(folder: Path, root: Path, seed: int, steps: int) -> None:
    """Kill runs on 2, 1 and 4 ranks, and let one rank come to the end."""
    raw = settings(folder, root)
    for phase in raw["plan"]["phase"]:
        phase["steps"] = steps // 2
    raw["saving"] = {"every": 2, "keep": 2}
    config, moments = parse_config(raw), random.Random(seed)
    for ranks in (2, 1, 4):
        kill_at_random(folder, written(raw), ranks, moments)
    assert train(config) == steps
    _, run = open_data(config)
    expected = [run.order.rolling(step) for step in range(steps)]
    found = lines(folder)
    assert [(line[0], line[3]) for line in found] == list(enumerate(expected))
    newest = json.loads((folder / "checkpoints" / f"step-{steps:08d}" / "state.json").read_text())
    assert newest["digest"] == expected[-1]
    begun = [json.loads(line) for line in (folder / "starts.jsonl").read_text().splitlines()]
    assert [line["ranks"] for line in begun] == [2, 1, 4, 1]
    assert begun[-1]["step"] > 0


@pytest.mark.soak
def test_killed_three_times_on_other_numbers_of_ranks(root: Path, tmp_path: Path) -> None:
    killed_again_and_again(tmp_path / "run", root, 1, 40)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_killed_at_many_moments(root: Path, tmp_path: Path, seed: int) -> None:
    killed_again_and_again(tmp_path / "run", root, seed, 120)
