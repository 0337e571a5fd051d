"""Word and URL lists from outside: the names and files that a recipe gives in, what kernels look things up in out. The
surprise: a URL list is compiled once per machine into a sorted array next to the assets, under the digest of its file,
which all processes of the machine then map; 5 million hosts take 80 MB on disk, of which look-ups touch half."""

import fcntl
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from filters.hosts import hash_entries, public_suffixes
from filters.lexicon import lexicon
from filters.urls import UrlList, url_words
from manifests.asset import Asset, AssetError, asset_folder
from manifests.fingerprint import fingerprint

LAYOUT = 1  # of compiled lists
CHUNK_BYTES = 16 << 20
MOST_CATEGORIES = 23  # and one for what has none: their bits fit the 24 of a float32
# The ten of RefinedWeb (Penedo et al. 2023, appendix G.1; agressif is now called aggressive), and five more of the UT1
# archive that no corpus misses. White lists, and press, blogs, sports and other harmless ones, are left out.
HARMFUL = (
    "adult", "aggressive", "agressif", "arjel", "chat", "cryptojacking", "dating", "ddos", "dialer", "filehosting",
    "gambling", "malware", "mixed_adult", "phishing", "stalkerware", "warez",
)  # fmt: skip
MEMBERS = ("domains", "urls")
# How compressed files begin: gzip (RFC 1952), xz, Zstandard (RFC 8878), bzip2.
PACKED = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", *(b"BZh%d1AY&SY" % level for level in range(1, 10)))


def kind_of(name: str) -> str:
    """`bad_words` of `bad_words` and of `bad_words-own`: several files may make one list. ValueError where there is no
    such list."""
    kind = name.partition("-")[0]
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        raise ValueError(
            f"no list is named {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(KINDS)}")
        )
    return kind


def check_categories(categories: tuple[str, ...]) -> None:
    """ValueError where they are too many, or one is named twice."""
    if len(set(categories)) != len(categories) or not 1 <= len(categories) <= MOST_CATEGORIES:
        raise ValueError(f"categories must be 1 to {MOST_CATEGORIES} different names, not {len(categories)}")


def open_lists(lists: Iterable[tuple[str, Asset]], categories: tuple[str, ...]) -> dict[str, Any]:
    """What signals look at, by kind; `categories` are those of URL lists."""
    assets: dict[str, list[Asset]] = {}
    for name, asset in lists:
        assets.setdefault(kind_of(name), []).append(asset)
    return {kind: KINDS[kind](of_kind, categories) for kind, of_kind in sorted(assets.items())}


def described(name: str, asset: Asset, categories: tuple[str, ...] = HARMFUL) -> str:
    """What a file gives as a list, in one line."""
    if kind_of(name) != "url_blocklist":
        return f"{len(set(lines_of(asset)))} words"
    table, unused = compiled(asset.path(), categories)
    bits = int(np.bitwise_or.reduce(table[1], initial=np.uint64(0)))
    names = [*sorted(categories), "without a category"]
    found = [names[i] for i in range(len(names)) if bits >> i & 1]
    return f"{table.shape[1]} hosts and URLs ({', '.join(found)}); {unused} lines hold neither"


# ---- words


def lines_of(asset: Asset) -> list[str]:
    """Lines of a text file, white space around them gone; without blank ones and those that begin with #."""
    path = asset.path()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise AssetError(f"the list {path} is not UTF-8 (byte {error.start}); convert it") from error
    return [line for line in lines if line and not line.startswith("#")]


def _all_lines(assets: Sequence[Asset]) -> list[str]:
    return [line for asset in assets for line in lines_of(asset)]


# ---- URLs


def open_blocklist(assets: Sequence[Asset], categories: tuple[str, ...]) -> UrlList:
    """Compiled block lists, mapped into memory."""
    rules = files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    return UrlList(tuple(mapped(asset, categories) for asset in assets), public_suffixes(rules))


