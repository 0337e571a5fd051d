"""`assets`: lists of the user's, of publishers that name no digest, and of pinned wheels; one line of a recipe each."""

import tomllib
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from manifests.asset import LISTS, WHEEL, Asset, AssetError
from pipeline import assets
from pipeline.__main__ import EXIT_USER, main
from pipeline.recipe import parse_recipe
from stages.lists import KINDS, kind_of

WORDS = "ass\n色情\n".encode()
RECIPE = """
[[source]]
name = "notes"
kind = "jsonl"
inputs = ["notes.jsonl"]
[[stage]]
use = "read"
[[stage]]
use = "filter"
rules = ["badwords"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of assets."""
    monkeypatch.setenv("GLASSPILE_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


class Publisher(BaseHTTPRequestHandler):
    """Answers with words, or with half of what it promised."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path != "/gone" else 404)
        self.send_header("Content-Length", str(len(WORDS) * (2 if self.path == "/half" else 1)))
        self.end_headers()
        self.wfile.write(WORDS)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def publisher() -> Iterator[str]:
    """Address of a web server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["脏话.txt", 'bad "words".txt', "a\\b.txt"])
def test_add_prints_what_a_recipe_takes(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(WORDS)
    assert main(["assets", "add", "bad_words-own", str(file)]) == 0
    note, line = capsys.readouterr().out.splitlines()
    assert note == "# 2 words"
    assert tomllib.loads(line)["lists"]["bad_words-own"] == {"uri": name, "sha256": sha256(WORDS).hexdigest()}
    stage = parse_recipe(RECIPE + line, "own").stages[-1]
    file.unlink()
    assert stage.lists[0][1].path() == folder / name  # it has been copied


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("bad_wrods", "words.txt", "no list is named 'bad_wrods'; did you mean 'bad_words'?"),
        ("bad_words", "folder", r"folder is a folder; pack it first: tar -czf list.tar.gz -C .*folder \."),
        ("bad_words", "taken.txt", "another taken.txt is in .*assets already; give yours another name"),
        ("url_blocklist", "empty.txt", "empty.txt holds no host and no URL"),
        ("bad_words", "binary.txt", "binary.txt is not UTF-8"),
        ("bad_words", "absent.txt", "absent.txt cannot be read .*; give the path of a list"),
    ],
)
def test_add_refuses(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    folder.mkdir()
    (folder / "taken.txt").write_bytes(b"mine")
    for known, content in (("words.txt", WORDS), ("taken.txt", WORDS), ("empty.txt", b""), ("binary.txt", b"\xff")):
        (tmp_path / known).write_bytes(content)
    assert main(["assets", "add", name, str(tmp_path / file)]) == EXIT_USER
    said = capsys.readouterr().err
    pytest.raises(AssetError, _raise, said).match(message)
    assert said.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["taken.txt"]


def _raise(text: str) -> None:
    raise AssetError(text)


def test_pull_from_a_publisher(publisher: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "PUBLISHED", {"words.txt": ("bad_words", f"{publisher}/words")})
    lines = assets.pull(names=["words.txt"])
    assert (folder / "words.txt").read_bytes() == WORDS
    digest = sha256(WORDS).hexdigest()
    assert lines == [f'# 2 words\nlists.bad_words = {{ uri = "words.txt", sha256 = "{digest}" }}']
    before = (folder / "words.txt").stat().st_mtime_ns
    assert assets.pull(names=["words.txt"]) == lines  # what is there stays
    assert (folder / "words.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize("path", ["/gone", "/half"])
def test_a_publisher_who_fails(publisher: str, folder: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(assets, "PUBLISHED", {"words.txt": ("bad_words", publisher + path)})
    with pytest.raises(AssetError, match=r"could not be fetched \(.*`python -m pipeline assets add bad_words FILE`$"):
        assets.pull(names=["words.txt"])
    assert not folder.exists()


def test_names_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "pull", "ut1.tar.g"]) == EXIT_USER
    assert "no asset 'ut1.tar.g' is known; did you mean 'ut1.tar.gz'?" in capsys.readouterr().err
    assert main(["assets", "add", "bad_words"]) == EXIT_USER
    assert "takes the name of a list and a file" in capsys.readouterr().err


def test_known_lists_are_pinned_and_listed() -> None:
    text = assets.list_assets()
    lines = [line for line in text.splitlines() if line.startswith("lists.")]
    for (name, known), line in zip(LISTS.items(), lines, strict=True):
        assert kind_of(name) == name
        assert known.uri.startswith(WHEEL) and "==" in known.uri and len(known.sha256) == 64
        assert Asset(**tomllib.loads(line)["lists"][name]) == known
        assert f"assets pull {known.name}`" in text
    assert set(LISTS) == set(KINDS)
    for file, (name, uri) in assets.PUBLISHED.items():
        assert kind_of(name) in KINDS and uri.startswith("https://") and file in text


def test_a_bare_name_is_looked_up_among_the_assets_first(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Asset("words.txt", sha256(WORDS).hexdigest())
    Path("words.txt").write_bytes(WORDS)
    assert own.path() == Path("words.txt")
    folder.mkdir()
    (folder / "words.txt").write_bytes(WORDS)
    assert own.path() == folder / "words.txt"
