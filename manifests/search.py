"""Search for documents by name: data files in, the rows that bear a doc_id, a URL or a source's own id out.

Three narrow columns are read of each file, and the others only of row groups that hold a hit.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import RuleFailed, footer_rules, opened
from manifests.latest import Run
from manifests.store import Shard

THREADS = 4
LOOKED_AT = ("doc_id", "url", "source_id")
# A row with the shard that holds it, and the rules of that file's footer.
Found = tuple[Shard, dict[str, Any], tuple[RuleFailed, ...]]


@dataclass(frozen=True)
class Wanted:
    """What a search looks for: documents by id, or by any of some names."""

    ids: tuple[bytes, ...]
    names: tuple[str, ...] = ()

    def rows(self, table: pa.Table) -> pa.Array:
        """Which rows of a table with the columns LOOKED_AT are meant, bool[n]."""
        found = pc.is_in(table["doc_id"], pa.array(self.ids, table.schema.field("doc_id").type))
        for column in ("url", "source_id"):
            found = pc.or_(found, pc.is_in(table[column], pa.array(self.names, pa.string())))
        return found


def asked(query: str) -> Wanted:
    """A doc_id is 32 hexadecimal digits; WARC-Record-IDs may be given without their brackets."""
    names = (query, f"<{query}>", f"<urn:uuid:{query}>")
    digits = query.lower()
    is_id = len(digits) == 32 and set(digits) <= set("0123456789abcdef")
    return Wanted((bytes.fromhex(digits),) if is_id else (), names)


def search(run: Run, shards: Iterable[Shard], wanted: Wanted) -> list[Found]:
    """The rows that are wanted, without their text, each with its shard and the rules of the file's footer."""

    def look(shard: Shard) -> list[Found]:
        return list(look_into(run, shard, wanted))

    with ThreadPoolExecutor(THREADS) as pool:
        return [found for part in pool.map(look, shards) for found in part]


def look_into(run: Run, shard: Shard, wanted: Wanted) -> Iterator[Found]:
    """The wanted rows of one file; only where a row group has some are its other columns read."""
    with opened(run.storage, shard) as file:
        rules = footer_rules(file)
        for group in range(file.num_row_groups):
            if not file.metadata.row_group(group).num_rows:
                continue
            hits = wanted.rows(file.read_row_group(group, columns=list(LOOKED_AT), use_threads=False))
            if not pc.any(hits).as_py():
                continue
            # The text of a kept document is large and not shown.
            columns = [name for name in file.schema_arrow.names if name != "text" or shard.output == "dropped"]
            for row in file.read_row_group(group, columns=columns, use_threads=False).filter(hits).to_pylist():
                yield shard, row, rules
