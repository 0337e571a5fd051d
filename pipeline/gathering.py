"""When side files are gathered: what a planned stage reads in, the stages that merge it out, and what is read then. The
tasks of the planned stage keep their keys, so nothing that follows tells the difference."""

from collections.abc import Iterable, Mapping, Sequence

from manifests.store import Shard
from pipeline.plan import Graph, Node
from pipeline.recipe import GATHER
from stages.base import Merged, rows_digest
from stages.gather import Gather
from stages.passes import Step

FEWER = 4  # a merged file takes the place of up to limit / FEWER files

Rows = Mapping[str, Sequence[Shard]]


def gathering_nodes(graph: Graph, rows: Rows, references: Iterable[Merged], limit: int) -> list[Node]:
    """A stage for each output of which more than `limit` files are meant by one reference."""
    by_folder = {node.step.folder: node for node in graph.nodes}
    wanted = {(m.folder, m.output) for m in references if len(files(rows[by_folder[m.folder].name], m)) > limit}
    made = []
    for folder, output in sorted(wanted):
        above = by_folder[folder]
        stage = Gather(f"{GATHER}{above.name}-{output}", (above.name,), output, max(2, limit // FEWER))
        made.append(Node(Step(stage, stage.stage_id([above.step.stage_id])), (above.name,)))
    return made


def files(rows: Sequence[Shard], merged: Merged) -> list[Shard]:
    """The side files with rows that a reference means, among the rows of its stage."""
    sides = [row for row in rows if row.kind in ("side", "verdict") and row.rows]
    return [row for row in sides if row.output == merged.output and row.snapshot in merged.snapshots]


def over_gathered(merged: Merged, graph: Graph, rows: Rows) -> Merged:
    """The same rows in merged files, where there are some."""
    for node in graph.nodes:
        above = [graph.node(name).step.folder for name in node.upstreams]
        if isinstance(node.stage, Gather) and (above, node.stage.output) == ([merged.folder], merged.output):
            digest = rows_digest(files(rows[node.name], merged))
            return Merged(node.step.folder, merged.output, merged.snapshots, digest)
    return merged
