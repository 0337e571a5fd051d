"""Stated priority: documents come in, and a sort key of each goes out that decides which one of duplicates is kept,
within a snapshot: first by the priority of its source, then by what the recipe names, last, where keys are equal, by
doc_id. What is imported where it is used takes 0.3 s, and most recipes name no quality.

The surprise: the key is one integer, so that it travels in the side tables in place of the source's priority. A length
counts up to 4 million characters, a date by the day, and a quality as a 16-bit float.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.base import Source, UserError

BITS = {"quality": 16, "length": 22, "date": 16}
SOURCE_BITS = 10
NAMES = tuple(name for one in BITS for name in (one, f"-{one}"))


def check(priority: Sequence[str], quality: str) -> None:
    """ValueError for what no document can be sorted by."""
    for name in priority:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
            raise ValueError(f"priority has no {name!r}; {hint}")
    plain = [name.removeprefix("-") for name in priority]
    if len(set(plain)) < len(plain):
        raise ValueError("priority names the same twice")
    if bool(quality) != ("quality" in plain):
        raise ValueError('"quality" in priority and the signal that it means go together: quality = "word_count"')
    if quality:
        from filters.catalogue import COLUMNS, NEEDS
        from filters.signals import signal_named

        signal_named(quality)
        if any(need not in COLUMNS for need in NEEDS.get(quality, ())):
            raise ValueError(f"quality: the signal {quality} needs a list, which only a filter has")


def check_sources(priority: Sequence[str], sources: Sequence[Source]) -> None:
    """UserError where a source's priority does not fit beside what the recipe names."""
    most = 1 << (SOURCE_BITS - 1)
    for source in sources if priority else ():
        if not -most <= source.priority < most:
            raise UserError(f"source {source.name}: beside a stated priority its own must lie in [{-most}, {most})")


def columns(priority: Sequence[str]) -> list[str]:
    """The columns of documents that `sort_keys` looks at."""
    plain = [name.removeprefix("-") for name in priority]
    every = ["priority", *({"length": "text", "quality": "text", "date": "date"}[name] for name in plain)]
    if "quality" in plain:
        from filters.catalogue import COLUMNS

        every += COLUMNS
    return list(dict.fromkeys(every))


def sort_keys(batch: pa.RecordBatch, priority: Sequence[str], quality: str = "") -> np.ndarray:
    """The key of each document, int64[n]; the lowest is kept first. Without names the priority of its source."""
    key = batch["priority"].to_numpy().astype(np.int64)
    for name in priority:
        kind = name.removeprefix("-")
        least, known = {"length": lengths, "date": days}[kind](batch) if kind != "quality" else measured(batch, quality)
        most = (1 << BITS[kind]) - 1  # of a document for which it is not known: it comes last
        place = least if name.startswith("-") else most - 1 - least
        key = key << BITS[kind] | np.where(known, place, most)
    return key


def lengths(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Code points of each text, int64[n]."""
    count = pc.utf8_length(batch["text"]).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.minimum(count, (1 << BITS["length"]) - 2), np.ones(len(count), bool)


def days(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 of each date that begins as ISO 8601 has it, int64[n], and whether there is one."""
    dates = pc.utf8_slice_codeunits(batch["date"], 0, 10)
    dates = pc.if_else(pc.match_substring_regex(dates, r"^\d{4}-\d{2}-\d{2}$"), dates, pa.scalar(None, pa.string()))
    seconds = pc.strptime(dates, format="%Y-%m-%d", unit="s", error_is_null=True).cast(pa.int64())
    found = seconds.fill_null(0).to_numpy(zero_copy_only=False) // 86_400
    return np.clip(found, 0, (1 << BITS["date"]) - 2), np.asarray(seconds.is_valid())


def measured(batch: pa.RecordBatch, signal: str) -> tuple[np.ndarray, np.ndarray]:
    """Place of each document's value among all 16-bit floats, int64[n], and whether it was measured."""
    from filters.catalogue import COLUMNS
    from filters.signals import SIGNALS
    from filters.text import TextView

    whole = TextView(batch["text"], {name: batch[name] for name in COLUMNS})
    parts = [np.zeros(0), *(SIGNALS[signal](piece).astype(np.float64) for piece in whole.pieces())]
    values = np.concatenate(parts)
    with np.errstate(over="ignore"):
        bits = (values.astype(np.float16) + np.float16(0)).view(np.uint16).astype(np.int64)
    place = np.where(bits >> 15 & 1, 0xFFFF ^ bits, bits | 0x8000)  # floats sort as their bits do, negative ones turned
    return np.minimum(place, 0xFFFE), ~np.isnan(values)
