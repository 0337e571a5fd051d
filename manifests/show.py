"""Answers as plain text: dataclasses in, lines out that can be pasted into a paper or a shell.

Columns are aligned by the width on a terminal, where a Chinese character takes two cells.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from manifests.compare import Difference, OnlyIn
from manifests.excerpt import QUOTES, excerpt
from manifests.gone import Dropped, DroppedSample, RuleFailed
from manifests.query import GROUPS, UNKNOWN, Funnel, Kept, StageKept
from manifests.textdiff import printable, side_by_side
from manifests.verify import Verified
from manifests.why import Answer, Cut, History

LONGEST = 60
PIECES = 10  # of one reason that `why` shows
TWIN_PLACES = 4  # of the differences from the kept twin


def table(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Rows as aligned lines: the first `left` columns to the left, numbers to the right; a rule under the header."""
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell + " " * (size - width(cell)) if i < left else " " * (size - width(cell)) + cell
            for i, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * size for size in widths)


def width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def show_funnel(funnel: Funnel, short: bool) -> Iterator[str]:
    """The funnel, the reasons, and the tokens."""
    yield f"recipe {funnel.recipe}, root {funnel.root}"
    yield ""
    header = ["stage"] + [f"{name} {what}" for name in GROUPS for what in ("docs", "MB", "kept")]
    yield from table([header, *(funnel_row(line) for line in (*funnel.stages, funnel.left))])
    if any(line.unknown for line in funnel.stages):
        yield "?: the language was not known yet. Kept: share of the documents that the stage decided about."
    if funnel.duplicate_files:
        yield f"input files: {funnel.files:,}, of which {funnel.duplicate_files:,} not read (duplicate_input)"
    for archive in funnel.archives:
        if archive.lost:
            yield f"archives of {archive.source}: {archive.lost:,} of {archive.read:,} bytes hold no readable record"
    if not short and funnel.reasons:
        yield ""
        yield from table(reason_rows(funnel), left=2)
    yield ""
    for stream in funnel.streams:
        amount = f"{stream.tokens:,} in {stream.docs:,} documents, {stream.shards:,} shards"
        yield f"tokens {stream.source}/{stream.lang}: {amount}"
    if not funnel.streams:
        yield "tokens: none"


def funnel_row(line: StageKept) -> list[str]:
    """One line of the funnel table."""
    cells = [line.stage]
    nameless = all(line.groups[name] == Kept(0, 0, None) for name in GROUPS[1:])
    for name in GROUPS:
        kept = line.groups[name]
        if name != "all" and nameless and line.unknown:
            cells += [UNKNOWN] * 3
        else:
            cells += [f"{kept.docs:,}", f"{kept.bytes / 1e6:,.2f}", share(kept.share)]
    return cells


def reason_rows(funnel: Funnel) -> list[list[str]]:
    """Documents by reason and language; for cuts, only bytes are known."""
    columns = [*GROUPS, UNKNOWN]
    rows = [["stage", "reason", *(f"{name} docs" for name in columns), "MB"]]
    for reason in funnel.reasons:
        docs = ["cut" if reason.cut else f"{reason.groups[name].docs:,}" for name in columns]
        rows.append([reason.stage, reason.reason, *docs, f"{reason.groups['all'].bytes / 1e6:,.2f}"])
    return rows


def share(value: float | None) -> str:
    """A share in per cent."""
    return "-" if value is None else f"{value:.1%}"


def show_answer(answer: Answer) -> Iterator[str]:
    """What happened to everything that bears a name."""
    for fate in answer.inputs:
        twin = f"not read, duplicate_input: the same bytes as {printable(fate.twin or '')}"
        yield f"input {fate.source}/{printable(fate.path)}, {fate.size:,} bytes: {'read' if fate.read else twin}"
    for number, history in enumerate(answer.documents):
        if number or answer.inputs:
            yield ""
        yield from show_history(history)


def show_history(history: History) -> Iterator[str]:
    """One document: who it is, then one line for each stage."""
    yield f"document {history.doc_id}  {printable(history.url or '(no URL)')}"
    where = f", {printable(history.archive)} at {history.offset}" if history.archive else ""
    named = f", id {printable(history.source_id)}" if history.source_id else ""
    yield f"  source {history.source}{named}{where}"
    script = f" ({history.script})" if history.script else ""
    score = f", score {history.lang_score}" if history.lang_score is not None else ""
    yield f"  language {history.lang}{script}{score}"
    longest = max(len(step.stage) for step in history.steps)
    for step in history.steps:
        note = f": it holds for {', '.join(step.languages)}" if step.fate == "passed" else ""
        why = f": {verdict(history.dropped)}" if history.dropped and step.fate == "dropped" else ""
        yield f"  {step.stage:<{longest}}  {step.fate}{note}{why}"
    gone = history.dropped
    if gone:
        for rule in gone.failed:
            yield f"    failed {rule_text(rule)}"
        if gone.kept_id:
            twin = history.twin
            stays = "stays" if twin and twin.stays else "went later; ask for it too"
            name = printable((twin and (twin.url or twin.source_id)) or "(no URL)")
            yield f"    kept twin {gone.kept_id}  {name} ({stays})"
            yield from (f"      {line}" for line in side_by_side(history.differences, TWIN_PLACES))
    for cut in history.cuts:
        yield from show_cut(cut)
    if history.place:
        place = history.place
        yield f"  tokens: {place.shard}, row {place.row:,}, from token {place.first_token:,}"
    elif history.shard:
        yield f"  stays, in {history.shard}"