def mapped(asset: Asset, categories: tuple[str, ...]) -> NDArray[np.uint64]:
    """uint64[2, n] of a list, compiled by the first process of a machine that asks for it while the others wait."""
    source = asset.path()
    target = asset_folder() / "compiled" / f"{fingerprint('urls', LAYOUT, asset.sha256, sorted(categories))}.npy"
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not target.is_file():
                    _write(compiled(source, categories)[0], target)
        except OSError as error:
            raise AssetError(
                f"{target} cannot be written ({error.strerror}); set GLASSPILE_ASSETS to another folder"
            ) from error
    return np.asarray(np.load(target, mmap_mode="r"))


def _write(table: NDArray[np.uint64], target: Path) -> None:
    """Write an array so that it is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        np.save(file, table)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)


def compiled(path: Path, categories: tuple[str, ...]) -> tuple[NDArray[np.uint64], int]:
    """(uint64[2, n], lines that hold no host): sorted hashes of the entries of a list, and their categories as bits.

    Bit i is the i-th category in alphabetical order, the bit after the last what has none: a list that is a text file,
    or files at the top of an archive."""
    names = sorted(categories)
    hashes, bits, unused = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], 0
    seen = set()
    try:
        for category, file in _members(path, names):
            seen.add(category)
            bit = names.index(category) if category else len(names)
            for chunk in _chunks(file):
                found, odd = hash_entries(chunk)
                hashes.append(found)
                bits.append(np.full(len(found), 1 << bit, np.uint32))
                unused += odd
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise AssetError(f"the list {path} cannot be read to its end: {error}") from error
    unknown = set() if seen == {""} else set(names) - seen - set(HARMFUL)
    if unknown or not seen:
        raise AssetError(f"the list {path} has no category {', '.join(sorted(unknown) or names)}")
    states, marks = np.concatenate(hashes), np.concatenate(bits)
    if not len(states):
        raise AssetError(f"the list {path} holds no host and no URL")
    hashes.clear()
    bits.clear()
    marks = marks[np.argsort(states)]
    states.sort()
    first = np.flatnonzero(np.concatenate(([True], states[1:] != states[:-1])))
    table = np.empty((2, len(first)), np.uint64)
    np.take(states, first, out=table[0])
    table[1] = np.bitwise_or.reduceat(marks, first)
    return table, unused


def _members(path: Path, names: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """(category or "", open file) of each part of a list that is wanted."""
    if not tarfile.is_tarfile(path):
        _check_text(path)
        with open(path, "rb") as file:
            yield "", file
        return
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            category = folder.rpartition("/")[2]
            if member.isfile() and name in MEMBERS and (not folder or category in names):
                part = archive.extractfile(member)
                assert part is not None  # as it is a file
                yield category, part


def _check_text(path: Path) -> None:
    """AssetError where a list that is no archive is not text: hashes of its bytes would be hosts that no page has."""
    with open(path, "rb") as file:
        for chunk in _chunks(file):
            if chunk.startswith(PACKED):
                raise AssetError(f"the list {path} is compressed; uncompress it, or pack it into a tar archive")
            try:
                text = chunk.decode()
            except UnicodeDecodeError as error:
                raise AssetError(f"the list {path} is not UTF-8 text; give a text file or a tar archive") from error
            if "\0" in text:
                raise AssetError(f"the list {path} holds zero bytes; give a UTF-8 text file or a tar archive")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file in pieces that end with a line."""
    rest = b""
    while piece := file.read(CHUNK_BYTES):
        piece = rest + piece
        cut = piece.rfind(b"\n") + 1
        rest = piece[cut:]
        yield piece[:cut]
    yield rest


KINDS: dict[str, Callable[[Sequence[Asset], tuple[str, ...]], Any]] = {
    "bad_words": lambda assets, _: lexicon(_all_lines(assets)),
    "url_blocklist": open_blocklist,
    "url_hard_words": lambda assets, _: url_words(_all_lines(assets), anywhere=False),
    "url_soft_words": lambda assets, _: url_words(_all_lines(assets), anywhere=False),
    "url_strict_words": lambda assets, _: url_words(_all_lines(assets), anywhere=True),
}
