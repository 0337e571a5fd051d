"""Which package may import which: the layers that keep kernels free of I/O and Ray out of everything but one file."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
OURS = {"filters", "dedup", "tokenizer", "manifests", "stages", "pipeline", "training"}
MAY_IMPORT = {
    "filters": {"dedup"},
    "dedup": {"filters"},
    "tokenizer": {"dedup", "filters", "manifests"},
    "manifests": set(),
    "stages": {"filters", "dedup", "tokenizer", "manifests"},
    "pipeline": {"stages", "manifests"},
    "training": {"manifests"},
}
NEVER = {
    "filters": {"ray", "torch", "pathlib", "os", "io", "pickle"},
    "dedup": {"ray", "torch", "pathlib", "os", "io"},
    "tokenizer": {"ray", "torch"},
    "manifests": {"ray", "torch", "numba"},
    "stages": {"ray", "torch", "argparse"},
    "pipeline": {"torch"},
}
# The order of a run can be computed, and its data read, where there is no torch; the order even without pyarrow.
NEVER_IN = {
    # What decides token ids reads no file.
    **{f"tokenizer/{name}.py": {"manifests"} for name in ("encode", "merge", "model", "pairs", "sample", "train")},
    "training/permute.py": {"torch", "pyarrow", "manifests"},
    "training/order.py": {"torch", "pyarrow", "manifests"},
    "training/data.py": {"torch"},
}
# What a training step and its record read, top to bottom in one sitting.
TRAINER = (
    "fsdp", "config", "typed", "models", "model", "loss", "parallel", "optim", "folder", "checkpoint", "staging",
    "metrics", "record",
)  # fmt: skip
FILES = sorted(path for package in OURS for path in (REPO / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_layers(path: Path) -> None:
    package = path.relative_to(REPO).parts[0]
    names = imported(path)
    foreign = (names & OURS) - MAY_IMPORT[package] - {package}
    assert not foreign, f"{package} may not import {', '.join(sorted(foreign))}"
    if path.name != "__main__.py":
        never = names & NEVER.get(package, set())
        assert not never, f"{package} never imports {', '.join(sorted(never))}"
    assert not names & NEVER_IN.get(str(path.relative_to(REPO)), set())
    if str(path.relative_to(REPO)) not in ("pipeline/ray_pool.py", "pipeline/ray_start.py", "training/launch_ray.py"):
        assert "ray" not in names


def test_the_core_of_the_trainer_is_short() -> None:
    lines = {name: len((REPO / "training" / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in TRAINER}
    assert max(lines.values()) <= 250, lines
    assert sum(lines.values()) < 1700, lines
    told = (REPO / "docs" / "training.md").read_text(encoding="utf-8")
    assert f"{sum(lines.values()):,} lines" in told and all(f"`{name}.py`" in told for name in TRAINER)


def test_the_check_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    import ray.util\n    from stages.base import Task\n")
    assert imported(file) == {"ray", "stages"}
