"""Edited copies of texts, and the true similarity of two texts: plain Python that shares nothing with the kernels that
it is there to check. Whether words or characters count is decided for each text, as the search does it."""

import random
import re
from collections.abc import Iterator
from itertools import pairwise

from manifests.textdiff import SPACELESS

SHINGLE = 5
LEAST_UNITS = 50  # fewer make no copy at a similarity that is asked for
LOWEST = 0.5
WORDS = re.compile(r"\w+")
IS_SPACELESS = re.compile(f"[{SPACELESS}]")
SPACELESS_RUN = re.compile(f"[{SPACELESS}]+")
Shingles = set[tuple[str, ...]]


def edited(text: str, rng: random.Random) -> str:
    """A copy at a Jaccard similarity anywhere from LOWEST to 1: single units replaced, or one run of them deleted.

    One replaced unit changes SHINGLE shingles of n, so m of them leave (n - 5m) / (n + 5m); "" where n is too small.
    """
    if by_characters(text):
        places = [(i, i + 1) for i, character in enumerate(text) if not character.isspace()]
    else:
        places = [match.span() for match in WORDS.finditer(text)]
    count = len(places)
    if count < LEAST_UNITS:
        return ""
    target = LOWEST + (1 - LOWEST) * rng.random()
    if rng.random() < 0.5:
        size = max(1, round(count * (1 - target)) - SHINGLE + 1)
        first = int(rng.random() * (count - size))
        return text[: places[first][0]] + text[places[first + size - 1][1] :]
    changes = max(1, round(count * (1 - target) / (1 + target) / SHINGLE))
    parts, at = [], 0
    for place in sorted({int(rng.random() * count) for _ in range(changes)}):
        start, stop = places[place]
        other = places[int(rng.random() * count)]
        parts += [text[at:start], text[other[0] : other[1]]]
        at = stop
    return "".join([*parts, text[at:]])


def by_characters(text: str) -> bool:
    """Whether characters of scripts that do not set words apart outnumber the other words."""
    rest, runs = SPACELESS_RUN.subn(" ", text)
    return len(text) - len(rest) + runs > len(WORDS.findall(rest))


def shingles(text: str, by_runs: bool = False) -> Shingles:
    """What `dedup.shingles` hashes, as it is defined: runs of five characters that are no white space, or words; of a
    text as a whole, or of each of its script runs."""
    if by_runs:
        return set().union(*(shingles_of(part, characters) for part, characters in script_runs(text)))
    return shingles_of(text, by_characters(text))


def script_runs(text: str) -> Iterator[tuple[str, bool]]:
    """The script runs of a text, see `dedup.runs`, and whether characters count in each; none without words."""
    spaceless = [bool(IS_SPACELESS.match(c)) if IS_SPACELESS.match(c) or WORDS.match(c) else None for c in text]
    known = [i for i, kind in enumerate(spaceless) if kind is not None]
    starts = [0] + [b for a, b in pairwise(known) if spaceless[a] != spaceless[b]]
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True) if known else ():
        yield text[start:stop], any(spaceless[start:stop])


def shingles_of(text: str, characters: bool) -> Shingles:
    """Five units in a row, characters or words; all of them where they are fewer."""
    if characters:
        units = list("".join(text.split()))
    else:
        units = WORDS.findall(text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3"))
    if len(units) < SHINGLE:
        return {tuple(units)} if units else set()
    return set(zip(*(units[i:] for i in range(SHINGLE)), strict=False))


def jaccard(a: Shingles, b: Shingles) -> float:
    """Shared / all."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if a or b else 0.0


def containment(a: Shingles, b: Shingles) -> float:
    """Shared / those of the smaller set."""
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0
