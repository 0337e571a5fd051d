"""What must be the same on every node of a run, and what travels there: used by the executor on Ray."""

import atexit
import importlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from manifests.asset import asset_folder
from manifests.fingerprint import fingerprint
from stages.base import UserError

CHECKOUT = Path(__file__).resolve().parent.parent
LIBRARIES = (
    "fastwarc",
    "lxml",
    "numba",
    "numpy",
    "publicsuffixlist",
    "pyarrow",
    "resiliparse",
    "rjieba",
    "sentencepiece",
    "stopwordsiso",
    "trafilatura",
)
PACKAGES = ("dedup", "filters", "manifests", "pipeline", "stages", "tokenizer")


def environment() -> dict[str, str]:
    """What must be equal on every node: Python, the code, and the libraries that decide output."""
    code = [
        (str(path.relative_to(folder.parent)), path.read_text(encoding="utf-8"))
        for folder in (Path(importlib.import_module(name).__file__ or "").parent for name in PACKAGES)
        for path in sorted(folder.glob("*.py"))
    ]
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "code": fingerprint(code, size=8),
        "packages": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def compare(answers: Sequence[Mapping[str, str]]) -> None:
    """UserError for the first node that is not as this machine, or cannot reach what the run needs."""
    ours = environment()
    for answer in answers:
        for key, value in ours.items():
            if answer[key] != value:
                raise UserError(
                    f"node {answer['node']} has {key} {answer[key]}, this machine has {value}; "
                    "install the same version on every node"
                )
        if answer["trouble"]:
            raise UserError(
                f"node {answer['node']} cannot reach what the run needs: {answer['trouble']}; "
                "on a cluster IN and OUT must be s3:// or a folder that all nodes share"
            )


def baggage() -> str:
    """A folder with what travels to the nodes of a cluster: the packages and the assets, and nothing else."""
    folder = Path(tempfile.mkdtemp(prefix="glasspile-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    if asset_folder().is_dir():
        # Lists are compiled on each node, which takes less time than to send them.
        shutil.copytree(asset_folder(), folder / ".assets", ignore=shutil.ignore_patterns("compiled"))
    return str(folder)
