import json
from pathlib import Path

import pytest

from tests.training.trainer.toys import corpus, settings
from training.config import parse_config
from training.folder import RunFolder
from training.fsdp import train
from training.replay import Again, main, ranks_of, replay, show


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 steps, of which the sixth is left out."""
    folder = tmp_path_factory.mktemp("run")
    train(parse_config(settings(folder / "run", corpus(folder / "corpus"), guard={"skip": [5]})))
    return folder / "run"


def test_steps_come_out_as_they_were_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in run.rglob("*"))
    assert main([str(run), "--steps", "3:10"]) == 0  # from the start of the run, over the end of a phase
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == list("3456789")
    assert lines[-1] == "largest difference of the loss 0.0e+00, of the norm 0.0e+00, as it must be; order same"
    assert sorted(path.name for path in run.rglob("*")) == before


def test_a_later_checkpoint_gives_the_same(run: Path) -> None:
    far, exact = replay(RunFolder(run), 13, 15, 4)
    near, _ = replay(RunFolder(run), 13, 15)
    assert far == near and exact and [each.step for each in near] == [13, 14]


def test_a_changed_record_is_found(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run / "metrics.jsonl"
    kept = metrics.read_text()
    lines = [json.loads(line) for line in kept.splitlines()]
    try:
        lines[9]["loss"] += 1e-6
        metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert main([str(run), "--steps", "8:10"]) == 1
        assert (
            "largest difference of the loss 1.0e-06, of the norm 0.0e+00, and must be none" in capsys.readouterr().out
        )
        lines[9]["loss"] -= 1e-6
        lines[8]["digest"] = "0" * 32
        metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert main([str(run), "--steps", "8:10"]) == 1
        assert "DIFFERS" in capsys.readouterr().out
    finally:
        metrics.write_text(kept)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "10:20"], "has no line of step 16"),
        (["--steps", "5:6", "--from", "8"], "has no complete checkpoint after step 8 to begin with"),
        (["--steps", "9:12", "--from", "7"], "has no complete checkpoint after step 7"),
    ],
)
def test_what_cannot_be_replayed(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([str(run), *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "exact", "right"),
    [((2.0, 2.0), True, True), ((2.0, 2.5), True, False), ((2.0, 2.5), False, True), ((None, 2.5), True, False)],
)
def test_what_must_be_the_same(number: tuple[float | None, float | None], exact: bool, right: bool) -> None:
    each = Again(3, ("d", "d"), (number, (1.0, 1.0)))
    lines, found = show([each], exact)
    assert found == right and lines[-1].endswith("order same")
    assert show([Again(3, ("d", "e"), (number, (1.0, 1.0)))], False)[1] is False


def test_steps_were_recorded_by_the_last_start_before_them(tmp_path: Path) -> None:
    starts = [(0, 2), (8, 4), (6, 1)]  # (step, ranks); the second start's steps from 6 on were taken again
    text = "".join(json.dumps({"step": step, "ranks": ranks}) + "\n" for step, ranks in starts)
    (tmp_path / "starts.jsonl").write_text(text)
    assert ranks_of(RunFolder(tmp_path), 0, 6) == {2}
    assert ranks_of(RunFolder(tmp_path), 6, 12) == {1}
    assert ranks_of(RunFolder(tmp_path), 5, 12) == {1, 2}
