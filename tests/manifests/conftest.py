"""A small complete corpus, built once: tests that harm it copy it first. Storage: a folder, and a faulty store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests import ranged, s3
from manifests.storage import Storage, open_storage
from tests.manifests.faulty_s3 import Faults, FaultyS3
from tests.manifests.small_corpus import build


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the corpus of `small_corpus.DOCS`; not to be written to."""
    root = tmp_path_factory.mktemp("small") / "corpus"
    build(str(root))
    return root


@pytest.fixture(scope="module")
def store() -> Iterator[FaultyS3]:
    with FaultyS3() as faulty:
        faulty.make_bucket("corpus")
        yield faulty


@pytest.fixture
def bucket(store: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyS3]:
    """The faulty store as this process's S3, free of faults until the test sets some."""
    from botocore.retries.standard import ExponentialBackoff

    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ranged, "FIRST_WAIT", 0.01)
    monkeypatch.setitem(ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, "throttling_base_scale", 0.02)
    store.requests.clear()
    store.injected.clear()
    yield store
    store.faults, store.ignores_conditions, store.hold_uploads, store.conflicts = Faults(), False, False, 0
    if store.injected:
        s3._client.cache_clear()  # adaptive retries remember that they were throttled


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "语料"))
    request.getfixturevalue("bucket")
    return open_storage(f"s3://corpus/{tmp_path.name}/语料")


def temp_file(storage: Storage, data: bytes) -> Path:
    path = storage.scratch() / "part.parquet"
    path.write_bytes(data)
    return path


def temp_files(storage: Storage) -> list[str]:
    return sorted(path.name for path in storage.scratch().rglob("*"))
