"""Line-level filtering: a view of texts and line rules come in, the spans to be cut out go, in bytes of each text. Next
to the signals of lines and the finders of spans any signal of the catalogue serves: a line is measured as if it were a
document. The surprise is what goes with a line: its line break, and of the gaps around it all but the widest, so that
the text that stays has the paragraphs it had."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from dedup.spans import Ints, Spans, disjoint
from filters.boilerplate import LINES
from filters.catalogue import COLUMNS, NEEDS, SIGNALS, Signal
from filters.links import CANDIDATE, link_spans
from filters.rules import LineRule, load_rows
from filters.segment import Bytes
from filters.text import TextView

# C4 takes out the marks of Wikipedia's footnotes and edit links (Raffel et al. 2020, section 2.2, and its code).
CITATION = re.compile(r"\[(?:\d*|edit|citation needed|编辑|編輯|来源请求|來源請求)\]")
KEPT = -1  # in place of the number of a rule


class Finder(NamedTuple):
    """Finds spans inside lines; `candidate` is an RE2 pattern that every line matches in which there is one."""

    candidate: str
    find: Callable[[str], list[tuple[int, int]]]  # [start, end) in code points


def citation_spans(line: str) -> list[tuple[int, int]]:
    """[start, end) of each citation mark."""
    return [match.span() for match in CITATION.finditer(line)]


# A rule on one of these bounds the number of spans in a line; beyond it the spans go, and the line stays without them.
SPANS = {"citation_count": Finder(r"\[[^\[\]]*\]", citation_spans), "link_count": Finder(CANDIDATE, link_spans)}


def line_named(name: str) -> Signal | Finder:
    """What measures a line, or finds spans in it, under that name; a ValueError names the nearest one."""
    known: dict[str, Signal | Finder] = {**SIGNALS, **LINES, **SPANS}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise ValueError(f"unknown line signal {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if columns := [need for need in NEEDS.get(name, ()) if need in COLUMNS]:
        raise ValueError(f"{name} is no signal of lines: a line has no {columns[0]}")
    return known[name]


def load_line_rules(toml_text: str) -> tuple[LineRule, ...]:
    """The [[rule]] rows of a table of line rules, in its order; an unknown key or signal is a ValueError."""
    return load_rows(toml_text, LineRule, line_named)


def find_cuts(view: TextView, rules: Sequence[LineRule]) -> Spans:
    """What the rules cut out of each document, in bytes of its text; a reason is the number of a rule, the first that a
    line fails. A line of which spans leave nothing goes as a whole."""
    lines = view.lines
    lined = TextView(stripped(view), lists=view.lists)
    reason = np.full(len(lined), KEPT, np.int64)
    for number, rule in enumerate(rules):
        measure = line_named(rule.line)
        if not isinstance(measure, Finder):
            failed = rule.fails(measure(lined).astype(np.float32))
            reason[failed & (reason == KEPT)] = number
    inside: list[tuple[int, int, int, int]] = []
    for row, spans in found_spans(lined, reason, rules).items():
        text = lined.column[row].as_py()
        if not left_over(text, spans):
            reason[row] = spans[0][2]
            continue
        document = int(np.searchsorted(lines.offsets, row, side="right")) - 1
        place, first = 0, int(lines.spans[row, 0] - view.offsets[document])
        for start, end, number in spans:
            first += len(text[place:start].encode())
            inside.append((document, first, first + len(text[start:end].encode()), number))
            place = start
    whole = np.empty((int((reason != KEPT).sum()), 4), np.int64)
    cut_lines(view.data, view.offsets, lines.offsets, lines.spans, reason, whole)
    every = np.concatenate((whole, np.array(inside, np.int64).reshape(-1, 4)))
    return disjoint(every[:, 0], every[:, 1], every[:, 2], every[:, 3])


def stripped(view: TextView) -> pa.Array:
    """The lines of a view that are not blank, without white space at their ends, one after the other."""
    bounds = view.lines.spans.ravel()
    if not len(bounds):
        return pa.array([], pa.string())
    buffers = [None, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(view.data)]
    stretches = pa.Array.from_buffers(pa.string(), len(bounds) - 1, buffers)
    return stretches.filter(pa.array(np.arange(len(bounds) - 1) % 2 == 0))


def found_spans(lined: TextView, reason: Ints, rules: Sequence[LineRule]) -> dict[int, list[tuple[int, int, int]]]:
    """Spans (start, end, number of the rule), in order, inside the lines that stay, by line."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for number, rule in enumerate(rules):
        measure = line_named(rule.line)
        if isinstance(measure, Finder):
            likely = np.asarray(pc.match_substring_regex(lined.column, measure.candidate), np.bool_)
            for row in np.flatnonzero(likely & (reason == KEPT)).tolist():
                spans = measure.find(lined.column[row].as_py())
                if spans and rule.fails(np.array([len(spans)], np.float32))[0]:
                    found.setdefault(row, []).extend((start, end, number) for start, end in spans)
    return {row: sorted(spans) for row, spans in found.items()}


def left_over(text: str, spans: Sequence[tuple[int, int, int]]) -> str:
    """What stays of a line when spans in order go, without white space at its ends."""
    parts, place = [], 0
    for start, end, _ in spans:
        parts.append(text[place:start])
        place = max(place, end)
    return "".join((*parts, text[place:])).strip()


@njit(cache=True, nogil=True)
def cut_lines(data: Bytes, offsets: Ints, lines: Ints, spans: Ints, reason: Ints, out: NDArray[np.int64]) -> None:
    """Fills out with (document, start, end, reason) of each line whose reason is not KEPT.

    A gap is what lies between two lines, from the line break to the last blank line. Of the gaps around consecutive
    lines that go the one with most line breaks stays, the first of equals; at the beginning of the text the first, at
    its end the last. Lines before it go with the gap before them, lines behind it with the gap behind them."""
    n = 0
    for d in range(len(offsets) - 1):
        i = lines[d]
        while i < lines[d + 1]:
            if reason[i] < 0:
                i += 1
                continue
            j = i
            while j < lines[d + 1] and reason[j] >= 0:
                j += 1
            stays = i
            if i > lines[d] and j == lines[d + 1]:
                stays = j
            elif i > lines[d]:
                most = 0
                for k in range(i, j + 1):
                    breaks = 0
                    for p in range(spans[k - 1, 1], spans[k, 0]):
                        breaks += data[p] == 10
                    if breaks > most:
                        most, stays = breaks, k
            for k in range(i, j):
                if k < stays:
                    start, end = spans[k - 1, 1], spans[k, 1]
                    while data[start] != 10:
                        start += 1
                    while end < offsets[d + 1] and data[end] != 10:
                        end += 1
                else:
                    start, end = spans[k, 0], offsets[d + 1]
                    while start > offsets[d] and data[start - 1] != 10:
                        start -= 1
                    if k + 1 < lines[d + 1]:
                        end = spans[k + 1, 0]
                        while data[end - 1] != 10:
                            end -= 1
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = d, start - offsets[d], end - offsets[d], reason[k]
                n += 1
            i = j
