"""Checks between stages: the rows of a finished stage and of those before it in, an error out where documents were lost
on the way, where too many of them broke the stage, or where an alarm goes off."""

from collections import Counter
from collections.abc import Mapping, Sequence

from manifests.balance import flow_faults, total
from manifests.storage import Storage
from manifests.store import Shard, manifest_path
from pipeline import alarms
from pipeline.plan import Graph, Node
from pipeline.recipe import Recipe
from stages.base import UserError

# Below this many documents a share says nothing; so many errors are always allowed.
ERRORS_ALLOWED = 5
Rows = Mapping[str, Sequence[Shard]]  # of each finished stage


def check_stage(node: Node, graph: Graph, rows: Rows, recipe: Recipe, storage: Storage) -> None:
    """UserError for what is wrong with a stage that has run."""
    counts = total(rows[node.name])
    above = [graph.node(name) for name in node.upstreams if graph.node(name).docs]
    entered = any(key.startswith("in/") for key in counts)
    if above and (entered or node.docs):
        before = total(row for n in above for row in rows[n.name])
        if wrong := flow_faults(before, counts):
            raise UserError(f"stage {node.name} does not balance with the stages before it: {'; '.join(wrong)}")
    errors = documents({k: v for k, v in counts.items() if "/error:" in k}, "dropped")
    came = documents(counts, "in")
    if errors > max(ERRORS_ALLOWED, came * recipe.limits.errors):
        forget_errors(node, graph, rows, storage)
        raise UserError(
            f"stage {node.name}: {errors:,} of {came:,} documents broke it, more than the recipe's "
            f"limit of {recipe.limits.errors:.1%} (run.errors): {', '.join(kinds(counts))}; "
            "these tasks will run again"
        )
    alarms.check(node.stage, recipe.stages, rows, recipe.limits)


def forget_errors(node: Node, graph: Graph, rows: Rows, storage: Storage) -> None:
    """Undo the commits of tasks in which documents broke a stage, so that they run again once it is mended."""
    for row in rows[node.name]:
        if any("/error:" in name for name, _ in row.counters):
            for target in graph.targets():
                storage.delete(manifest_path(target.step.folder, row.commit_key))


def documents(counts: Mapping[str, int], kind: str) -> int:
    """Documents over all sources, languages and reasons of one kind of counter: `in`, `kept` or `dropped`."""
    return sum(value for key, value in counts.items() if key.startswith(kind + "/") and key.split("/")[3] == "docs")


def kinds(counts: Mapping[str, int]) -> list[str]:
    """The kinds of error among some counters, such as `3 error:ValueError`."""
    found = Counter[str]()
    for name, value in counts.items():
        if "/docs/error:" in name:
            found[name.rsplit("/", 1)[-1]] += value
    return [f"{value:,} {name}" for name, value in found.most_common()]
