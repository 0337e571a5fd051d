"""A recipe run by the driver, and what became of each document by its own id: text and cuts, or why it went."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.driver import Result
from pipeline.recipe import Recipe, parse_recipe
from stages import sides
from tests.dedup_runs.corpus import CHAIN
from tests.stages.dedup_runner import rows

Fate = tuple[str, ...]


def chain(sources: Sequence[str]) -> Recipe:
    """The chain of all stages over some sources."""
    return parse_recipe("".join(sources) + CHAIN, "every")


def fates(root: Path, result: Result, last: str) -> dict[str, Fate]:
    """What became of each document by its own id; `last` is the stage whose documents are the corpus."""
    names = {row["doc_id"]: row["source_id"] for row in rows(root, result, "read", "docs")}
    found: dict[str, Fate] = {}
    for stage in result.rows:
        if not any(shard.output == "dropped" for shard in result.rows[stage]):
            continue
        for row in rows(root, result, stage, "dropped"):
            kept = names.get(row["kept_id"], "")
            assert row["source_id"] not in found
            found[row["source_id"]] = (stage, row["reason"], kept, str(row["score"]))
    for row in rows(root, result, last, "docs"):
        assert row["source_id"] not in found
        cuts = [f"{cut['start']}-{cut['end']} {cut['reason']}" for cut in row["cuts"] or []]
        found[row["source_id"]] = ("kept", row["text"], *cuts)
    assert set(found) == set(names.values())
    return found


def cut_into(count: int) -> Callable[[int, int], int]:
    """What stands in for `sides.ranges`: so many tasks, whatever they read."""
    assert callable(sides.ranges)
    return lambda total, bytes_per_task: count
