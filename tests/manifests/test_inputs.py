"""Inputs of a source: what patterns name in a folder and in a bucket; reading from a server that misbehaves."""

import glob
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from manifests import ranged
from manifests.inputs import matches
from manifests.storage import Storage, StorageError, list_inputs, open_input, open_storage
from tests.manifests.faulty_s3 import FaultyS3
from tests.manifests.faulty_web import Page, serve

FILES = ["cc/a.warc.gz", "cc/b.warc.gz", "cc/seg/c.warc.gz", "cc/seg/语料.jsonl", "cc-2/d.warc.gz", "books.jsonl"]
# Patterns below the root of the tree, the inputs that they name, and the folder that paths are relative to.
PATTERNS: list[tuple[list[str], list[str], str]] = [
    (["cc"], ["a.warc.gz", "b.warc.gz", "seg/c.warc.gz", "seg/语料.jsonl"], "cc"),
    (["cc/"], ["a.warc.gz", "b.warc.gz", "seg/c.warc.gz", "seg/语料.jsonl"], "cc"),
    (["cc/a.warc.gz"], ["a.warc.gz"], "cc"),
    (["cc/*.gz"], ["a.warc.gz", "b.warc.gz"], "cc"),
    (["cc/**/*.gz"], ["a.warc.gz", "b.warc.gz", "seg/c.warc.gz"], "cc"),
    (["cc/**"], ["a.warc.gz", "b.warc.gz", "seg/c.warc.gz", "seg/语料.jsonl"], "cc"),
    (["cc*/?.warc.gz"], ["cc-2/d.warc.gz", "cc/a.warc.gz", "cc/b.warc.gz"], ""),
    (["cc/[!a].warc.gz"], ["b.warc.gz"], "cc"),
    (["cc/seg/语*"], ["语料.jsonl"], "cc/seg"),
    (["cc/seg", "cc/b.warc.gz"], ["b.warc.gz", "seg/c.warc.gz", "seg/语料.jsonl"], "cc"),
    (["cc/b.warc.gz", "cc/*.gz", "cc/a.warc.gz"], ["a.warc.gz", "b.warc.gz"], "cc"),
    (["books.jsonl", "cc-2"], ["books.jsonl", "cc-2/d.warc.gz"], ""),
    (["cc/.seen/x.gz"], ["x.gz"], "cc/.seen"),
]


@pytest.fixture(scope="module")
def store() -> Iterator[FaultyS3]:
    with FaultyS3() as faulty:
        faulty.make_bucket("crawl")
        yield faulty


