"""A sample crawl that has gone through the whole pipeline, so that token shards lead back to bytes of WARC files."""

from pathlib import Path

import pytest

from pipeline.recipe import load_recipe
from pipeline.sample import generate
from tests.runs import run_recipe


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the crawl, root of the corpus; neither is to be written to."""
    crawl, root = tmp_path_factory.mktemp("crawl"), tmp_path_factory.mktemp("sample") / "corpus"
    generate(11, crawl, 240)
    recipe = load_recipe("sample", [f"web.inputs=['{crawl}/*.warc.gz']", "vocab.size=1024"])
    run_recipe(recipe, root)
    return crawl, root
