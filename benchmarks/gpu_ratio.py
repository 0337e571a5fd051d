"""The trainer on a GPU against torchtitan 0.2.2 in the same run: tokens per second and peak memory; then what else only
a GPU can show: the plans that fit on one card, float8, kernels, waiting for data, the stall of a save.

Each side is a process of its own on the same device, in turns A B A B A B: 5 steps to warm up, 20 timed by CUDA events,
medians. Shapes, tokens, microbatch, class of recomputing, precision of the optimizer and clip are the same, and nothing
is accumulated. Without a GPU the same program runs small sizes on the CPU, both sides, and no bar is measured.
Run: python -m benchmarks.gpu_ratio [--peer PYTHON]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks import gpu_kernels, gpu_run
from benchmarks.measure import CHECKOUT, in_turns, median, table, verdict
from benchmarks.peers import PINS, TORCHTITAN, trouble
from training.models import PRESETS, Model

ROUNDS = 3
PEAK_TFLOPS = 989.0  # bfloat16, dense, of an H100 or H200: the convention of torchtitan's tables
LIMIT = 134.0  # GiB that a plan for one H200 may take
OURS, THEIRS = "ours", "torchtitan 0.2.2"


@dataclass(frozen=True)
class Case:
    """A model and how it is trained; `bars` are the least ratio of speed and tokens per second, and the most of memory.

    Bars are those that the project set itself before it had a GPU; 0 is none.
    """

    name: str
    preset: str
    microbatch: int = 1
    sequence: int = 8192
    recompute: str = "none"
    moments: str = "adamw"
    float8: str = "off"
    ratio: float = 0.0
    memory_ratio: float = 0.0
    speed: float = 0.0
    gib: float = 0.0

    @property
    def model(self) -> Model:
        """Its shape."""
        return PRESETS[self.preset]


# Both sides. 7B with all states in float32 leaves room for nothing but full recomputing.
RATIOS = (
    Case("1B", "neo-1b-sibling", microbatch=2, ratio=1.0, speed=50_000),
    Case("2B", "neo-2b", microbatch=2, ratio=1.0, memory_ratio=0.95, speed=30_300),
    Case("7B, full recomputing", "neo-7b", recompute="full", ratio=1.0),
)
# Ours alone: plans A, B, D and E of one card. 7,200 tokens/s per GPU is what MAP-Neo's paper comes to on 512 H800, with
# communication; 9,150 are half of the peak.
PLANS = (
    Case("A: 7B, all in float32, full recomputing", "neo-7b", recompute="full", gib=LIMIT),
    Case("B: 7B, 8-bit moments, nothing recomputed", "neo-7b", moments="adamw8bit", speed=9_150, gib=LIMIT),
    Case("D: 2B, all in float32", "neo-2b", microbatch=4, gib=LIMIT),
    Case("E: 1B, all in float32", "neo-1b-sibling", microbatch=8, gib=LIMIT),
    Case("B in float8, tensorwise", "neo-7b", moments="adamw8bit", float8="tensorwise"),
    Case("B in float8, rowwise", "neo-7b", moments="adamw8bit", float8="rowwise"),
)
FLOAT8_BAR, PAPER_BAR = 1.2, 7_200
SMALL = (Case("tiny", "tiny", 2, 256), Case("tiny, full recomputing", "tiny", 2, 256, "full"))


def described(case: Case, device: str) -> dict[str, Any]:
    """What both sides are told."""
    shape = asdict(case.model)
    shape["vocabulary"] = shape["vocabulary"] or 4096
    return {
        "model": shape,
        "sequence": case.sequence,
        "microbatch": case.microbatch,
        "device": device,
        "warmup": 5,
        "steps": 20,
        "parallel": {
            "recompute": case.recompute,
            "compile": device == "cuda",
            "precision": "bf16" if device == "cuda" else "fp32",  # CPUs emulate bfloat16
            "float8": case.float8,
        },
        "optimizer": {"kind": case.moments, "clip": 1.0},
    }  # fmt: skip


def ours(case: Case, device: str) -> dict[str, Any]:
    """Figures of our side."""
    return answer([sys.executable, str(PINS / "trainer_run.py"), json.dumps(described(case, device))])


def theirs(case: Case, device: str, python: str) -> dict[str, Any]:
    """Figures of torchtitan."""
    return answer([python, str(PINS / "torchtitan_run.py"), json.dumps(described(case, device))])


def answer(command: list[str]) -> dict[str, Any]:
    """The JSON on the last line that a process prints; what went wrong as `trouble`."""
    settings = {"PYTORCH_ALLOC_CONF": "expandable_segments:True", "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=os.environ | settings)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"trouble": lines[-1] if lines else f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def speed_of(case: Case, figures: dict[str, Any]) -> float:
    """Tokens per second by the median step."""
    return case.microbatch * case.sequence / median(figures["seconds"])


def row(case: Case, side: str, figures: dict[str, Any], device: str) -> list[str]:
    """A line of the table."""
    if "trouble" in figures:
        return [case.name, side, "-", "-", "-", figures["trouble"]]
    speed = speed_of(case, figures)
    mfu = speed * case.model.flops(case.sequence) / PEAK_TFLOPS / 1e12
    share = f"{mfu:.1%}" if device == "cuda" else "-"
    return [case.name, side, f"{speed:,.0f}", share, f"{figures['peak'] / 2**30:.2f}", f"{figures['loss']:.4f}"]


HEAD = ["case", "side", "tokens/s", "MFU", "peak GiB", "loss"]
Check = tuple[str, float, float, bool]


def compare(case: Case, device: str, python: str) -> tuple[list[list[str]], list[Check]]:
    """Both sides in turns: rows of the table, and bars."""
    sides: dict[str, Callable[[int], dict[str, Any]]] = {
        OURS: lambda _: ours(case, device),
        THEIRS: lambda _: theirs(case, device, python),
    }
    found = in_turns(sides, ROUNDS)
    rows = [row(case, side, one, device) for one_round in zip(*found.values(), strict=True)
            for side, one in zip(found, one_round, strict=True)]  # fmt: skip
    pairs = [(a, b) for a, b in zip(*found.values(), strict=True) if "trouble" not in a | b]
    if not pairs:
        return rows, []
    if len({figures["parameters"] for pair in pairs for figures in pair}) > 1:
        rows.append([case.name, "the sides differ in parameters", "", "", "", ""])
        return rows, []
    if without := pairs[0][1]["without"]:
        print(f"{case.name}: {THEIRS} without its {without}, which needs Triton and which this model does not call")
    ratios = [speed_of(case, a) / speed_of(case, b) for a, b in pairs]
    memory = [a["peak"] / b["peak"] for a, b in pairs]
    rows.append([case.name, "ours / theirs", f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", "",
                 f"{median(memory):.2f}", ""])  # fmt: skip
    speed = median([speed_of(case, a) for a, _ in pairs])
    checks = [
        (f"tokens/s, ours / torchtitan, {case.name}", median(ratios), case.ratio, True),
        (f"peak memory, ours / torchtitan, {case.name}", median(memory), case.memory_ratio, False),
        (f"tokens/s, {case.name}", speed, case.speed, True),
    ]
    return rows, [check for check in checks if check[2]]


def plans(device: str) -> tuple[list[list[str]], list[Check]]:
    """What fits on one card, and how fast, ours alone."""
    rows, checks, speeds = [], [], {}
    for case in PLANS:
        figures = ours(case, device)
        rows.append(row(case, OURS, figures, device))
        if "trouble" in figures:
            continue
        speeds[case.name] = speed_of(case, figures)
        checks += [(f"tokens/s, {case.name}", speeds[case.name], case.speed, True)] if case.speed else []
        checks += [(f"GiB, {case.name}", figures["peak"] / 2**30, case.gib, False)] if case.gib else []
    plain = speeds.get(PLANS[1].name)
    if plain:
        checks.append(("tokens/s per GPU against MAP-Neo's paper, 7B", plain, PAPER_BAR, True))
        checks += [(f"{case.name} / bfloat16", speeds[case.name] / plain, FLOAT8_BAR, True)
                   for case in PLANS[4:5] if case.name in speeds]  # fmt: skip
    return rows, checks


def main() -> int:
    """Print the tables and the bars; 1 when a bar is missed."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.gpu_ratio", description="The trainer against torchtitan.")
    made.add_argument("--peer", default="", metavar="PYTHON", help="a Python that has torchtitan 0.2.2")
    chosen = made.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if device == 'cuda' else 'CPU'}")
    rows: list[list[str]] = []
    checks: list[Check] = []
    if wrong := "" if chosen.peer else trouble(TORCHTITAN):
        print(f"not measured: every bar against torchtitan: {wrong}")
    else:
        for case in RATIOS if device == "cuda" else SMALL:
            more, bars = compare(case, device, chosen.peer or str(TORCHTITAN.python))
            rows, checks = rows + more, checks + bars
    if device == "cuda":
        more, bars = plans(device)
        rows, checks = rows + more, checks + bars
    print(table(HEAD, rows))
    print(table(gpu_kernels.HEAD, gpu_kernels.survey(device)))
    lines, bars = gpu_run.survey(device)
    print(table(gpu_run.HEAD, lines))
    if device == "cpu":
        print("These are small sizes on a CPU. No GPU figure exists yet: every bar of a GPU is not measured:")
        for case in (*RATIOS, *PLANS):
            for text, bar in (
                (">= {:g} of torchtitan's tokens/s", case.ratio),
                ("<= {:g} of torchtitan's peak memory", case.memory_ratio),
                (">= {:,.0f} tokens/s", case.speed),
                ("<= {:g} GiB", case.gib),
            ):
                if bar:
                    print(f"not measured: {case.name}: {text.format(bar)}")
        print(
            f"not measured: {PLANS[4].name}: >= {FLOAT8_BAR:g} of bfloat16; {PLANS[1].name}: >= {PAPER_BAR:,} tokens/s"
        )
        for what, _, bar, _ in bars:
            print(f"not measured: {what}: <= {bar:g}")
        return 0
    checks += bars
    for what, value, bar, at_least in checks:
        print(verdict(what, value, bar, at_least))
    return int(any(value < bar if at_least else value > bar for _, value, bar, at_least in checks))


if __name__ == "__main__":
    sys.exit(main())
