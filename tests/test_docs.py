"""The documentation is executed: the blocks of README.md and docs/ in order, in one folder with a small sample crawl.

What is done with a block is said in `tests/pages.py`. `GLASSPILE_DOCS=write` puts what was printed into the output
blocks instead of comparing them; read the difference before you commit it.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from stages.base import UserError
from tests.pages import MODES, REPO, Place, blocks, check, execute, read
from training.order import PlanError

TOUR = "docs/tour.md"
PAGES = [
    TOUR,
    "README.md",
    *sorted(f"docs/{path.name}" for path in (REPO / "docs").glob("*.md") if path.name != "tour.md"),
]
# Pages whose commands go on with what the tour made.
AFTER_THE_TOUR = ("README.md", "docs/schemas.md", "docs/state.md", "docs/tokenizer.md", "docs/training.md")
IN_A_COPY = ("docs/filters.md",)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder that looks like a checkout after `make setup`; its sample and that crawl are those of the tour."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(REPO / "Makefile", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    # PYTHON=true: set-up is not what is tested here, and must not touch this environment.
    env = os.environ | {"PYTHON": "true", "RAY": "off", "PYTHONPATH": str(REPO), "LC_ALL": "C.UTF-8"}
    env = {name: value for name, value in env.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    env["PATH"] = f"{folder}/.venv/bin:{env['PATH']}"
    for name in ("sample", "sample-crawl"):
        (folder / "runs").mkdir(exist_ok=True)
        (folder / "runs" / name).symlink_to(folder / "runs" / name.replace("sample", "tour"))
    return Place(folder, env)


def copy_of_the_checkout(folder: Path, env: dict[str, str]) -> Place:
    """A place whose code may be changed."""
    unwanted = shutil.ignore_patterns(".*", "runs", "__pycache__", "*.egg-info", "articles")
    shutil.copytree(REPO, folder, ignore=unwanted)
    (folder / ".venv").symlink_to(sys.prefix)
    return Place(folder, env | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / ".cache")})


def go_through(page: str, place: Place) -> None:
    """Execute a page once, and before it the tour if it goes on from there."""
    if page in AFTER_THE_TOUR:
        go_through(TOUR, place)
    if page not in place.done:
        place.done[page] = False
        for block in read(page):
            execute(block, place)
        place.done[page] = True
    assert place.done[page], f"{page} has failed, and this page goes on from there"


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page: str, place: Place, tmp_path: Path) -> None:
    go_through(page, copy_of_the_checkout(tmp_path / "checkout", place.env) if page in IN_A_COPY else place)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_executed_or_checked(page: str) -> None:
    for block in read(page):
        assert block.mode in MODES.get(block.lang, ()), f"{block.where}: what is to be done with this block?"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (REPO / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (REPO / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("make corpus SORCE=warc", "no variable SORCE"),
        ("make corpse", "No rule to make target"),
        ("make plan SOURCE=wark", "did you mean 'warc'"),
        ("make corpus FLAGS='--set verify.treshold=0.7'", "unknown key 'treshold'"),
        (".venv/bin/python -m pipeline run sample --actor 2 --fast", "2"),
        (".venv/bin/python -m manifests funel runs/sample", "2"),
        (".venv/bin/ray start --heads", "--heads"),
        ("export GLASSPILE_S3_ENDPIONT=x", "nothing reads GLASSPILE_S3_ENDPIONT"),
        ("wget x", "what is wget"),
        (".venv/bin/python -m training.fsdp tiny optimiser.clip=1", "did you mean 'optimizer'"),
        (".venv/bin/torchrun --nproc-per-node 2 -m training.fsdp tinny", "did you mean 'tiny'"),
        ("srun .venv/bin/torchrun --nprocs 2 -m training.fsdp tiny", "2"),
        ("for x in; do", "for x in"),
    ],
)
def test_a_check_sees_what_cannot_work(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, UserError, PlanError, SystemExit), match=complaint):
        check(text, tmp_path)


def test_outputs_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLASSPILE_DOCS", raising=False)
    page = "```bash run\necho 'zh 12 documents, root 0123456789abcdef'\n```\n```text {}\n{}\n```\n"
    for mode, shown, right in (
        ("output", "zh 12 documents, root ffffffffffffffff", True),
        ("output", "zh 13 documents, root ffffffffffffffff", False),
        ("excerpt", "zh 13  documents, root ffffffffffffffff", True),
        ("excerpt", "en 12 documents, root ffffffffffffffff", False),
    ):
        place = Place(tmp_path, dict(os.environ))
        run, show = blocks("x.md", page.format(mode, shown))
        execute(run, place)
        if right:
            execute(show, place)
        else:
            with pytest.raises(AssertionError, match="x.md:4"):
                execute(show, place)