def show_cut(cut: Cut) -> Iterator[str]:
    """What was cut for one reason, piece by piece; after some, how many more there are."""
    yield f"    {cut.reason} cut {cut.chars:,} characters in {cut.spans:,} places"
    for piece in cut.pieces[:PIECES]:
        text = "" if piece.text is None else f"  | {excerpt(piece.text, (), QUOTES)}"
        yield f"      {piece.stage or '?'} [{piece.start:,}, {piece.end:,}){text}"
    if len(cut.pieces) > PIECES:
        yield f"      and {len(cut.pieces) - PIECES:,} more; --json shows all"


def verdict(gone: Dropped) -> str:
    """Why a document went, in one line."""
    words = gone.reason
    if gone.value is not None:
        words += f" = {gone.value:.9g}"
    if gone.lo is not None or gone.hi is not None:
        words += f", kept is {interval(gone.lo, gone.hi)}"
    return words if gone.score is None else f"{words}, score {gone.score:.9g}"


def interval(lo: float | None, hi: float | None) -> str:
    """A range with its ends; where it is open there is no bracket."""
    return f"{'(-inf' if lo is None else f'[{lo:.9g}'}, {'inf)' if hi is None else f'{hi:.9g}]'}"


def rule_text(rule: RuleFailed) -> str:
    """A rule with its range and where it comes from."""
    signal = f" = {rule.signal}" if rule.signal != rule.name else ""
    source = f"  ({rule.source})" if rule.source else ""
    return f"{rule.name}{signal} in {interval(rule.lo, rule.hi)}{source}"


def show_sample(sample: DroppedSample, ends: tuple[str, str] = QUOTES) -> Iterator[str]:
    """Dropped documents, each with its reason and some of its text; marks stand between the two ends."""
    yield f"{len(sample.documents):,} of {sample.total:,} dropped documents"
    for gone, marks in zip(sample.documents, sample.marks or [()] * len(sample.documents), strict=True):
        yield ""
        yield f"{gone.stage}: {verdict(gone)}  [{gone.lang}]"
        name = gone.url or gone.source_id or f"{gone.archive} at {gone.offset}"
        yield f"  {gone.doc_id}  {printable(name)}"
        if gone.failed:
            yield f"  failed {', '.join(rule.name for rule in gone.failed)}"
        if gone.kept_id:
            yield f"  kept twin {gone.kept_id}"
        if gone.text:
            yield f"  | {excerpt(gone.text, marks, ends)}"


def show_difference(found: Difference) -> Iterator[str]:
    """Two runs side by side."""
    yield f"a: root {found.root_a}"
    yield f"b: root {found.root_b}"
    yield "the content is the same" if found.same else "the content differs"
    if found.recipe:
        yield from ("", *found.recipe)
    if found.stages:
        rows = [["stage", "id a", "id b", "content a", "content b"]]
        for s in found.stages:
            contents = ["-" if c is None else c[:12] for c in (s.content_a, s.content_b)]
            rows.append([s.stage, s.id_a or "-", s.id_b or "-", *contents])
        yield ""
        yield from table(rows, left=5)
    if found.counts:
        rows = [["stage", "language", "documents", "a", "b", "b - a"]]
        for c in found.counts:
            rows.append([c.stage, c.lang, c.reason or c.kind, f"{c.a:,}", f"{c.b:,}", f"{c.b - c.a:+,}"])
        yield ""
        yield from table(rows, left=3)
    yield ""
    yield from show_only("a", "b", found.only_a)
    yield from show_only("b", "a", found.only_b)


def show_only(name: str, other: str, only: OnlyIn) -> Iterator[str]:
    """The documents that one run alone kept."""
    yield f"documents that only {name} keeps: {only.docs:,}"
    for fate, count in only.fates.items():
        yield f"  {count:,} in {other}: {fate}"
    for doc_id in only.ids:
        yield f"    {doc_id}"


def show_verified(found: Verified) -> Iterator[str]:
    """One line for each fault, what was looked at, and the root hash as the last line."""
    for fault in found.faults:
        yield f"{fault.kind} {fault.where}: {fault.what}"
    for path in found.removed:
        yield f"removed {path}"
    if found.other_folders:
        yield f"{found.other_bytes:,} bytes in {found.other_folders:,} folders belong to other recipes' results"
    faults = f"{len(found.faults):,} faults" if found.faults else "no fault"
    yield f"{found.files:,} files, {found.bytes:,} bytes: {faults}"
    yield f"tokens {found.tokens}"
    yield f"root {found.root}"
