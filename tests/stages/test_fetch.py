"""Inputs that change, or do not, between the listing and the end of their reading."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import fetch as fetching
from stages.base import InputFile, Source
from stages.fetch import changed, fetch
from tests.manifests.faulty_web import Page, serve


def touch(path: Path) -> None:
    """Another date, the same content."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def rewrite(path: Path) -> None:
    """Other content of the same size, at another date."""
    path.write_bytes(b"text B")
    touch(path)


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Path, InputFile]:
    # A name that is a pattern of others too.
    path = tmp_path / "a*.jsonl"
    path.write_bytes(b"text A")
    os.utime(path, (1_000_000_000, 1_000_000_000))
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
    (path.parent / "ab.jsonl").write_bytes(b"text A")
    with pytest.raises(FileNotFoundError, match="no such object"):
        changed(file)


def test_a_date_of_just_now_does_not_tell_a_later_change(tmp_path: Path) -> None:
    """A file that is written twice within one tick of a coarse clock has the date that it had."""
    path = tmp_path / "new.jsonl"
    path.write_bytes(b"text A")
    (file,) = fetch([Source("src", "jsonl", (str(path),))], ()).files
    date = path.stat().st_mtime_ns
    path.write_bytes(b"text B")
    os.utime(path, ns=(date, date))
    assert changed(file)


@pytest.mark.parametrize("etag, expected", [('"one"', False), ('"two"', True)])
def test_an_input_on_the_web_is_another_one_by_its_etag(etag: str, expected: bool) -> None:
    pages = {"/a.jsonl": Page(b"text A", etag='"one"')}
    with serve(pages) as base:
        (file,) = fetch([Source("src", "jsonl", (f"{base}/a.jsonl",))], ()).files
        pages["/a.jsonl"] = Page(b"text A", etag=etag)
        assert changed(file) is expected