@pytest.fixture(params=["folder", "s3"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "folder":
        storage = open_storage(str(tmp_path))
    else:
        for name, value in request.getfixturevalue("store").environment().items():
            monkeypatch.setenv(name, value)
        storage = open_storage("s3://crawl/tree")
    for path in [*FILES, "cc/.seen/x.gz", "cc/.part.gz"]:
        storage.put(path, path.encode())
    return storage


class TestInputs:
    def test_patterns_name_files_relative_to_their_common_root(self, tree: Storage) -> None:
        for patterns, paths, root in PATTERNS:
            above = f"{tree.uri}/{root}".rstrip("/")
            inputs = list_inputs([f"{tree.uri}/{pattern}" for pattern in patterns])
            assert [found.path for found in inputs] == paths, patterns
            assert [found.uri for found in inputs] == [f"{above}/{path}" for path in paths]
            for found in inputs:
                content = found.uri.removeprefix(tree.uri + "/").encode()
                assert found.size == len(content)
                assert found.mtime_ns
                assert (found.etag is None) == (not tree.uri.startswith("s3://"))
                with open_input(found.uri) as file:
                    assert file.read() == content

    def test_the_order_of_patterns_does_not_matter(self, tree: Storage) -> None:
        patterns = [f"{tree.uri}/{path}" for path in FILES]
        assert list_inputs(patterns) == list_inputs(patterns[::-1])

    def test_a_name_with_wildcards_in_it_is_a_name(self, tree: Storage) -> None:
        paths = ["odd/a1.gz", "odd/a[1].gz", "odd[1]/b.gz", "odd1/b.gz"]
        for path in paths:
            tree.put(path, b"1")
        for given, expected in (("odd/a[1].gz", "a[1].gz"), ("odd[1]", "b.gz"), ("odd/a[12].gz", "a1.gz")):
            assert [found.path for found in list_inputs([f"{tree.uri}/{given}"])] == [expected]
        assert [found.uri for found in list_inputs([f"{tree.uri}/odd[1]"])] == [f"{tree.uri}/odd[1]/b.gz"]
        for path in paths:
            tree.delete(path)

    @pytest.mark.parametrize("pattern", ["none", "cc/none.gz", "cc/*.zip", "cc*", "no/**", "c", "books.jsonl/x"])
    def test_a_pattern_that_names_nothing_is_an_error(self, tree: Storage, pattern: str) -> None:
        with pytest.raises(StorageError, match="no input matches|there is no such input") as refused:
            list_inputs([f"{tree.uri}/books.jsonl", f"{tree.uri}/{pattern}"])
        assert pattern in str(refused.value)

    def test_an_absent_input_is_a_missing_file(self, tree: Storage) -> None:
        with pytest.raises(FileNotFoundError):
            open_input(f"{tree.uri}/none")


class TestLocalInputs:
    def test_relative_paths_home_and_file_addresses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "甲 [1].gz").write_bytes(b"1")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        for pattern in ("甲 [1].gz", "~/甲 [1].gz", f"file://{tmp_path}/%E7%94%B2%20%5B1%5D.gz", "*.gz", "."):
            (found,) = list_inputs([pattern])
            assert (found.path, found.uri) == ("甲 [1].gz", f"{tmp_path}/甲 [1].gz")
            assert open_input(found.uri).read() == b"1"

    @pytest.mark.parametrize(
        "patterns", [[], [""], ["ftp://h/x"], ["s3:/b/x"], ["s3://b*/x"], ["https://h/*.gz"], ["https://h/folder/"]]
    )
    def test_what_is_no_input_is_refused(self, patterns: list[str]) -> None:
        with pytest.raises(StorageError):
            list_inputs(patterns)

    def test_inputs_without_a_common_folder_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        with serve({"/b": Page(b"1")}) as server, pytest.raises(StorageError, match="no folder in common"):
            list_inputs([str(tmp_path / "a"), f"{server}/b"])

    def test_a_dangling_link_is_an_error_and_not_a_loss(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (tmp_path / "b").symlink_to(tmp_path / "gone")
        for pattern in (str(tmp_path), f"{tmp_path}/*", f"{tmp_path}/b"):
            with pytest.raises(StorageError, match="b: "):
                list_inputs([pattern])

    def test_a_name_that_is_not_utf8_is_an_error(self, tmp_path: Path) -> None:
        with open(os.fsencode(tmp_path) + b"/\xb9.gz", "wb"):
            pass
        with pytest.raises(StorageError, match="not UTF-8"):
            list_inputs([str(tmp_path)])

    def test_globs_mean_in_a_bucket_what_they_mean_in_a_folder(self, tmp_path: Path) -> None:
        chance = random.Random(6)
        words = ["a", "b", "ab", "文", ".h", "x.gz"]
        for _ in range(60):
            place = tmp_path.joinpath(*chance.choices(words, k=chance.randint(1, 4)))
            if not any(part.is_file() for part in (place, *place.parents)) and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(b"")
        files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
        assert len(files) > 20
        hits = 0
        for _ in range(400):
            pattern = "/".join(chance.choices([*words, "*", "**", "**", "?", "[ab]", "[!a]", "*.gz", ".*", "a*"], k=3))
            expected = [name for name in glob.glob(pattern, root_dir=tmp_path, recursive=True) if name in files]
            found = [name for name in files if matches(tuple(name.split("/")), tuple(pattern.split("/")))]
            assert found == sorted(set(expected)), pattern
            hits += len(found)
        assert hits > 250


DATA = random.Random(7).randbytes(2_500_000)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Page]]]:
    """A server's address, and its pages for the test to fill."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(ranged, "FIRST_WAIT", 0.001)
    pages: dict[str, Page] = {}
    with ExitStack() as stack:
        yield stack.enter_context(serve(pages)), pages


class TestWebInputs:
    def test_addresses_are_described_by_their_headers(self, web: tuple[str, dict[str, Page]]) -> None:
        server, pages = web
        pages["/crawl/seg 1/甲.gz"] = Page(b"12345", etag='"abc"')
        pages["/crawl/b.gz"] = Page(b"123", etag=None)
        pages["/crawl/signed.gz?key=1/2"] = Page(b"1", etag='W/"weak"', modified=None, head=False)
        inputs = list_inputs([server + address for address in pages])
        assert [(found.path, found.size, found.etag, found.mtime_ns) for found in inputs] == [
            ("b.gz", 3, "last-modified Wed, 21 Oct 2015 07:28:00 GMT", 1_445_412_480_000_000_000),
            ("seg 1/甲.gz", 5, "abc", 1_445_412_480_000_000_000),
            ("signed.gz?key=1/2", 1, 'W/"weak"', None),
        ]
        assert [open_input(found.uri).read() for found in inputs] == [b"123", b"12345", b"1"]

    @pytest.mark.parametrize(
        ("page", "sentence"),
        [
            (Page(b"1", etag=None, modified=None), "neither ETag nor Last-Modified"),
            (Page(b"1", tells_size=False, ranges=False), "does not tell its size"),
            (Page(b"1", refusals=[(401, None)]), "HTTP 401"),
            (Page(b"1", refusals=[(503, None)] * 99), "gave up after 3 attempts .HTTP 503"),
        ],
    )
    def test_what_cannot_be_relied_on_is_refused(
        self, web: tuple[str, dict[str, Page]], page: Page, sentence: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ranged, "ATTEMPTS", 3)
        server, pages = web
        pages["/x"] = page
        with pytest.raises(StorageError, match=sentence):
            list_inputs([f"{server}/x"])

    def test_an_absent_page(self, web: tuple[str, dict[str, Page]]) -> None:
        with pytest.raises(StorageError, match="no such file on the server"):
            list_inputs([f"{web[0]}/none"])
        with pytest.raises(FileNotFoundError):
            open_input(f"{web[0]}/none")

    def test_a_server_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, Page]]
    ) -> None:
        monkeypatch.setattr(ranged, "ATTEMPTS", 2)
        with pytest.raises(StorageError, match="Connection refused"):
            open_input("http://127.0.0.1:1/x")

    def test_reading_is_one_request_when_nothing_breaks(self, web: tuple[str, dict[str, Page]]) -> None:
        server, pages = web
        pages["/x"] = Page(DATA)
        assert open_input(f"{server}/x").read() == DATA
        assert pages["/x"].log == [("HEAD", None), ("GET", f"bytes=0-{len(DATA) - 1}")]

    @pytest.mark.parametrize("ranges", [True, False])
    def test_torn_bodies_are_resumed(self, web: tuple[str, dict[str, Page]], ranges: bool) -> None:
        server, pages = web
        pages["/x"] = Page(DATA, ranges=ranges, torn=4 if ranges else 1)
        with open_input(f"{server}/x") as file:
            parts = iter(lambda: file.read(100_000), b"")
            assert b"".join(parts) == DATA
        assert pages["/x"].torn == 0
        if ranges:
            starts = [int(asked.split("=")[1].split("-")[0]) for method, asked in pages["/x"].log if asked]
            assert starts == sorted(starts)
            assert len(starts) == 5
            assert starts[2] > 0  # the first break is a reset, which may swallow all that was on its way

    @pytest.mark.parametrize(("data", "etag"), [(DATA[::-1], '"v2"'), (DATA[::-1], 'W/"v1"'), (DATA + DATA, '"v1"')])
    def test_a_page_that_changes_while_it_is_read_is_an_error(
        self, web: tuple[str, dict[str, Page]], data: bytes, etag: str
    ) -> None:
        server, pages = web
        pages["/x"] = Page(DATA, torn=1, next_version=(data, etag))
        with pytest.raises(StorageError, match="changed while it was read"):
            open_input(f"{server}/x").read()

    def test_a_server_that_asks_for_patience_gets_it(
        self, web: tuple[str, dict[str, Page]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        monkeypatch.setattr("time.sleep", waits.append)
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        server, pages = web
        pages["/x"] = Page(
            b"1", head=False, refusals=[(503, "7"), (429, later), (403, None), (403, "9"), (500, "9999")]
        )
        assert open_input(f"{server}/x").read() == b"1"
        assert len(waits) == 4
        assert waits[0] == 7
        assert 90 < waits[1] <= 100
        assert waits[2] == 9  # a HEAD that is forbidden is followed by a GET at once
        assert waits[3] == 300

    def test_random_access_asks_for_ranges(self, web: tuple[str, dict[str, Page]]) -> None:
        server, pages = web
        pages["/x"] = Page(DATA)
        with open_input(f"{server}/x") as file:
            file.seek(-100, os.SEEK_END)
            assert file.read() == DATA[-100:]
            file.seek(1_000_000)
            assert file.read(10) == DATA[1_000_000:1_000_010]
        assert [asked for method, asked in pages["/x"].log if asked] == [
            "bytes=2499900-2499999",
            f"bytes=1000000-{1_000_000 + ranged.AHEAD - 1}",
        ]
