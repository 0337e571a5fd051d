"""Ray Train and torchrun give the same run: losses, norms and digests, digit for digit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.trainer.toys import REPO, corpus, settings, start, written
from training import launch_ray

SAME = ("step", "phase", "loss", "languages", "streams", "norm", "lr", "rolling")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("ray") / "corpus")


def digits(folder: Path) -> list[list[object]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [[json.loads(line)[key] for key in SAME] for line in lines]


@pytest.mark.ray
@pytest.mark.soak  # with the extra `train` alone
def test_two_workers_give_the_digits_of_torchrun(tmp_path: Path, root: Path) -> None:
    ranks = start(2, "-m", "training.fsdp", str(written(settings(tmp_path / "torchrun", root))))
    for rank in ranks:
        said, _ = rank.communicate(timeout=600)
        assert rank.returncode == 0, said
    done = subprocess.run(
        [sys.executable, "-m", "training.launch_ray", str(written(settings(tmp_path / "ray", root))), "--workers", "2"],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(digits(tmp_path / "ray")) == 16
    assert digits(tmp_path / "ray") == digits(tmp_path / "torchrun")
    assert (tmp_path / "ray" / "checkpoints" / "step-00000016" / ".metadata").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "3"], "world sizes that fit: 1, 2, 4"),
        (["corpus=none"], "none"),
        (["optimiser.clip=1"], "did you mean 'optimizer'?"),
    ],
)
def test_what_cannot_be_is_said_before_ray_starts(
    tmp_path: Path, root: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch_ray.main([str(written(settings(tmp_path / "run", root))), *arguments]) == 2
    assert sentence in capsys.readouterr().err
