"""Alarms of duplicate removal: a finished stage's counters in, an error out where one document, source or host goes too
far to be believed, which is what boilerplate, a source given twice, or a broken extractor look like.

What was committed stays: with a higher limit the same command goes on where it stopped. A count below FLOOR never
raises an alarm, so small corpora have none.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from manifests.balance import total
from manifests.store import Shard
from pipeline.probes import ancestors
from pipeline.recipe import Limits
from stages.base import Stage, UserError

FLOOR = 1_000  # documents
HOST_PART = 0.01  # of all documents: a host that loses fewer says nothing about the run


@dataclass(frozen=True)
class Removed:
    """Documents that a source or a host lost, and all of it that came in."""

    name: str
    removed: int
    came: int


def check(stage: Stage, stages: Sequence[Stage], rows: Mapping[str, Sequence[Shard]], limits: Limits) -> None:
    """UserError for the first alarm; rows: of all stages up to this one."""
    if stage.use == "cluster":
        by_name = {other.name: other for other in stages}
        signed = [name for name in ancestors(stage, by_name) if by_name[name].use == "sign"]
        documents = total(row for name in signed for row in rows[name])["side/documents/in"]
        check_cluster(stage.name, rows[stage.name], documents, limits.largest_cluster)
    elif stage.use == "apply":
        counts = total(rows[stage.name])
        check_removed(stage.name, "source", by_source(counts), FLOOR, limits.removed_of_source)
        documents = sum(source.came for source in by_source(counts))
        least = max(FLOOR, int(HOST_PART * documents))
        check_removed(stage.name, "host", by_host(counts), least, limits.removed_of_host)


def check_cluster(stage: str, rows: Iterable[Shard], documents: int, limit: float) -> None:
    """UserError if one document stands for more than a share of the documents."""
    largest = max((row.count().get("largest_cluster", 0) for row in rows), default=0)
    if largest >= FLOOR and largest > limit * documents:
        tables = sorted(row.path or "" for row in rows if row.output == "clusters")
        raise UserError(
            f"stage {stage}: one cluster has {largest:,} of {documents:,} documents, more than the limit of "
            f"{limit:.1%} (run.largest_cluster); sizes are in {tables[-1] if tables else 'its side file'}; if that is "
            f"right, run again with --set run.largest_cluster={higher(largest / documents)}, and what is done is kept"
        )


def check_removed(stage: str, kind: str, parts: Iterable[Removed], least: int, limit: float) -> None:
    """UserError if a source or a host lost more than a share of its documents."""
    for part in sorted(parts, key=lambda part: (-part.removed, part.name)):
        if part.removed >= least and part.removed > limit * part.came:
            field = f"run.removed_of_{kind}"
            raise UserError(
                f"stage {stage}: {part.removed:,} of the {part.came:,} documents of {kind} {part.name} go as "
                f"duplicates, more than the limit of {limit:.1%} ({field}); if that is right, run again with "
                f"--set {field}={higher(part.removed / part.came)}, and what is done is kept"
            )


def by_source(counts: Mapping[str, int]) -> list[Removed]:
    """What each source lost, from in/{source}/{lang}/docs and dropped/{source}/{lang}/docs/{reason}."""
    came, gone = Counter[str](), Counter[str]()
    for name, value in counts.items():
        kind, *rest = name.split("/", 4)
        if kind == "in" and rest[2] == "docs":
            came[rest[0]] += value
        elif kind == "dropped" and rest[2] == "docs" and not rest[3].startswith("error:"):
            gone[rest[0]] += value
    return [Removed(source, gone[source], came[source]) for source in sorted(came)]


def by_host(counts: Mapping[str, int]) -> list[Removed]:
    """What hosts lost that lost much in one task, from host/{host}/in and host/{host}/removed."""
    hosts = sorted(name.split("/")[1] for name in counts if name.startswith("host/") and name.endswith("/removed"))
    return [Removed(host, counts[f"host/{host}/removed"], counts[f"host/{host}/in"]) for host in hosts]


def higher(share: float) -> float:
    """A limit that this share does not exceed, in steps of a hundredth."""
    return min(1.0, int(share * 100 + 1) / 100)
