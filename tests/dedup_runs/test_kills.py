"""The driver is killed in the middle of every stage and started again, over and over; in the end nothing shows it."""

import signal
from pathlib import Path

import pytest

from manifests.verify import verify
from stages import sides
from tests.dedup_runs.corpus import corpus, write
from tests.dedup_runs.killed import COMMITTING, TASKS, WRITING, driven
from tests.dedup_runs.outcome import chain, cut_into
from tests.runs import run_recipe

STAGES = [stage.name for stage in chain(['[[source]]\nname = "a"\nkind = "jsonl"\ninputs = ["a"]\n']).stages]


def committed(root: Path, stage: str) -> int:
    """Tasks of a stage that are committed."""
    return sum(path.parent.name.rpartition("-")[0] == stage for path in root.glob("*/*.manifest.parquet"))


@pytest.mark.soak
def test_killed_in_the_middle_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = write(tmp_path / "inputs", corpus(2))
    with monkeypatch.context() as patch:
        patch.setattr(sides, "ranges", cut_into(TASKS))
        reference = run_recipe(chain(sources), tmp_path / "reference")
    root = tmp_path / "root"
    for stage in STAGES:
        if not (tasks := committed(tmp_path / "reference", stage)):
            continue  # it runs in the pass of another, which commits for it
        for moment, after in ((WRITING, 0), (COMMITTING, min(tasks - 1, 1))):
            before = committed(root, stage)
            assert driven(root, sources, stage, moment, after) == -signal.SIGKILL, f"{stage} lived on"
            assert committed(root, stage) == before + after < tasks, stage
    assert driven(root, sources) == 0
    verified = verify(str(root))
    assert (verified.root, verified.faults) == (reference.root, ())
