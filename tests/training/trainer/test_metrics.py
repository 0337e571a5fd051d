"""What is known of a step becomes a line: by hand, after a resume, on a terminal and in TensorBoard."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.training.trainer.toys import corpus, settings, written
from training import metrics as metrics_module
from training.config import ConfigError, load_config
from training.devices import bf16_tflops
from training.folder import RunFolder
from training.fsdp import open_data, train
from training.metrics import Metrics
from training.order import PlanError
from training.parallel import World
from training.progress import Progress, duration
from training.record import Record, read_lines, truncate

STREAMS = ("books/en", "web/en", "web/zh")
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("metrics") / "corpus")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that stands still: what it shows is the list's last number."""
    shown = [0.0]
    monkeypatch.setattr(metrics_module, "time", SimpleNamespace(perf_counter=lambda: shown[-1]))
    yield shown


def metrics_of(folder: Path, root: Path, rank: int = 0, size: int = 1, since: int = 0, **changes: Any) -> Metrics:
    """Metrics of the run of `toys.settings`: 16 steps of 4 sequences of 16 tokens, in two phases."""
    chosen, run = open_data(load_config(str(written(settings(folder, root)))))
    folder.mkdir(exist_ok=True)
    world = World(rank, size, torch.device("cpu"), None)
    return Metrics(RunFolder(folder), replace(chosen, **changes), run, world, STREAMS, since)


def known(sums: list[float], counts: list[float], *rest: float) -> torch.Tensor:
    """As `fsdp.take` gives it: sums and counts by stream, pushed out, norm, skipped, in a row, ranks that stop."""
    return torch.tensor([*sums, *counts, *rest], dtype=torch.float64)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_line_by_hand(tmp_path: Path, root: Path, clock: list[float]) -> None:
    made = metrics_of(tmp_path / "run", root, size=2, peak_tflops=1e-6)
    clock.append(2.0)
    record = made.add(SimpleNamespace(step=9), 0.5, 3e-4, "ab", known([30, 12, 60.5], [10, 5, 25], 3, 1.25, 0, 0, 1))
    made.close()
    [line] = lines(tmp_path / "run")
    assert record is not None and json.loads(record.line()) == line
    shape = made.config.model
    assert line == {
        "step": 9, "phase": "second", "tokens": 640, "loss": 102.5 / 40,
        "languages": {"en": 2.8, "zh": 2.42}, "streams": {"books/en": 3.0, "web/en": 2.4, "web/zh": 2.42},
        "counted": {"books/en": 10, "web/en": 5, "web/zh": 25}, "norm": 1.25, "lr": 3e-4,
        "skipped": False, "why": "", "in_a_row": 0, "stop": True, "seconds": 2.0, "tokens_per_second": 32.0,
        "mfu": pytest.approx(16 * shape.flops(16) / 1e6),
        "mfu_causal": pytest.approx(16 * shape.flops(16, causal=True) / 1e6), "peak_tflops": 1e-6, "waited": 0.5,
        "memory": line["memory"], "pushed_out": 3,
        "digest": made.run.order.digest(9), "rolling": "ab",
    }  # fmt: skip
    assert line["memory"] > 50_000_000  # this process, in bytes


