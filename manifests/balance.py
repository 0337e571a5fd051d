"""The books: counters of a task in, or of a whole stage, and every sentence in which they do not balance out.

For each source and language, documents and text bytes obey in + moved in - moved out = kept + cut + dropped. Archives
obey bytes read = records + lost ranges. Side tables obey rows in = rows out by category. Counter names are paths:

    in/{source}/{lang}/{unit}                 kept/{source}/{lang}/{unit}
    dropped/{source}/{lang}/{unit}/{reason}   cut/{source}/{lang}/bytes/{reason}
    moved/{source}/{old}/{new}/{unit}         (the stage `language` and nothing else)
    archive/{source}/read|records|lost        side/{table}/in, side/{table}/out/{category}
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from manifests.store import Shard

UNITS = ("docs", "bytes")


def total(rows: Iterable[Shard]) -> Counter[str]:
    """Sum of the counters of some manifest rows."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(dict(row.counters))
    return counts


def faults(counts: Mapping[str, int]) -> list[str]:
    """One sentence for each balance that does not hold; empty when the books balance."""
    sums: Counter[tuple[str, ...]] = Counter()
    archives: Counter[str] = Counter()
    sides: Counter[str] = Counter()
    for name, value in counts.items():
        kind, *rest = name.split("/")
        if kind in ("in", "kept", "dropped", "cut"):
            source, lang, unit = rest[:3]
            sums[source, lang, unit] += value if kind == "in" else -value
        elif kind == "moved":
            source, old, new, unit = rest
            sums[source, old, unit] -= value
            sums[source, new, unit] += value
        elif kind == "archive":
            archives[rest[0]] += value if rest[1] == "read" else -value
        elif kind == "side":
            sides[rest[0]] += value if rest[1] == "in" else -value
    found = [
        f"source {source}, language {lang}: {abs(gap):,} {unit} {'are not accounted for' if gap > 0 else 'too many'}"
        for (source, lang, unit), gap in sorted(sums.items())
        if gap
    ]
    found += [f"source {s}: {gap:,} archive bytes are not accounted for" for s, gap in sorted(archives.items()) if gap]
    found += [f"table {t}: {gap:,} rows are not accounted for" for t, gap in sorted(sides.items()) if gap]
    return found


def row_faults(rows: Iterable[Shard]) -> list[str]:
    """Where the rows of one stage's files differ from its counters, besides `faults` of those counters."""
    rows = list(rows)
    counts = total(rows)
    found = faults(counts)
    for kind, output in (("kept", "docs"), ("dropped", "dropped")):
        counted = sum(v for k, v in counts.items() if k.startswith(kind + "/") and k.split("/")[3] == "docs")
        written = sum(row.rows for row in rows if row.output == output)
        if any(row.output == output for row in rows) and counted != written:
            found.append(f"{written:,} rows of {output} written, {counted:,} counted")
    return found


def flow_faults(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Where `in` of a stage is not `kept` of the stages before it, per source, language and unit."""
    found = []
    kept = {k.removeprefix("kept/"): v for k, v in before.items() if k.startswith("kept/") and v}
    entered = {k.removeprefix("in/"): v for k, v in after.items() if k.startswith("in/") and v}
    for key in sorted(kept.keys() | entered.keys()):
        if kept.get(key, 0) != entered.get(key, 0):
            source, lang, unit = key.split("/")
            found.append(
                f"source {source}, language {lang}: {kept.get(key, 0):,} {unit} kept before, {entered.get(key, 0):,} in"
            )
    return found
