"""Answers about duplicates as plain text: dataclasses in, lines out."""

from collections.abc import Iterator, Sequence

from manifests.dup import Duplicates, Probed
from manifests.pairs import Pair
from manifests.query import GROUPS
from manifests.show import share, table
from manifests.textdiff import printable, side_by_side


def show_duplicates(found: Duplicates) -> Iterator[str]:
    """Everything, one table after the other."""
    yield f"recipe {found.recipe}, root {found.root}"
    yield ""
    yield from table(method_rows(found), left=2)
    for name, count in found.search.items():
        yield f"{name}: {count:,}"
    for made in found.clusters:
        if not made.sizes:
            continue
        yield ""
        rows = [["documents of a cluster", "clusters", "documents"]]
        rows += [[size_name(s.low, s.high), f"{s.clusters:,}", f"{s.documents:,}"] for s in made.sizes]
        yield from table(rows)
        for large in made.largest:
            yield f"{large.size:,} documents: {large.doc_id} stays  {printable(large.name or '(no URL)')}"
    if found.hosts:
        yield ""
        rows = [["host", "removed", "kept", "removed of its own"]]
        rows += [
            [printable(h.host), f"{h.removed:,}", f"{h.kept:,}", share(h.removed / (h.removed + h.kept))]
            for h in found.hosts
        ]
        yield from table(rows)
    if found.probes:
        yield ""
        yield from show_probes(found.probes)
    for pair in found.pairs:
        yield ""
        yield from show_pair(pair)


def method_rows(found: Duplicates) -> list[list[str]]:
    """Removals by method, languages side by side, with their share of what came in."""
    rows: list[list[str]] = [
        ["stage", "method", *(f"{name} {what}" for name in GROUPS for what in ("docs", "share")), "MB"]
    ]
    for reason in found.methods:
        row = [reason.stage, reason.reason]
        for name in GROUPS:
            docs, whole = reason.groups[name].docs, found.documents[name]
            row += [f"{docs:,}", share(docs / whole if whole else None)]
        rows.append([*row, f"{reason.groups['all'].bytes / 1e6:,.2f}"])
    came = [cell for name in GROUPS for cell in (f"{found.documents[name]:,}", "")]
    return [*rows, ["documents in", "", *came, ""]]


def size_name(low: int, high: int) -> str:
    """A range of sizes."""
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def show_probes(probes: Sequence[Probed]) -> Iterator[str]:
    """Edited copies by their true similarity, and below them recall and precision of each language."""
    rows = [["probes", "Jaccard", "pairs", "share a band", "in theory", "likely", "verified", "recall"]]
    for bin in probes:
        if bin.pairs:
            theory, recall = share(bin.expected / bin.pairs), share(bin.verified / bin.pairs) if bin.similar else "-"
            counts = [f"{bin.likely:,}", f"{bin.verified:,}", recall]
            ends = f"{bin.low:g}-{bin.high:g}"
            rows.append([bin.lang, ends, f"{bin.pairs:,}", share(bin.proposed / bin.pairs), theory, *counts])
    yield from table(rows, left=2)
    for stage, lang in sorted({(bin.stage, bin.lang) for bin in probes}):
        bins = [bin for bin in probes if (bin.stage, bin.lang) == (stage, lang)]
        yield f"{stage}, {lang}: {recall_text(bins)}"


def recall_text(bins: Sequence[Probed]) -> str:
    """Recall and precision of the probes of one language."""
    similar = [bin for bin in bins if bin.similar]
    pairs, right = sum(bin.pairs for bin in similar), sum(bin.verified for bin in similar)
    verified = sum(bin.verified for bin in bins)
    if not similar:
        return "no probe is as similar as the threshold"
    recall, precision = (share(right / whole) if whole else "-" for whole in (pairs, verified))
    threshold = min(bin.low for bin in similar)
    return (
        f"recall at Jaccard {threshold:g} and above {recall} ({right:,} of {pairs:,}), "
        f"precision {precision} ({right:,} of {verified:,})"
    )


def show_pair(pair: Pair) -> Iterator[str]:
    """A pair: who, why, and where the texts differ, the removed one to the left."""
    score = "" if pair.score is None else f", score {pair.score:.9g}"
    yield f"{pair.method} {pair.band} [{pair.lang}]{score}"
    for name, side in (("removed", pair.removed), ("kept   ", pair.kept)):
        size = "" if side.chars is None else f", {side.chars:,} characters"
        yield f"  {name} {side.doc_id}  {printable(side.name or '(no URL)')}{size}"
    yield from (f"  {line}" for line in side_by_side(pair.differences))