@pytest.mark.parametrize(
    ("sums", "norm", "skip", "loss", "shown_norm", "why"),
    [
        ([8.0, 0, 8.0], 1.0, (), 4.0, 1.0, "spike"),
        ([NAN, 0, 8.0], 1.0, (), None, 1.0, "not finite"),
        ([8.0, 0, 8.0], INF, (), 4.0, None, "not finite"),
        ([0.0, 0, 0.0], 0.0, (3,), None, None, "listed"),
    ],
)
def test_why_a_step_was_skipped(
    tmp_path: Path, root: Path, sums: list[float], norm: float, skip: tuple[int], loss: float | None,
    shown_norm: float | None, why: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made = metrics_of(tmp_path / "run", root)
    made.config = replace(made.config, guard=replace(made.config.guard, skip=skip))
    made.add(SimpleNamespace(step=3), 0.0, 1e-3, "", known(sums, [2, 0, 2], 0, norm, 1, 2, 0))
    made.close()
    [line] = lines(tmp_path / "run")
    assert (line["loss"], line["norm"], line["skipped"], line["why"]) == (loss, shown_norm, True, why)
    assert "books/en" not in line["streams"] or line["streams"].keys() == {"books/en", "web/zh"}
    assert f"skipped: {why}, 2 in a row" in capsys.readouterr().err


def test_numbers_keep_all_their_digits(tmp_path: Path, root: Path) -> None:
    loss, norm = 10.0 / 3, 0.1 + 0.2
    made = metrics_of(tmp_path / "run", root)
    made.add(SimpleNamespace(step=0), 0.0, 1e-3, "", known([0, 0, 10.0], [0, 0, 3], 0, norm, 0, 0, 0))
    made.close()
    [line] = lines(tmp_path / "run")
    assert (line["loss"].hex(), line["norm"].hex()) == (loss.hex(), norm.hex())


def test_steps_are_read_late_in_the_same_way_on_all_ranks(tmp_path: Path, root: Path) -> None:
    made, other = metrics_of(tmp_path / "run", root), metrics_of(tmp_path / "run", root, rank=1)
    made.late = other.late = 2
    values = [known([0, 0, 4.0], [0, 0, 2], 0, 1.0, 0, 0, step >= 1) for step in range(4)]
    for each in (made, other):
        found = [each.add(SimpleNamespace(step=step), 0.0, 1e-3, "", values[step]) for step in range(4)]
        assert [record and (record.step, record.stop) for record in found] == [None, None, (0, False), (1, True)]
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1]
    assert made.read() is not None and made.read() is None
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1, 2, 3]


@pytest.mark.parametrize(("step", "tokens"), [(0, 0), (1, 64), (8, 512), (9, 576), (16, 1024)])
def test_tokens_by_phase(tmp_path: Path, root: Path, step: int, tokens: int) -> None:
    assert metrics_of(tmp_path / "run", root).run.order.tokens(step) == tokens


@pytest.mark.parametrize(
    ("text", "since", "left"),
    [
        ('{"step": 0}\n{"step": 1}\n{"step": 2}\n', 2, '{"step": 0}\n{"step": 1}\n'),
        ('{"step": 0}\n{"step": 1}\n', 2, '{"step": 0}\n{"step": 1}\n'),
        ('{"step": 0}\n{"step": 1}\n', 0, ""),
        ('{"step": 0}\n{"step": 1, "lo', 2, '{"step": 0}\n'),
        ('{"step": 0}\n{"step": 1}', 2, '{"step": 0}\n'),
        ("", 0, ""),
    ],
)
def test_truncation(tmp_path: Path, text: str, since: int, left: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text)
    truncate(file, since)
    assert file.read_text() == left


@pytest.mark.parametrize("bad", ["{\n", "[0]\n", '{"loss": 1}\n'])
def test_a_damaged_line_in_the_middle_is_said_and_left_alone(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text := '{"step": 0}\n' + bad + '{"step": 2}\n')
    with pytest.raises(PlanError, match="line 2 is"):
        truncate(file, 1)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H200", 989.0),
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H20", 148.0),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA GB200", 2500.0),
        ("Tesla V100-SXM2-16GB", None),
        ("", None),
    ],
)
def test_peaks(device: str, peak: float | None) -> None:
    assert bf16_tflops(device) == peak


