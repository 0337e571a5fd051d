"""The inputs of a source: patterns (files, folders, globs, s3:// and https:// addresses) in, a sorted listing out.

Every input gets a path relative to the source's root, which is the longest folder without a wildcard that all
patterns share: a corpus that is moved as a whole keeps the identity of each file. Hidden files are no inputs.
"""

import glob
import io
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from manifests import s3, web
from manifests.entries import InputEntry, StorageError, absent, disk_error, visible
from manifests.local import NO_FILE, walk

WILDCARD = re.compile(r"[*?\[]")
ASKED_AT_ONCE = 8  # HEAD requests to a web server
# Uris as tuples of components, since a root is a common beginning of components and not of letters.
Parts = tuple[str, ...]


def list_inputs(patterns: Sequence[str]) -> list[InputEntry]:
    """Every input that the patterns name, once, sorted by its path relative to the source's root."""
    if not patterns:
        raise StorageError("a source needs at least one input: a path, a folder, a glob or an address")
    found: dict[str, InputEntry] = {}
    roots: list[Parts] = []
    pages = [pattern for pattern in patterns if _scheme(pattern) in ("http", "https")]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        described = dict(zip(pages, pool.map(_page, pages), strict=True))
    for pattern in patterns:
        if pattern in described:
            root, entries = _parts(pattern)[:-1], [described[pattern]]
        elif _scheme(pattern) == "s3":
            root, entries = _bucket(pattern)
        else:
            root, entries = _files(pattern)
        if not entries:
            raise StorageError(
                f"{pattern}: no input matches; a folder stands for all visible files below it, a glob for files only"
            )
        roots.append(root)
        found.update((entry.uri, entry) for entry in entries)
    root = _common(roots)
    if not root:
        raise StorageError(f"the inputs {', '.join(patterns)} have no folder in common; make them separate sources")
    relative = [
        InputEntry(entry.uri, "/".join(_parts(entry.uri)[len(root) :]), entry.size, entry.etag, entry.mtime_ns)
        for entry in found.values()
    ]
    return sorted(relative, key=lambda entry: entry.path)


def open_input(uri: str) -> io.BufferedReader:
    """A seekable file over one input, made for reading from start to end; broken connections are resumed."""
    scheme = _scheme(uri)
    if scheme == "s3":
        return s3.open_object(uri)
    if scheme:
        return web.open_url(uri)
    place = local_path(uri)
    try:
        return open(place, "rb")
    except FileNotFoundError as error:
        raise absent(place) from error
    except OSError as error:
        raise disk_error(error, place) from error


def local_path(uri: str) -> str:
    """The absolute path that a local path or a file:// address means."""
    if uri.startswith("file://"):
        host, slash, rest = uri.removeprefix("file://").partition("/")
        if host not in ("", "localhost"):
            raise StorageError(f"{uri}: a file:// address names a path on this machine; write file:///folder/name")
        uri = unquote(slash + rest)
    if not uri or "\0" in uri:
        raise StorageError(f"{uri!r} is no path")
    return os.path.abspath(os.path.expanduser(uri))


def matches(name: Parts, pattern: Parts) -> bool:
    """Whether a name matches a glob, component by component, with the meaning that Python's glob module gives it."""
    if not pattern or not name:
        return not pattern and not name
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        # At the end it stands for files at any depth; before the end also for no folder at all.
        deeper = visible(name[0]) and (matches(name[1:], pattern) if name[1:] else not rest)
        return deeper or matches(name, rest)
    if not visible(name[0]) and not first.startswith("."):
        return False
    return fnmatchcase(name[0], first) and matches(name[1:], rest)


def _scheme(uri: str) -> str:
    """'s3', 'http', 'https', or '' for a local path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", uri)
    if match is None or uri.startswith("file://"):
        return ""
    scheme = match[1]
    if scheme not in ("s3", "http", "https") or not uri.startswith(f"{scheme}://"):
        raise StorageError(f"{uri}: not an address that can be read; give s3://, https://, http://, file:// or a path")
    return scheme


def _parts(uri: str) -> Parts:
    """Components of a uri; the query of a web address belongs to the last one."""
    if not uri.startswith(("http://", "https://")):
        return tuple(uri.split("/"))
    head, mark, query = uri.partition("?")
    *above, name = head.split("/")
    return (*above, name + mark + query)


def _common(roots: list[Parts]) -> Parts:
    shared: list[str] = []
    for level in zip(*roots, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)


def _page(url: str) -> InputEntry:
    if url.endswith("/") or "*" in url:
        raise StorageError(f"{url}: a web server cannot be listed; name each file, or use s3://")
    try:
        found = web.stat(url)
    except FileNotFoundError as error:
        raise StorageError(f"{url}: there is no such file on the server") from error
    return InputEntry(url, "", found.size, found.version, web.modified_ns(found))


def _bucket(pattern: str) -> tuple[Parts, list[InputEntry]]:
    bucket, key = s3.split(pattern)
    if WILDCARD.search(bucket):
        raise StorageError(f"{pattern}: a bucket's name takes no wildcard")
    folder = key.rstrip("/")
    below = folder + "/" if folder else ""
    listed = s3.objects(bucket, folder)
    exact = [(name, entry) for name, entry in listed if name == key]
    root = folder.rpartition("/")[0] if exact else folder
    wanted = exact or [
        (name, entry) for name, entry in listed if name.startswith(below) and visible(name[len(below) :])
    ]
    wild = WILDCARD.search(key)
    if wild and not wanted:  # what is there under this very name is no pattern
        fixed = key[: wild.start()]
        root = fixed.rpartition("/")[0]
        wanted = [found for found in s3.objects(bucket, fixed) if matches(_parts(found[0]), _parts(key))]
    entries = [
        InputEntry(
            f"s3://{bucket}/{name}",
            "",
            entry["Size"],
            entry["ETag"].strip('"'),
            int(entry["LastModified"].timestamp()) * 1_000_000_000,
        )
        for name, entry in wanted
    ]
    return _parts(f"s3://{bucket}" + (f"/{root}" if root else "")), entries


def _files(pattern: str) -> tuple[Parts, list[InputEntry]]:
    path = local_path(pattern)
    try:
        if os.path.isdir(path):
            found = [(os.path.join(path, name), stat) for name, stat in walk(Path(path))]
            return _parts(path.rstrip("/")), [_file(name, stat) for name, stat in found]
        wild = WILDCARD.search(path)
        if wild is None or os.path.lexists(path):
            root, names = path, [path]
        else:
            # A pattern that ends with ** also gives its own folder, with a slash at the end, whether it exists or not.
            names = [name for name in glob.glob(path, recursive=True) if not name.endswith("/")]
            root = path[: wild.start()]
        entries = [_file(name, os.stat(name)) for name in names if not os.path.isdir(name)]
    except NO_FILE as error:
        raise StorageError(f"{error.filename}: there is no such input; check the path") from error
    except OSError as error:
        raise disk_error(error, path) from error
    return _parts(root.rpartition("/")[0]), entries


def _file(path: str, stat: os.stat_result) -> InputEntry:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"{path!r}: this file's name is not UTF-8; rename it") from error
    return InputEntry(path, "", stat.st_size, None, stat.st_mtime_ns)
