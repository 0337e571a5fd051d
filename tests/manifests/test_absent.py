"""Modules that are installed for others and do not load here, tried with stand-ins that fail when they do."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.absent import hidden
from tests.conftest import REPO


def test_a_hidden_module_is_absent_while_it_lasts() -> None:
    sys.modules.pop("colorsys", None)
    with hidden("colorsys", "colorsys.none"), pytest.raises(ModuleNotFoundError, match="'colorsys'"):
        importlib.import_module("colorsys")
    with hidden("colorsys.none"):
        assert importlib.import_module("colorsys")
    with hidden("colorsys"):
        assert importlib.import_module("colorsys")  # loaded already


@pytest.mark.parametrize(
    "call, alone",
    [
        ("from manifests.absent import without_pandas as call", "import pyarrow; pyarrow.array([1])"),
        (
            "import manifests.absent as a; a.without_pandas(); from stages.passes import start_kernels as call",
            "",
        ),
    ],
)
def test_what_others_installed_is_not_loaded(tmp_path: Path, call: str, alone: str) -> None:
    for name in ("pandas", "scipy/linalg", "cffi"):
        module = tmp_path / name / "__init__.py"
        module.parent.mkdir(parents=True)
        module.write_text("raise SystemExit(7)")
    (tmp_path / "scipy" / "__init__.py").write_text("__version__ = '1.16.0'")
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)])}
    for code, wanted in ((f"{call}; call(); import pyarrow; pyarrow.array([1])", 0), (alone, 7)):
        if code:
            assert subprocess.run([sys.executable, "-c", code], env=settings, cwd=tmp_path).returncode == wanted
