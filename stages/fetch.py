"""Inputs of the sources: patterns in, one input file per task out, each with its size and digest.

A local file is digested by content, which is remembered by (path, size, modification time); a remote one is known by
its ETag. The same content twice in a source is taken once: the second path counts as `duplicate_input`.
"""

import hashlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from manifests.digest import DIGEST_BYTES
from manifests.fingerprint import fingerprint
from manifests.storage import InputEntry, list_inputs, open_input
from manifests.store import Shard
from stages.base import InputFile, Source, UserError

STAGE = "fetch"
STAGE_ID = fingerprint(STAGE, 1, size=8)
CLOCK_NS = 2_000_000_000  # the coarsest dates of a file system, those of FAT
REMOTE = re.compile(r"(s3|https?)://")


@dataclass(frozen=True)
class Fetched:
    """The inputs of all sources, sorted by source and path, and the manifest rows that remember them."""

    files: tuple[InputFile, ...]
    rows: tuple[Shard, ...]


def fetch(sources: Sequence[Source], remembered: Sequence[Shard]) -> Fetched:
    """List and digest the inputs; `remembered` are the rows of an earlier run."""
    known = {(row.path, row.bytes, row.count().get("mtime_ns")): row.digest for row in remembered}
    files: list[InputFile] = []
    rows: list[Shard] = []
    for source in sorted(sources, key=lambda s: s.name):
        seen: dict[tuple[str, int], InputFile] = {}  # by content, which an ETag or a date does not name
        for found in list_inputs(source.inputs):
            digest = found.etag or known.get((found.uri, found.size, found.mtime_ns)) or content_digest(found.uri)
            # The patterns are not identity, only what they find is.
            date = settled(found.mtime_ns)
            file = InputFile(replace(source, inputs=()), found.path, found.size, digest, found.uri, date)
            twin = file if found.etag else seen.setdefault((digest, found.size), file)
            rows.append(row_of(file, found, duplicate=twin is not file))
            if twin is file:
                files.append(file)
    keys = [file.key for file in files]
    if len(set(keys)) != len(keys):
        raise UserError("two inputs of a source have the same path; name the files by patterns with one common folder")
    return Fetched(tuple(files), tuple(rows))


def changed(file: InputFile) -> bool:
    """Whether an input is another one than when it was listed: by its ETag, or where it is local and its size or date
    is another one, by its content."""
    if REMOTE.match(file.uri):
        return [found.etag for found in list_inputs([file.uri])] != [file.digest]
    with open_input(file.uri) as stream:  # a file system on a network asks its server when a file is opened
        stat = os.fstat(stream.fileno())
    same = (stat.st_size, stat.st_mtime_ns) == (file.size, file.mtime_ns)
    return not same and content_digest(file.uri) != file.digest


def settled(mtime_ns: int | None) -> int | None:
    """The date of an input, where it is old enough to tell a later change from the one that it speaks of."""
    return mtime_ns if mtime_ns is not None and time.time_ns() - mtime_ns > CLOCK_NS else None


def content_digest(uri: str) -> str:
    """BLAKE2b of a file's bytes."""
    with open_input(uri) as stream:
        return hashlib.file_digest(stream, partial(hashlib.blake2b, digest_size=DIGEST_BYTES)).hexdigest()


def row_of(file: InputFile, found: InputEntry, duplicate: bool) -> Shard:
    """The manifest row of an input."""
    counters = {"files": 1, "duplicate_input": int(duplicate)}
    if found.mtime_ns is not None:
        counters["mtime_ns"] = found.mtime_ns
    return Shard(
        stage=STAGE,
        stage_id=STAGE_ID,
        task_key=file.key,
        commit_key=file.key,
        kind="input",
        output="file",
        digest=file.digest,
        rows=1,
        path=file.uri,
        bytes=file.size,
        source=file.source.name,
        snapshot=file.source.snapshot,
        counters=tuple(sorted(counters.items())),
        inputs=(file.path,),
    )
