"""One small sample crawl and one undisturbed run of it, shared by all end-to-end tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.runs import read_rows, read_run
from manifests.storage import open_storage
from pipeline.driver import Result
from pipeline.recipe import Recipe, load_recipe
from pipeline.sample import GoldRow, generate
from tests.runs import run_recipe

RECORDS = 360
SEED = 20261


@dataclass(frozen=True)
class Crawl:
    """A sample crawl on disk."""

    folder: Path
    gold: list[GoldRow]

    @property
    def files(self) -> list[str]:
        return sorted(str(path) for path in self.folder.glob("*.warc.gz"))

    def recipe(self, files: Sequence[str] = (), *settings: str) -> Recipe:
        """The sample recipe over this crawl, with a vocabulary that so little text supports."""
        inputs = list(files) or [f"{self.folder}/*.warc.gz"]
        return load_recipe("sample", [f"web.inputs={inputs}", "vocab.size=1024", *settings])


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Crawl:
    folder = tmp_path_factory.mktemp("crawl")
    return Crawl(folder, generate(SEED, folder, RECORDS))


@pytest.fixture(scope="session")
def reference(crawl: Crawl, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The root and result of an undisturbed run in this process."""
    root = tmp_path_factory.mktemp("reference") / "root"
    return root, run_recipe(crawl.recipe(), root)


def fates(root: str) -> dict[str, tuple[str, str, str]]:
    """What became of each URL in the latest run: kept, dropped or duplicate, with the stage and the reason."""
    storage = open_storage(root)
    seen: dict[str, tuple[str, str, str]] = {}
    for stage in read_run(storage):
        for row in read_rows(storage, stage.stage):
            if row.output not in ("dropped", "docs") or row.path is None:
                continue
            columns = ["url", "stage", "reason"] if row.output == "dropped" else ["url"]
            with storage.open(row.path) as file:
                for record in pq.read_table(file, columns=columns).to_pylist():
                    reason = record.get("reason", "")
                    fate = "duplicate" if reason.endswith("_duplicate") else "dropped" if reason else "kept"
                    seen[record["url"]] = (fate, stage.stage, reason)
    return seen
