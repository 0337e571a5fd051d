"""Exact duplicates: content hashes in, or those of URLs, verdicts out. Of equal ones the first document in visiting
order is kept. The surprise: of two captures of one URL the later goes whatever it says, since no text is compared."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.ordering import ordered
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, UserError
from stages.output import Output
from stages.schema import CONTENT, VERDICTS
from stages.sides import id_array, id_words, load, numbers, range_tasks, visit_numbers

TABLES = {"content": "content", "url": "urls"}  # by what documents are equal -> the side table that says it
REASONS = {"content": "exact_duplicate", "url": "url_duplicate"}
MEMORY_PER_BYTE = 6  # of worker memory, for a byte of content rows: measured 2.4


@dataclass(frozen=True)
class Exact(Stage):
    """by: "content", 128-bit hashes from `sign`, where it is said what counts as content; or "url", those of `urls`."""

    by: str = "content"
    use: ClassVar[str] = "exact"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        if self.by not in TABLES:
            raise ValueError(f'by must be "content" or "url", not {self.by!r}')

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, TABLES[self.by], plan.bytes_per_task(MEMORY_PER_BYTE))

    def open(self, storage: Storage) -> "Grouping":
        return Grouping(self.by, storage)


class Grouping:
    """Finds equal contents, or URLs, within one range of hashes."""

    def __init__(self, by: str, storage: Storage) -> None:
        self.by, self.storage = by, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        table, rank = load(self.storage, task, TABLES[self.by], CONTENT)
        key, rest = numbers(table, "key"), numbers(table, "rest")
        total = len(key)
        order, fresh = ordered([key, rest])
        fresh = np.append(fresh, True)
        shared = order[~(fresh[1:] & fresh[:-1])]  # the others are alone
        table, rank, key, rest = table.take(pa.array(shared)), rank[shared], key[shared], rest[shared]
        ids = id_words(table["doc_id"])
        number, row_of = visit_numbers(rank, numbers(table, "priority"), ids)
        if len(row_of) < len(ids):
            # Each would be removed as a copy of the other.
            twice = ids[np.flatnonzero(np.bincount(number)[number] > 1)[0]]
            raise UserError(
                f"document {id_array(twice[None])[0].as_py().hex()} came in twice; is there more than one entry stage "
                "for the same source?"
            )
        order, _ = ordered([key, rest, number.view(np.uint64)])
        same = np.zeros(len(order), bool)
        same[1:] = (key[order][1:] == key[order][:-1]) & (rest[order][1:] == rest[order][:-1])
        first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))] if len(order) else order
        # Earlier snapshots have had their verdicts.
        gone = same & (rank[order] == len(task.snapshots) - 1)
        removed, kept = order[gone], first[gone]
        columns = [
            numbers(table, "home")[removed],
            id_array(ids[removed]),
            id_array(ids[kept]),
            [REASONS[self.by]] * len(removed),
            # Texts of one URL were not compared.
            np.ones(len(removed), np.float32) if self.by == "content" else pa.nulls(len(removed), pa.float32()),
        ]
        write_partitions(out.file("verdicts", "verdict", VERDICTS), pa.table(columns, schema=VERDICTS), "key")
        out.counters[f"side/{TABLES[self.by]}/in"] += total
        out.counters[f"side/{TABLES[self.by]}/out/first"] += total - int(same.sum())
        out.counters[f"side/{TABLES[self.by]}/out/removed"] += len(removed)
        out.counters[f"side/{TABLES[self.by]}/out/removed_before"] += int(same.sum()) - len(removed)