def test_only_the_first_rank_writes(tmp_path: Path, root: Path) -> None:
    made = metrics_of(tmp_path / "run", root, rank=1, size=2)
    assert made.add(SimpleNamespace(step=0), 0.0, 1e-3, "", known([0, 0, 4.0], [0, 0, 2], 0, 1.0, 0, 0, 0)) is not None
    made.close()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_tensorboard_holds_the_same_numbers(tmp_path: Path, root: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = metrics_of(tmp_path / "run", root, tensorboard=True)
    made.add(SimpleNamespace(step=4), 0.0, 1e-3, "", known([9.0, 0, 4.0], [3, 0, 2], 0, 1.5, 0, 0, 0))
    made.close()
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    for name, value in (("loss", 2.6), ("languages/en", 3.0), ("streams/web/zh", 2.0), ("norm", 1.5), ("tokens", 320)):
        [point] = board.Scalars(name)
        assert (point.step, point.value) == (4, pytest.approx(value))


def test_without_tensorboard_one_sentence_names_the_extra(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"\.\[tensorboard\]"):
        metrics_of(tmp_path / "run", root, tensorboard=True)


def a_record(step: int, **changes: Any) -> Record:
    """A record for the progress line."""
    values: dict[str, Any] = {
        "step": step, "phase": "decay", "tokens": 1000 * (step + 1), "loss": 2.5, "languages": {"en": 2.0, "zh": 3.0},
        "streams": {}, "counted": {}, "norm": 0.5, "lr": 1e-3, "skipped": False, "why": "", "in_a_row": 0,
        "stop": False, "seconds": 2.0, "tokens_per_second": 500.0, "mfu": 0.5,
        "mfu_causal": 0.4, "peak_tflops": 1.0, "waited": 0.0, "memory": 0, "pushed_out": 0,
        "digest": "", "rolling": "",
    }  # fmt: skip
    return Record(**(values | changes))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    progress = Progress(4, 4000, out)
    for step in range(3):
        progress.show(a_record(step, skipped=step == 1, why="spike" if step == 1 else "", in_a_row=step % 2))
    progress.close()
    one, two, three = out.getvalue().replace("\x1b[K", "").split("\r")[1:]
    assert one.startswith("step 1/4 decay  loss 2.5000 (en 2.0000 zh 3.0000)  norm 0.5000  lr 1.00e-03  500 tokens/s")
    assert one.endswith("MFU 50.0%  ETA 0:06")
    assert two.endswith("skipped: spike, 1 in a row\n")
    assert three.endswith("ETA 0:02\n")


def test_plain_lines_elsewhere_are_some_seconds_apart_and_the_last_is_always_there() -> None:
    out = io.StringIO()
    progress = Progress(50, 50_000, out)
    for step in range(50):
        progress.show(a_record(step))
    progress.close()
    shown = out.getvalue().splitlines()
    assert [line.split()[1] for line in shown] == ["1/50", "50/50"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3600, "1 h 00 min"), (86_461, "24 h 01 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_run_that_goes_on_takes_its_lines_again(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "run"
    chosen = load_config(str(written(settings(folder, root))), ["guard.skip=[3]"])
    try:
        assert train(chosen, until=6) == 6
        before = lines(folder)
        shutil.rmtree(folder / "checkpoints" / "step-00000006")  # as if it had been killed after step 5
        with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write('{"step": 6, "phase": "fir')
        assert train(chosen) == 16
    finally:
        dist.destroy_process_group()
    found, run = lines(folder), open_data(chosen)[1]
    assert [line["step"] for line in found] == list(range(16))
    same = ("step", "loss", "languages", "streams", "norm", "lr", "tokens", "digest", "rolling")
    assert [[line[key] for key in same] for line in found[:6]] == [[line[key] for key in same] for line in before]
    assert found[-1]["rolling"] == run.order.rolling(15)
    assert [line["step"] for line in found if line["why"] == "listed"] == [3]
    for line in found:
        if not line["skipped"]:
            counts, losses = line["counted"], line["streams"]
            assert line["loss"] == pytest.approx(sum(losses[s] * counts[s] for s in counts) / sum(counts.values()))
            assert line["languages"] == {name.split("/")[1]: loss for name, loss in losses.items()}
    assert [values["step"] for _, values in read_lines(folder / "metrics.jsonl")] == list(range(16))
