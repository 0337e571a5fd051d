"""Signals outside a run: names come in, a function of texts and URLs goes out that measures them. The surprise: signals
of lines are here too, as lists of [start, end, value] in code points, which no rule table sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from filters.catalogue import COLUMNS, NEEDS
from filters.redpajama import LINE_SIGNALS
from filters.signals import SIGNALS
from filters.text import TextView
from manifests.asset import LISTS
from stages.base import UserError
from stages.lists import HARMFUL, open_lists

URL = "url"
REDPAJAMA = tuple(
    sorted(name for name in (*SIGNALS, *LINE_SIGNALS) if name.startswith(("ccnet_", "rps_")) and name not in NEEDS)
)


def open_measure(names: Sequence[str] = REDPAJAMA) -> "Measure":
    """What measures the signals of these names; UserError for an unknown one, AssetError where a list is missing."""
    known = sorted((*SIGNALS, *LINE_SIGNALS))
    needs = set()
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UserError(f"unknown signal {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        for need in NEEDS.get(name, ()):
            if need != URL and need not in LISTS:
                raise UserError(f"the signal {name} needs {need!r}, which only a run has")
            needs.add(need)
    lists = open_lists([(need, LISTS[need]) for need in sorted(needs - set(COLUMNS))], HARMFUL)
    return Measure(tuple(dict.fromkeys(names)), lists)


@dataclass(frozen=True)
class Measure:
    """names: of signals, in the order in which they are measured."""

    names: tuple[str, ...]
    lists: dict[str, Any]

    def measure(self, texts: Sequence[str], urls: Sequence[str | None]) -> list[dict[str, Any]]:
        """For each text the values by name, None where one is not measured; of signals of lines [start, end, value]."""
        whole = TextView(pa.array(texts, pa.string()), {URL: pa.array(urls, pa.string())}, self.lists)
        return [row for piece in whole.pieces() for row in self._piece(piece)]

    def _piece(self, t: TextView) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{} for _ in range(len(t))]
        for name in self.names:
            if name in SIGNALS:
                for row, value in zip(rows, SIGNALS[name](t).tolist(), strict=True):
                    row[name] = None if math.isnan(value) else value
                continue
            found = LINE_SIGNALS[name](t)
            lines = [
                list(line)
                for line in zip(found.starts.tolist(), found.ends.tolist(), found.values.tolist(), strict=True)
            ]
            for d, row in enumerate(rows):
                row[name] = lines[found.offsets[d] : found.offsets[d + 1]]
        return rows
