"""A run's folder: what was run, where and with what, so that running it again needs nothing but the corpus.

`config.json` is the resolved configuration and can be given to the trainer as it is; `starts.jsonl` has a line for each
start: step, ranks, versions, commit, machine, data-set hashes. Metrics and checkpoints lie beside them.
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from training.config import Config, digest_of
from training.phases import Run

PACKAGES = ("torch", "torchao", "numpy", "pyarrow", "safetensors", "transformers", "ray")


class RunFolder:
    """The paths of a run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.starts = self.path / "starts.jsonl"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"

    def begin(self, config: Config, run: Run, ranks: int, step: int) -> None:
        """Write the configuration and a line about this start; another configuration before stays, by its digest."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = config.text()
        if self.config.exists() and (before := self.config.read_text(encoding="utf-8")) != text:
            (self.path / f"config-{digest_of(before)}.json").write_text(before, encoding="utf-8")
        self.config.write_text(text, encoding="utf-8")
        line = {"step": step, "ranks": ranks, "config": digest_of(text), **environment()}
        line["data"] = {phase.name: corpus.hash for phase, corpus in zip(run.plan.phases, run.corpora, strict=True)}
        with open(self.starts, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def environment() -> dict[str, Any]:
    """Versions, commit and machine of this process."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
        "machine": platform.node(), "processor": platform.machine(), "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": dict(sorted((each.name, each.version) for each in distributions() if each.name in PACKAGES)),
    }  # fmt: skip


def commit() -> str:
    """The commit of this checkout, with a plus where files differ from it; "" outside a checkout."""
    asked, here = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"], Path(__file__).parent
    try:
        return subprocess.run(asked, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
