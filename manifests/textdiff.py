"""Two texts in, their differing parts with some of what surrounds them out, side by side.

Units are words, and single characters where a script does not set words apart, so that one changed character of a
Chinese sentence shows as one character. Sentences and lines are aligned first, units only inside those that differ: a
whole book is compared in seconds, and two parts that are too long for it count as replaced as a whole.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
UNITS = re.compile(rf"[{SPACELESS}]|[^\W{SPACELESS}]+|\s+|[^\w\s]")
SENTENCES = re.compile(r"[^\n。！？.!?]*[\n。！？.!?]*")
MOST_CELLS = 4_000_000  # units of one side times units of the other
SHORT = 3  # units in common between two differences that are shown as one: `a` or `的` alone aligns nothing
CONTEXT = 24  # characters shown before and after
CELLS = 58  # of a column; two of them and what stands between fill 119
PLACES = 6  # that are shown of two texts
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Difference:
    """One place where two texts differ: what stands only in a, only in b, and the text around, the same in both."""

    before: str
    a: str
    b: str
    after: str


def differences(a: str, b: str) -> list[Difference]:
    """The places where two texts differ, in order."""
    places = spans(a, b)
    ends_a = [0, *(end for _, end, _, _ in places)]
    starts_a = [*(start for start, _, _, _ in places[1:]), len(a)]
    found = []
    for (start_a, end_a, start_b, end_b), last, following in zip(places, ends_a, starts_a, strict=False):
        before = a[max(last, start_a - CONTEXT) : start_a]
        found.append(Difference(before, a[start_a:end_a], b[start_b:end_b], a[end_a : min(following, end_a + CONTEXT)]))
    return found


def spans(a: str, b: str) -> list[tuple[int, int, int, int]]:
    """Differing parts as characters [start, end) of a and [start, end) of b."""
    found = []
    for start_a, end_a, start_b, end_b in changed(SENTENCES.findall(a), SENTENCES.findall(b)):
        units_a, units_b = UNITS.findall(a[start_a:end_a]), UNITS.findall(b[start_b:end_b])
        if len(units_a) * len(units_b) > MOST_CELLS:
            found.append((start_a, end_a, start_b, end_b))
            continue
        for first_a, last_a, first_b, last_b in changed(units_a, units_b, SHORT):
            found.append((start_a + first_a, start_a + last_a, start_b + first_b, start_b + last_b))
    return found


def changed(a: Sequence[str], b: Sequence[str], short: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """Where two sequences of pieces differ, in characters; up to `short` common pieces between two places join them."""
    places_a, places_b = ends(a), ends(b)
    last: tuple[int, int, int, int] | None = None
    for tag, start_a, end_a, start_b, end_b in SequenceMatcher(None, a, b).get_opcodes():
        if tag == "equal":
            continue
        if last and start_a - last[1] <= short:
            last = (last[0], end_a, last[2], end_b)
            continue
        if last:
            yield places_a[last[0]], places_a[last[1]], places_b[last[2]], places_b[last[3]]
        last = (start_a, end_a, start_b, end_b)
    if last:
        yield places_a[last[0]], places_a[last[1]], places_b[last[2]], places_b[last[3]]


def ends(pieces: Sequence[str]) -> list[int]:
    """Where each piece begins, and where the last one ends, in characters."""
    places = [0]
    for piece in pieces:
        places.append(places[-1] + len(piece))
    return places


def side_by_side(found: Sequence[Difference] | None, most: int = PLACES, cells: int = CELLS) -> Iterator[str]:
    """Two columns of so many terminal cells, a to the left, one line for each of the first places."""
    if found is None:
        yield "the texts are not stored any more"
    elif not found:
        yield "the texts are the same"
    for place in (found or ())[:most]:
        left, right = (column(place.before, part, place.after, cells) for part in (place.a, place.b))
        yield f"{left}{' ' * (cells - width(left))} | {right}"
    if found and len(found) > most:
        yield f"and {len(found) - most:,} more places; --json shows all"


def column(before: str, part: str, after: str, cells: int) -> str:
    """A differing part in «» with its surroundings; a long one keeps its two ends."""
    part = f"«{clip(part, cells - 22)}»"
    free = cells - width(part)
    head = clip_front(visible(before), free // 2)
    return head + part + clip_back(visible(after), free - width(head))


def clip(text: str, cells: int) -> str:
    """A text on one line, its middle left out where it is too long."""
    text = visible(text[: 2 * cells] + text[-2 * cells :] if len(text) > 4 * cells else text)
    if width(text) <= cells:
        return text
    head = clip_back(text, (cells - 3) // 2)
    return f"{head}...{clip_front(text, cells - 3 - width(head))}"


def clip_back(text: str, cells: int) -> str:
    """As much of the beginning of a text as fits."""
    while width(text) > cells:
        text = text[:-1]
    return text


def clip_front(text: str, cells: int) -> str:
    """As much of the end of a text as fits."""
    while width(text) > cells:
        text = text[1:]
    return text


def visible(text: str) -> str:
    """One line: the end of a line shows as ⏎."""
    return printable(re.sub(r"[ \t]*(\r?\n[ \t]*)+", "⏎", text))


def printable(text: str) -> str:
    """A text of a page as a terminal may get it: blanks for what moves the cursor, breaks lines or turns writing."""
    return CONTROLS.sub(" ", text)


def width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1 for char in text
    )
