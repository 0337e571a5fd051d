"""Windows: documents in, a side table of their windows out, by the anchor that neighbours share, for `substring`.

A window is a stretch of `length` units. Every one is written, with its text, so that equal windows meet and bytes can
decide; consecutive ones overlap, so the table holds some 3.5 times the text.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.hashing import string_buffers
from dedup.windows import MAX_LENGTH, MIN_LENGTH, copy_stretches, cut_windows
from manifests.shards import read_batches, write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, docs_tasks
from stages.output import Output
from stages.schema import WINDOWS
from stages.sides import home_of, id_array, id_words

BATCH_BYTES = 4 << 20
BYTES_PER_FILE = 160 << 20
WIDTHS = {"byte": 1, "character": 4}


@dataclass(frozen=True)
class Windows(Stage):
    """length: units of the shortest passage that counts. 200 bytes are the 50 tokens of Lee et al. 2021: some 55
    English or 45 Chinese ones (MAP-Neo, table 2: 3.5 and 1.5 characters to a token). unit: "byte" or "character"."""

    length: int = 200
    unit: str = "byte"
    use: ClassVar[str] = "windows"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def __post_init__(self) -> None:
        if self.unit not in WIDTHS:
            raise ValueError(f'unit must be "byte" or "character", not {self.unit!r}')
        if not MIN_LENGTH <= self.length <= MAX_LENGTH:
            raise ValueError(f"length must lie between {MIN_LENGTH} and {MAX_LENGTH}")

    def tasks(self, plan: Plan) -> list[Task]:
        return docs_tasks(plan)

    def open(self, storage: Storage) -> "Cutting":
        return Cutting(self, storage)

    def footer(self) -> dict[str, str]:
        """What `substring` has to know."""
        return {"length": str(self.length), "unit": self.unit}


class Cutting:
    """Cuts one shard of documents at a time."""

    def __init__(self, stage: Windows, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        home = home_of(task.inputs[0])
        parts, size, files = [WINDOWS.empty_table()], 0, 0
        columns = ["doc_id", "lang", "priority", "text"]
        for batch in read_batches(self.storage, task.inputs[0].path or "", columns, BATCH_BYTES):
            sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
            for kind in ("in", "kept"):
                out.tally(kind, batch["lang"].to_pylist(), sizes)
            parts.append(self._rows(batch, home, out))
            size += parts[-1].nbytes
            if size >= BYTES_PER_FILE:
                self._write(parts, out)
                parts, size, files = [WINDOWS.empty_table()], 0, files + 1
        if size or not files:
            self._write(parts, out)

    def _write(self, parts: list[pa.Table], out: Output) -> None:
        file = out.file("windows", "side", WINDOWS, metadata=self.stage.footer())
        write_partitions(file, pa.concat_tables(parts), "key")

    def _rows(self, batch: pa.RecordBatch, home: int, out: Output) -> pa.Table:
        data, offsets = string_buffers(batch["text"])
        units, bounds, places = data, offsets, None
        if WIDTHS[self.stage.unit] > 1:
            units, bounds, places = code_points(data, offsets)
        found, periodic = cut_windows(units, bounds, self.stage.length)
        docs = found.documents
        starts = found.starts if places is None else places[found.starts]
        width, count = units.itemsize, found.stops - found.starts
        columns = [found.keys, batch["priority"].to_numpy()[docs], id_array(id_words(batch["doc_id"])[docs])]
        columns += [starts - offsets[docs], (found.anchors - found.starts).astype(np.uint16)]
        columns += [np.full(len(docs), home, np.uint64), stretches(units, found.starts * width, count * width)]
        every = int(np.maximum(np.diff(bounds) - self.stage.length + 1, 0).sum())
        out.counters["side/windows/in"] += every
        out.counters["side/windows/out/written"] += every - periodic
        out.counters["side/windows/out/periodic"] += periodic
        return pa.table(columns, schema=WINDOWS)


def code_points(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(code points of all texts uint32[n], bounds of the texts in them, first byte of each in `data`)."""
    first, last = int(offsets[0]), int(offsets[-1])
    part = data[first:last]
    units = np.frombuffer(part.tobytes().decode().encode("utf-32-le"), np.uint32)
    places = np.flatnonzero(part & 0xC0 != 0x80) + first
    return units, np.searchsorted(places, offsets), places


def stretches(units: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> pa.Array:
    """Stretches of an array, which may overlap, in bytes, as a binary column."""
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    copied = np.empty(bounds[-1], np.uint8)
    copy_stretches(units.view(np.uint8), starts, sizes, copied, bounds)
    buffers = [None, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(copied)]
    return pa.Array.from_buffers(pa.binary(), len(starts), buffers)
