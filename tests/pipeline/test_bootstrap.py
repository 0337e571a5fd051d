"""Set-up on a machine that lacks something ends with one sentence that says what."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import bootstrap

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what set-up needs, without an environment."""
    copy = tmp_path / "copy"
    (copy / "pipeline").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "README.md", "pipeline/bootstrap.py"):
        shutil.copy(REPO / name, copy / name)
    return copy


def set_up(checkout: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "pipeline/bootstrap.py", *flags],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_without_a_compiler(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = set_up(checkout, "--extra", "test", PATH=str(tmp_path / "bin"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no C++ compiler (g++)" in done.stderr


def test_without_a_package_index(checkout: Path) -> None:
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    done = set_up(checkout, **index, PIP_NO_CACHE_DIR="1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("setup: the package index cannot be reached")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "output, sentence",
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk"),
        ("error: command 'g++' failed: No such file or directory", "install g++"),
        ("ERROR: No matching distribution found for ray==2.60.0", "package index"),
        ("WARNING: x\nERROR: something new", "pip: ERROR: something new"),
    ],
)
def test_what_pip_says_becomes_one_sentence(output: str, sentence: str) -> None:
    said = bootstrap.explain(output)
    assert sentence in said and "\n" not in said


def test_a_full_disk_and_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "stamped", lambda extras: False)
    monkeypatch.setattr(bootstrap, "NEEDED_BYTES", 1 << 60)
    assert "make room" in bootstrap.missing([])
    monkeypatch.setattr(bootstrap, "PYTHONS", ((3, 99),))
    assert "Python 3.11 or 3.12 is needed" in bootstrap.missing([])


@pytest.mark.parametrize(
    ("wanted", "there", "wish"),
    [
        ("", "", "torch==2.13.0+cpu"),
        ("", "torch-2.13.0.dist-info", ""),
        ("", "torch-2.11.0+cu130.dist-info", ""),
        ("cpu", "torch-2.13.0+cpu.dist-info", ""),
        ("cpu", "torch-2.13.0.dist-info", "torch==2.13.0+cpu"),
        ("cuda", "torch-2.13.0+cpu.dist-info", "torch===2.13.0"),
        ("cuda", "torch-2.11.0+cu130.dist-info", ""),
    ],
)
def test_which_build_of_torch_is_asked_for(wanted: str, there: str, wish: str) -> None:
    assert bootstrap.torch_request(wanted, there) == wish


@pytest.mark.parametrize(("wanted", "said"), [("", ""), ("cpu", "the package index cannot be reached")])
def test_only_a_build_that_was_asked_for_must_be_found(
    wanted: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(bootstrap, "pip", lambda arguments: asked.append(arguments) or bootstrap.explain("Connection"))
    monkeypatch.setenv("TORCH", wanted)
    assert bootstrap.install_torch().startswith(said) and bool(bootstrap.install_torch()) == bool(said)
    assert len(asked) == 2


def test_an_unknown_build_of_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH", "rocm")
    assert "cpu and cuda" in bootstrap.install_torch()
