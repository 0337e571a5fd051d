"""The text of a document as it was read: a URL or id in, what is left of the text with all its cuts put back out.

Stages that cut write what they cut to side files named `cuts`, in places of the text as it was read; so the cuts of all
stages, in order, go back in one pass, whichever stage made them. What cannot be given back is said, never guessed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import opened
from manifests.latest import Run
from manifests.search import asked, search
from manifests.storage import StorageError
from manifests.store import Shard

SIDE = "cuts"


@dataclass(frozen=True)
class Piece:
    """Text that was cut out: [start, end) in characters of the text as read; `text` is None of a document that went."""

    stage: str
    reason: str
    start: int
    end: int
    text: str | None


@dataclass(frozen=True)
class Original:
    """The text of a document as it was read."""

    doc_id: str
    text: str


def rebuild(run: Run, query: str) -> Original | None:
    """The original text of the document with this name, None where the corpus holds none; StorageError where it holds
    several, or where a cut is missing."""
    found = search(run, run.corpus(), asked(query))
    if not found:
        return None
    if len({row["doc_id"] for _, row, _ in found}) > 1:
        ids = ", ".join(sorted(row["doc_id"].hex() for _, row, _ in found))
        raise StorageError(f"{query}: several documents bear this name; ask for one of {ids}")
    shard, row, _ = found[0]
    doc_id = row["doc_id"]
    pieces = pieces_of(run, [doc_id]).get(doc_id, [])
    listed = sorted((cut["start"], cut["end"], cut["reason"]) for cut in row["cuts"] or [])
    if listed != [(p.start, p.end, p.reason) for p in pieces] or any(p.text is None for p in pieces):
        raise StorageError(
            f"{doc_id.hex()}: {len(listed)} cuts, but not the text of all; `verify` lists what is damaged"
        )
    return Original(doc_id.hex(), rebuilt(text_of(run, shard, doc_id), [(p.start, p.text or "") for p in pieces]))


def rebuilt(text: str, cuts: Iterable[tuple[int, str]]) -> str:
    """A text with its cuts put back; each is its place in the result, in characters, and its text, in order."""
    parts: list[str] = []
    place = taken = 0  # characters of the result, and of the text, so far
    for start, piece in cuts:
        parts += (text[taken : taken + start - place], piece)
        taken += start - place
        place = start + len(piece)
    return "".join((*parts, text[taken:]))


def pieces_of(run: Run, ids: Sequence[bytes]) -> dict[bytes, list[Piece]]:
    """What all stages cut out of some documents, in order."""
    found: dict[bytes, list[Piece]] = {}
    wanted = set(ids)
    for stage in run.stages:
        for shard in run.rows[stage.stage]:
            if not (wanted and shard.output == SIDE and shard.rows and shard.path):
                continue
            with opened(run.storage, shard) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["doc_id"], use_threads=False)
                    hits = pc.is_in(table["doc_id"], pa.array(sorted(wanted), table.schema.field("doc_id").type))
                    if not pc.any(hits).as_py():
                        continue
                    for row in file.read_row_group(group, use_threads=False).filter(hits).to_pylist():
                        piece = Piece(stage.stage, row["reason"], row["start"], row["end"], row["text"])
                        found.setdefault(row["doc_id"], []).append(piece)
    return {doc_id: sorted(pieces, key=lambda piece: piece.start) for doc_id, pieces in found.items()}


def text_of(run: Run, shard: Shard, doc_id: bytes) -> str:
    """The text of a document that a file of documents holds."""
    with opened(run.storage, shard) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["doc_id"], use_threads=False)["doc_id"].to_pylist()
            if doc_id in ids:
                texts = file.read_row_group(group, columns=["text"], use_threads=False)["text"]
                return str(texts[ids.index(doc_id)].as_py())
    raise StorageError(f"{shard.path}: the document {doc_id.hex()} is not in it any more")
