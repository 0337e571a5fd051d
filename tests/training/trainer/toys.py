"""Small runs for tests of checkpoints: a corpus in two languages, a tiny model, and processes that train it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.training.corpora import documents, store

REPO = Path(__file__).resolve().parents[3]
MODEL = {"layers": 2, "hidden": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48, "context": 16}


def corpus(root: Path) -> Path:
    """Token shards of two languages below a folder."""
    sizes = [20, 33, 47, 12, 60, 28] * 30
    store(str(root), {("web/en", "0a"): documents(1, sizes), ("web/zh", "0b"): documents(2, sizes)}, 256)
    return root


def config(folder: Path, root: Path, **changes: Any) -> Path:
    """A configuration as JSON beside the run's folder: two phases of 8 steps, a checkpoint after each 4."""
    phase = {"sequence": 16, "batch": 4, "steps": 8}
    raw: dict[str, Any] = {
        "run": str(folder),
        "plan": {"window": 160, "phase": [{"name": "first", **phase}, {"name": "second", **phase, "restart": "*"}]},
        "model": MODEL,
        "schedule": {
            "first": {"peak": 1e-3, "warmup": 2, "end": 1e-4},
            "second": {"kind": "exponential", "peak": 5e-4, "fresh": True},
        },
        "corpus": str(root),
        "device": "cpu",
        "parallel": {"precision": "fp32"},
        "saving": {"every": 4},
    }
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(raw.get(name), dict) else value
    file = folder.with_suffix(".json")
    file.write_text(json.dumps(raw), encoding="utf-8")
    return file


def start(ranks: int, *command: str) -> subprocess.Popen[str]:
    """Begin `python COMMAND` on so many ranks, as a group of processes of their own that can be killed at once."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--standalone"] if ranks > 1 else []
    return subprocess.Popen(
        [sys.executable, *launcher, *command],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
