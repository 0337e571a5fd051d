"""What happened to a document: a URL, a doc_id or a source's own id in, a history for each document that bears it out.

A document is written once when it goes and once when it stays to the end, so two searches find all: the dropped files
of every stage, and the documents of the last stages. The stages between are known from the graph of the run.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import Dropped, dropped, dropped_shards
from manifests.latest import Run, number
from manifests.pairs import compared
from manifests.rebuild import Piece, pieces_of
from manifests.search import Found, Wanted, asked, search
from manifests.shards import PARTITIONS, read_partitions
from manifests.store import Shard
from manifests.textdiff import Difference

ID = pa.binary(16)
# The top bits of a key choose one of PARTITIONS row groups.
PART_SHIFT = 64 - (PARTITIONS - 1).bit_length()


@dataclass(frozen=True)
class Step:
    """One stage of a document's way. fate: kept, passed (the stage is for other languages) or dropped."""

    stage: str
    fate: str
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Twin:
    """The document for whose sake a duplicate went; `stays` says whether it is in the corpus at the end."""

    doc_id: str
    url: str | None
    source: str | None
    source_id: str | None
    stays: bool


@dataclass(frozen=True)
class Cut:
    """Text that was cut out of a document: spans and characters for one reason, and each of them where it is kept."""

    reason: str
    spans: int
    chars: int
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a document's tokens lie: token shard, row, and its first token counted from the start of the shard."""

    shard: str
    row: int
    first_token: int


@dataclass(frozen=True)
class History:
    """The way of one document through the run; `dropped` says why it went, None where it stayed."""

    doc_id: str
    source: str
    source_id: str | None
    url: str | None
    lang: str
    script: str | None
    lang_score: float | None
    archive: str | None
    offset: int | None
    length: int | None
    steps: tuple[Step, ...]
    dropped: Dropped | None
    twin: Twin | None
    cuts: tuple[Cut, ...]
    shard: str | None
    place: Place | None
    differences: tuple[Difference, ...] | None = None  # from the twin; None where there is none, or it is not stored


@dataclass(frozen=True)
class InputFate:
    """An input file with the path that was asked for; `twin` is the equal file that was read instead of it."""

    source: str
    path: str
    size: int
    read: bool
    twin: str | None


@dataclass(frozen=True)
class Answer:
    """All that bears a name."""

    query: str
    documents: tuple[History, ...]
    inputs: tuple[InputFate, ...]


def why(run: Run, query: str) -> Answer:
    """Everything that the run knows by this name."""
    wanted = asked(query)
    gone = search(run, dropped_shards(run), wanted)
    kept = search(run, run.corpus(), wanted)
    twins = find_twins(run, gone)
    pieces = pieces_of(run, [row["doc_id"] for _, row, _ in gone + kept])
    histories = [
        dropped_history(run, dropped(row, rules), twins, pieces.get(row["doc_id"], [])) for _, row, rules in gone
    ]
    unlike = compared(run, [row for _, row, _ in gone])
    histories = [replace(h, differences=unlike.get(bytes.fromhex(h.doc_id))) for h in histories]
    histories += [kept_history(run, shard, row, pieces.get(row["doc_id"], [])) for shard, row, _ in kept]
    order = {stage.stage: stage.order for stage in run.stages}
    histories.sort(key=lambda h: (-order[h.steps[-1].stage], h.source, h.archive or "", h.offset or 0, h.doc_id))
    return Answer(query, tuple(histories), tuple(input_fates(run, query)))


def find_twins(run: Run, gone: list[Found]) -> dict[str, Twin]:
    """The documents for whose sake duplicates went, by doc_id; one may itself have gone at a later stage."""
    ids = tuple(sorted({row["kept_id"] for _, row, _ in gone if row["kept_id"]}))
    if not ids:
        return {}
    twins = {i.hex(): Twin(i.hex(), None, None, None, False) for i in ids}
    for shards, stays in ((dropped_shards(run), False), (run.corpus(), True)):
        for _, row, _ in search(run, shards, Wanted(ids)):
            doc_id = row["doc_id"].hex()
            twins[doc_id] = Twin(doc_id, row["url"], row["source"], row["source_id"], stays)
    return twins


