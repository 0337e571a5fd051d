"""Samples with the offending part marked: dropped documents in, spans and excerpts out.

An excerpt is one line that begins shortly before the first mark. Control characters of a page never reach a terminal.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from manifests.asset import Asset
from manifests.gone import Dropped, RuleFailed
from manifests.highlight import Span, spans
from manifests.latest import Run
from manifests.measured import setting
from manifests.storage import StorageError
from manifests.textdiff import printable

CHARS = 400
BEFORE = 60  # characters before the first mark
REVERSE = ("\x1b[7m", "\x1b[27m")
QUOTES = ("«", "»")
# Stand-ins for the ends of a mark while white space is collapsed; no text holds them, since controls are replaced.
OPEN, CLOSE = "\x02", "\x03"


def marks(run: Run, documents: Sequence[Dropped], rule: str) -> tuple[tuple[Span, ...], ...]:
    """For each document the spans that the rule objects to; none where no rule is named."""
    lists: dict[str, tuple[str, ...]] = {}
    found: list[tuple[Span, ...]] = []
    for gone in documents:
        asked = objecting(gone, rule)
        if asked is None or not gone.text:
            found.append(())
            continue
        if gone.stage not in lists:
            lists[gone.stage] = listed(run, gone.stage)
        found.append(tuple(spans(gone.text, asked, lists[gone.stage])))
    return tuple(found)


def objecting(gone: Dropped, name: str) -> RuleFailed | None:
    """The rule of that name, if it failed; of the reason, whose value is known, only the bound that is broken."""
    rule = next((rule for rule in gone.failed if rule.name == name), None)
    if rule is None or gone.reason != name or gone.value is None:
        return rule
    return replace(rule, hi=None) if rule.lo is not None and gone.value < rule.lo else replace(rule, lo=None)


def listed(run: Run, stage: str) -> tuple[str, ...]:
    """The bad words of a stage, where its list is text and lies on this machine; empty otherwise."""
    found: list[str] = []
    for name, asset in sorted((setting(run, stage, "lists") or {}).items()):
        if "bad_word" in name:
            try:
                text = Asset(asset["uri"], asset["sha256"]).path().read_text(encoding="utf-8-sig")
            except (StorageError, UnicodeDecodeError):
                continue
            found += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple(found)


def excerpt(text: str, marked: Sequence[Span], ends: tuple[str, str]) -> str:
    """About CHARS characters on one line, marked parts between the two ends."""
    start = max(0, marked[0][0] - BEFORE) if marked and marked[0][0] > CHARS - BEFORE else 0
    clean = printable(text)
    parts, at = [], start
    for first, last in marked:
        parts += [clean[at:first], OPEN, clean[first:last], CLOSE]
        at = last
    line = re.sub(r"\s+", " ", "".join([*parts, clean[at:]])).strip()
    shown, count, inside = [], 0, False
    for char in line:
        if char in (OPEN, CLOSE):
            inside = char == OPEN
        elif count == CHARS:
            break
        else:
            count += 1
        shown.append(char)
    whole = len(shown) == len(line)
    made = "".join(shown).replace(OPEN, ends[0]).replace(CLOSE, ends[1]) + (ends[1] if inside else "")
    return f"{'... ' if start else ''}{made}{'' if whole else ' ...'}"
