"""Small runs for tests of checkpoints: a corpus in two languages, a tiny model, and processes that train it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from tests.training.corpora import documents, store

REPO = Path(__file__).resolve().parents[3]
MODEL = {"layers": 2, "hidden": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48, "context": 16}
PHASE = {"sequence": 16, "batch": 4, "steps": 8}
STEPS = 16


def corpus(root: Path, seed: int = 1) -> Path:
    """Token shards of two languages below a folder."""
    sizes = [20, 33, 47, 12, 60, 28] * 30
    store(str(root), {("web/en", "0a"): documents(seed, sizes), ("web/zh", "0b"): documents(2, sizes)}, 256)
    return root


def settings(folder: Path, root: Path, **changes: Any) -> dict[str, Any]:
    """Two phases of 8 steps, the second with new moments, and a checkpoint after each 4; tables are merged."""
    raw: dict[str, Any] = {
        "run": str(folder),
        "plan": {
            "window": 160,
            "phase": [{"name": "first", **PHASE}, {"name": "second", **PHASE, "restart": "*"}],
        },
        "model": MODEL,
        "schedule": {
            "first": {"peak": 1e-3, "warmup": 2, "end": 1e-4},
            "second": {"kind": "exponential", "peak": 5e-4, "fresh": True},
        },
        "corpus": str(root),
        "device": "cpu",
        "parallel": {"precision": "fp32"},
        "saving": {"every": 4, "keep": 4},
    }
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(raw.get(name), dict) else value
    return raw


def written(raw: Mapping[str, Any]) -> Path:
    """A configuration as a file beside the run's folder."""
    file = Path(f"{raw['run']}.json")
    file.write_text(json.dumps(raw), encoding="utf-8")
    return file


def lines(folder: Path) -> list[tuple[Any, ...]]:
    """Step, loss, norm and rolling digest of each step that a run has recorded."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(line["step"], line["loss"], line["norm"], line["rolling"]) for line in read]


def hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of each tensor, whole, as float32."""
    found = {}
    for name, value in sorted(state.items()):
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        found[name] = hashlib.sha256(whole.float().contiguous().numpy().tobytes()).hexdigest()
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(ranks: int, *command: str) -> list[subprocess.Popen[str]]:
    """Begin `python COMMAND` on so many ranks, as a launcher would."""
    env = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks)}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=REPO,
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
