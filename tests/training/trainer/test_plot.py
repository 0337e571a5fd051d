"""Curves: what each panel holds, by hand; the same bytes for the same records; sentences for what cannot be drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from training import plot
from training.order import PlanError


def run_of(folder: Path, steps: int = 4, scale: float = 1.0) -> Path:
    """A run with a phase of two steps and one of the rest; step 1 was skipped, and only later ones hold Chinese."""
    folder.mkdir()
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as file:
        for step in range(steps):
            english = {"web/en": 4.0 * scale - step}
            streams = {} if step == 1 else english | ({"web/zh": 5.0 * scale} if step > 1 else {})
            line: dict[str, Any] = {
                "step": step, "phase": "first" if step < 2 else "second", "tokens": 100 * (step + 1),
                "loss": None if step == 1 else 4.5 * scale - step, "streams": streams,
                "languages": {name[-2:]: loss for name, loss in streams.items()},
                "norm": None if step == 1 else 1.0, "lr": 0.1, "tokens_per_second": 10.0,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return folder


def test_what_the_panels_hold(tmp_path: Path) -> None:
    run = plot.load(str(run_of(tmp_path / "a")))
    panels = {title: {label: series for label, _, _, series in lines} for title, lines, _ in plot.panel_lines([run])}
    assert list(panels) == [
        "loss", "loss by language", "loss by stream", "gradient norm", "learning rate", "tokens per second",
    ]  # fmt: skip
    assert panels["loss"] == {run.name: ([100, 300, 400], [4.5, 2.5, 1.5])}
    assert panels["loss by language"] == {"en": ([100, 300, 400], [4.0, 2.0, 1.0]), "zh": ([300, 400], [5.0, 5.0])}
    assert panels["loss by stream"].keys() == {"web/en", "web/zh"}
    assert panels["learning rate"] == {run.name: ([100, 200, 300, 400], [0.1] * 4)}
    assert run.boundaries() == [200]


def test_runs_lie_over_each_other(tmp_path: Path) -> None:
    runs = [plot.load(str(run_of(tmp_path / name, scale=scale))) for name, scale in (("a", 1.0), ("b", 2.0))]
    lines = dict((title, lines) for title, lines, _ in plot.panel_lines(runs))
    assert len({colour for _, colour, _, _ in lines["loss"]}) == 2
    by_language = {label: (colour, style) for label, colour, style, _ in lines["loss by language"]}
    a, b = runs[0].name, runs[1].name
    assert by_language.keys() == {f"{a} en", f"{a} zh", f"{b} en", f"{b} zh"}
    assert by_language[f"{a} en"][0] == by_language[f"{b} en"][0] != by_language[f"{a} zh"][0]
    assert by_language[f"{a} en"][1] != by_language[f"{b} en"][1]


@pytest.mark.parametrize(
    ("values", "means"),
    [([3.0, 1.0], [3.0, 1.0]), ([0.0, 2.0] * 100, [0.0] + [1.0] * 199), ([], [])],
)
def test_running_mean(values: list[float], means: list[float]) -> None:
    assert plot.smooth(values) == means


@pytest.mark.parametrize(("file", "begins"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml")])
def test_the_same_records_give_the_same_bytes(tmp_path: Path, file: str, begins: bytes) -> None:
    runs = [
        plot.load(str(run_of(tmp_path / name, steps=250, scale=scale))) for name, scale in (("a", 80.0), ("b", 90.0))
    ]
    for name in ("1-", "2-"):
        plot.draw(runs, str(tmp_path / (name + file)))
    first, second = ((tmp_path / (name + file)).read_bytes() for name in ("1-", "2-"))
    assert first == second and first.startswith(begins)


def test_the_command_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_of(tmp_path / "a")
    assert plot.main([str(folder)]) == 0
    moved = "loss en from 4.000 to 1.000, zh from 5.000 to 5.000 (means over 1 steps)"
    assert capsys.readouterr().out == f"{folder}: step 4, 400 tokens; {moved}\n{folder}/curves.png\n"
    assert (folder / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none"], "none/metrics.jsonl: no such file"),
        (["empty"], "holds no step yet"),
        (["a", "--out", "x.pdf"], "must end in .png or .svg"),
        (["a", "--out", "none/x.png"], "cannot be written"),
    ],
)
def test_what_cannot_be_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    run_of(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    if sentence == "cannot be written":
        (tmp_path / "none").rmdir()
    assert plot.main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_without_matplotlib_one_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "DRAWS", False)
    with pytest.raises(PlanError, match=r"\.\[plot\]"):
        plot.draw([plot.load(str(run_of(tmp_path / "a")))], "x.png")
