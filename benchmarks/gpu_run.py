"""A real run of `training.fsdp` on token shards: how long a step waits for data, and how long a save holds it up.

Shards are written, the trainer is started as a user starts it, and what it wrote into metrics.jsonl is read. The step
after a save in the background is compared with the median step. Run: python -m benchmarks.gpu_run
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import order
from benchmarks.measure import CHECKOUT, median, table

HEAD = ["run", "steps", "s/step", "share that waits for data", "step after a save / step", "trouble"]
Check = tuple[str, float, float, bool]
CONFIG = """
run = "{folder}/run"
corpus = "{folder}/corpus"
model = {{ preset = "{model}", vocabulary = 64256 }}
microbatch = {microbatch}
parallel = {{ compile = {compiled} }}
schedule.only = {{ peak = 1e-4, warmup = 10 }}
saving = {{ every = {every} }}
[[plan.phase]]
name = "only"
sequence = {sequence}
batch = {microbatch}
steps = {steps}
mixture = {{ "web/en" = 1, "web/zh" = 1 }}
"""


def lines_of(device: str, folder: str) -> tuple[list[dict[str, Any]], int, str]:
    """What a run wrote about each step, the steps between two saves, and what went wrong."""
    gpu = device == "cuda"
    every = 40 if gpu else 6
    text = CONFIG.format(
        folder=folder, model="neo-1b-sibling" if gpu else "tiny", microbatch=2, compiled=str(gpu).lower(), every=every,
        sequence=8192 if gpu else 512, steps=3 * every,
    )  # fmt: skip
    file = Path(folder) / "run.toml"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "training.fsdp", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=os.environ)
    if done.returncode:
        return [], every, next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
    metrics = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in metrics.splitlines()], every, ""


def survey(device: str) -> tuple[list[list[str]], list[Check]]:
    """The lines of the table, `HEAD` above them, and what is held against bars."""
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as folder:
        order.stored(f"{folder}/corpus")
        lines, every, wrong = lines_of(device, folder)
    if wrong:
        return [["training.fsdp", "-", "-", "-", "-", wrong]], []
    usual = [line for line in lines if line["step"] > every and line["step"] % every]
    step = median([line["seconds"] for line in usual])
    wait = sum(line["waited"] for line in usual) / sum(line["seconds"] for line in usual)
    saves = [line["seconds"] / step for line in lines if line["step"] and line["step"] % every == 0]
    stall = max(saves)
    checks = [("waiting for data, share of a step", wait, 0.01, False),
              ("stall of a save in the background, steps", stall - 1, 1.0, False)]  # fmt: skip
    return [["training.fsdp", str(len(lines)), f"{step:.3f}", f"{wait:.2%}", f"{stall:.2f}", ""]], checks


if __name__ == "__main__":
    print(table(HEAD, survey("cuda" if torch.cuda.is_available() else "cpu")[0]))
