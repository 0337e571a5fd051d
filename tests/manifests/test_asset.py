"""Assets: found by name, believed by digest; `assets pull` puts them in place from a wheel, or says why not."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from manifests import asset as module
from manifests.asset import LID176, Asset, AssetError
from manifests.fingerprint import fingerprint
from pipeline import assets

CONTENT = "模型 model".encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOY = Asset("wheel:toy-models==1.0/toy_models/data/toy.bin", SHA256)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where toy.bin belongs; the checkout's own folder is out of sight."""
    monkeypatch.setenv("GLASSPILE_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr(module, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(assets, "KNOWN", (TOY,))
    return tmp_path / "assets" / "toy.bin"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with the file in it."""
    path = tmp_path / "wheels" / "toy_models-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_models/__init__.py", "")
        archive.writestr("toy_models/data/toy.bin", CONTENT)
        archive.writestr("toy_models-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-models\nVersion: 1.0\n")
        archive.writestr("toy_models-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_models-1.0.dist-info/RECORD", "")
    return path


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_only_the_digest_is_identity() -> None:
    assert fingerprint(TOY) == fingerprint(Asset("elsewhere/toy.bin", SHA256))
    assert fingerprint(TOY) != fingerprint(Asset(TOY.uri, "0" * 64))


def test_found_in_the_named_folder_then_in_the_checkout(place: Path, tmp_path: Path) -> None:
    checkout = write(tmp_path / "checkout" / ".assets" / "toy.bin", CONTENT)
    assert TOY.path() == checkout
    write(place, CONTENT)
    assert TOY.path() == place


def test_local_path(tmp_path: Path, place: Path) -> None:
    own = write(tmp_path / "模型" / "own.bin", CONTENT)
    assert Asset(str(own), SHA256).path() == own


def test_absent(place: Path) -> None:
    with pytest.raises(AssetError, match=r"^toy.bin is not in .*assets; run `python -m pipeline assets pull toy.bin`$"):
        TOY.path()


def test_another_file_under_the_name_is_an_error_until_it_is_mended(place: Path) -> None:
    write(place, b"something else")
    with pytest.raises(AssetError, match="toy.bin is not the expected file .*`python -m pipeline assets pull toy.bin`"):
        TOY.path()
    write(place, CONTENT)
    assert TOY.path() == place


def test_digest_is_computed_once_per_process(place: Path) -> None:
    write(place, CONTENT)
    assert TOY.path() == place
    write(place, b"changed under a running process")
    assert TOY.path() == place


def test_pull_from_a_wheel_is_idempotent(place: Path, wheel: Path) -> None:
    assets.pull(wheel)
    assert place.read_bytes() == CONTENT
    assert [path.name for path in place.parent.iterdir()] == ["toy.bin"]  # no half-written file is left
    before = place.stat()
    wheel.unlink()
    assets.pull(wheel)
    assert (place.stat().st_mtime_ns, place.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_pull_replaces_a_damaged_file(place: Path, wheel: Path) -> None:
    write(place, CONTENT[:5])
    assets.pull(wheel)
    assert place.read_bytes() == CONTENT


def test_pull_copies_from_an_installed_package(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "site" / "toy_models" / "__init__.py", b"raise RuntimeError('is never imported')")
    write(tmp_path / "site" / "toy_models" / "data" / "toy.bin", CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assets.pull()
    assert place.read_bytes() == CONTENT


def test_pull_asks_pip(place: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assets.pull()
    assert place.read_bytes() == CONTENT


def test_pull_without_an_index_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError, match="^pip could not download toy-models==1.0 .*put toy.bin into") as caught:
        assets.pull()
    assert "\n" not in str(caught.value)
    assert not place.exists()


def test_pull_refuses_another_file_in_the_wheel(place: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for known, what in (
        (Asset(TOY.uri, "0" * 64), "is not the file with the sha256 000"),
        (Asset("wheel:toy-models==1.0/toy_models/none.bin", SHA256), "does not hold toy_models/none.bin"),
    ):
        monkeypatch.setattr(assets, "KNOWN", (known,))
        with pytest.raises(AssetError, match=what):
            assets.pull(wheel)
    assert not place.exists()


def test_pull_into_a_folder_that_cannot_be(place: Path, wheel: Path) -> None:
    write(place.parent, b"a file where the folder should be")
    with pytest.raises(AssetError, match="cannot be written .*GLASSPILE_ASSETS"):
        assets.pull(wheel)


def test_list(place: Path, wheel: Path) -> None:
    assert "toy.bin is not in" in assets.list_assets()
    assets.pull(wheel)
    assert str(place) in assets.list_assets() and SHA256 in assets.list_assets()


def test_the_known_model_is_in_a_pinned_wheel() -> None:
    assert LID176.name == "lid.176.ftz"
    assert "==" in LID176.uri and len(LID176.sha256) == 64
