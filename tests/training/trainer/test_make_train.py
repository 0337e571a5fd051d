"""`make train`, from shards to text: both phases, curves, checkpoints, an export, and words in two languages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.trainer.toys import REPO

STEPS = (
    "plan.phase.fundamental.steps=12 plan.phase.decay.steps=4 plan.phase.fundamental.batch=2 plan.phase.decay.batch=2"
)
SMALL = f"{STEPS} microbatch=2 model.layers=2 model.hidden=64 model.heads=1 model.ffn=128 saving.every=6 corpus=corpus"


@pytest.mark.soak
def test_from_shards_to_text(tmp_path: Path, sample: tuple[Path, Path]) -> None:
    shutil.copy(REPO / "Makefile", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "corpus").symlink_to(sample[1])
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    env |= {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    (tmp_path / "runs" / "sample" / "manifests").mkdir(parents=True)
    (tmp_path / "runs" / "sample" / "manifests" / "tokens.parquet").touch()  # what is not read, since corpus= is given
    command = ["make", "train", "PYTHON=true", f"FLAGS={SMALL}"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    run = tmp_path / "runs" / "tiny"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["phase"] for line in lines] == ["fundamental"] * 12 + ["decay"] * 4
    assert {lang for line in lines for lang in line["languages"]} == {"en", "zh"}
    assert sum(line["loss"] for line in lines[-4:]) < sum(line["loss"] for line in lines[:4])
    assert "loss en from" in done.stdout and ", zh from" in done.stdout
    assert (run / "curves.png").is_file() and (run / "checkpoints" / "step-00000016" / ".metadata").is_file()
    assert (run / "export" / "model.safetensors").is_file() or list((run / "export").glob("model-*.safetensors"))
    said = [line for line in done.stdout.splitlines() if line.startswith(("The history of the town", "这座城市的历史"))]
    assert len(said) == 2 and all(len(line) > len("The history of the town") for line in said[:1])
