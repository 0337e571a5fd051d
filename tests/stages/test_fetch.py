"""Inputs that change, or do not, between the listing and the end of their reading."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.storage import StorageError
from stages import fetch as fetching
from stages.base import InputFile, Source
from stages.fetch import changed, fetch


def touch(path: Path) -> None:
    """Another date, the same content."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def rewrite(path: Path) -> None:
    """Other content of the same size, at another date."""
    path.write_bytes(b"text B")
    touch(path)


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Path, InputFile]:
    # A name that would be a pattern if it were not there.
    path = tmp_path / "a[1]*.jsonl"
    path.write_bytes(b"text A")
    (file,) = fetch([Source("src", "jsonl", (str(path),))], ()).files
    return path, file


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda path: None, False),
        (touch, False),
        (rewrite, True),
        (lambda path: path.write_bytes(b"longer text"), True),
    ],
    ids=["nothing", "date", "content", "size"],
)
def test_an_input_is_another_one_by_its_content(
    listed: tuple[Path, InputFile], change: Callable[[Path], object], expected: bool
) -> None:
    path, file = listed
    change(path)
    assert changed(file) is expected


def test_an_input_that_kept_its_date_is_not_read_again(
    listed: tuple[Path, InputFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "content_digest", None)
    assert not changed(listed[1])


def test_an_input_that_went_away_is_said_to_be_missing(listed: tuple[Path, InputFile]) -> None:
    path, file = listed
    path.unlink()
    with pytest.raises(StorageError, match="a\\[1\\]"):
        changed(file)
