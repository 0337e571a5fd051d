"""A small complete corpus, built once: tests that harm it copy it first."""

from pathlib import Path

import pytest

from tests.manifests.small_corpus import build


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the corpus of `small_corpus.DOCS`; not to be written to."""
    root = tmp_path_factory.mktemp("small") / "corpus"
    build(str(root))
    return root