def dropped_history(run: Run, gone: Dropped, twins: dict[str, Twin], pieces: list[Piece]) -> History:
    """The history of a document that went."""
    steps = way(run, gone.stage, gone.source, gone.lang)
    return History(
        gone.doc_id,
        gone.source,
        gone.source_id,
        gone.url,
        gone.lang,
        None,
        None,
        gone.archive,
        gone.offset,
        gone.length,
        (*steps[:-1], Step(gone.stage, "dropped", steps[-1].languages)),
        gone,
        twins.get(gone.kept_id or ""),
        cuts([], pieces),
        None,
        None,
    )


def kept_history(run: Run, shard: Shard, row: dict[str, Any], pieces: list[Piece]) -> History:
    """The history of a document that stayed."""
    return History(
        row["doc_id"].hex(),
        row["source"],
        row["source_id"],
        row["url"],
        row["lang"],
        row["script"],
        number(row["lang_score"]),
        row["archive"],
        row["offset"],
        row["length"],
        way(run, shard.stage, row["source"], row["lang"]),
        None,
        None,
        cuts(row["cuts"] or [], pieces),
        shard.path,
        place(run, row["doc_id"]),
    )


def way(run: Run, last: str, source: str, lang: str) -> tuple[Step, ...]:
    """The stages from the entry of a source to a stage, as a document of a language passed them."""
    stages = {stage.stage: stage for stage in run.docs_stages()}
    above, todo = set[str](), [last]
    while todo:
        name = todo.pop()
        above.add(name)
        todo += [upper for upper in stages[name].after if upper in stages and upper not in above]
    steps = []
    for name in stages:
        seen = any(key.startswith((f"in/{source}/", f"kept/{source}/")) for key in run.counts[name])
        if name in above and (seen or name == last):
            only = run.languages.get(name, ())
            steps.append(Step(name, "passed" if only and lang not in only else "kept", only))
    return tuple(steps)


def cuts(spans: list[dict[str, Any]], pieces: list[Piece]) -> tuple[Cut, ...]:
    """What was cut out, by reason: pieces from side files, and spans of the document's own list that are not there."""
    known = {(piece.start, piece.end, piece.reason) for piece in pieces}
    missing = [span for span in spans if (span["start"], span["end"], span["reason"]) not in known]
    pieces = pieces + [Piece("", span["reason"], span["start"], span["end"], None) for span in missing]
    found: dict[str, list[Piece]] = {}
    for piece in sorted(pieces, key=lambda piece: piece.start):
        found.setdefault(piece.reason, []).append(piece)
    return tuple(
        Cut(reason, len(found[reason]), sum(p.end - p.start for p in found[reason]), tuple(found[reason]))
        for reason in sorted(found)
    )


def place(run: Run, doc_id: bytes) -> Place | None:
    """Where the tokens of a document lie, from the row group of the side table `places` that its key points to."""
    rows = [row for stage in run.stages for row in run.rows[stage.stage]]
    part = place_key(doc_id) >> PART_SHIFT
    for side in rows:
        if side.output == "places" and side.path and side.row_groups[part].rows:
            table = read_partitions(run.storage, side.path, (part, part + 1))
            for found in table.filter(pc.equal(table["doc_id"], pa.scalar(doc_id, ID))).to_pylist():
                shards = [row for row in rows if row.kind == "tokens" and shard_name(row) == found["shard"]]
                path = shards[0].path if shards else None
                return Place(path or found["shard"], found["row"], found["first_token"])
    return None


def shard_name(row: Shard) -> str:
    """Name of a token shard in `places`, which tells no digest: the shard's file was not closed yet."""
    return f"{row.task_key}/{row.source}/{row.lang}"


def place_key(name: str | bytes) -> int:
    """Key of a document in `places`, where it stands under its doc_id (bytes) and its URL (str): a 64-bit hash."""
    data = name.encode() if isinstance(name, str) else name
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def input_fates(run: Run, query: str) -> Iterator[InputFate]:
    """Input files with this address or this path relative to their source's root."""
    inputs = run.inputs()
    read = {(row.source, row.digest, row.bytes): row.inputs[0] for row in inputs if not repeated(row)}
    for row in inputs:
        if query in (row.path, row.inputs[0]):
            twin = read.get((row.source, row.digest, row.bytes)) if repeated(row) else None
            yield InputFate(row.source or "", row.inputs[0], row.bytes, not repeated(row), twin)


def repeated(row: Shard) -> bool:
    """Whether an input was not read, since its source has another with the same bytes."""
    return bool(row.count().get("duplicate_input"))
