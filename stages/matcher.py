"""trafilatura's lists of XPath expressions in, the same lists answering faster out.

trafilatura finds a page's main part, and what to prune, by regular expressions over `id`, `class` and the like; libxml2
calls into Python for each of them at each element, which took about a quarter of the time. Their conditions look at
nothing but an element's own tag and attributes. So they are read here, tried on each kind of element once, and
remembered. The surprise: an expression in which anything else stands is left as it is.
"""

import re
from collections.abc import Callable
from contextlib import suppress

from lxml.etree import XPath, _Element
from trafilatura import xpaths

KINDS = 1 << 15  # that an expression remembers; a page has some hundreds
LITERAL = re.compile(r"'([^']*)'")
PREDICATE = re.compile(r"\[([^\[\]]*)\]")
SHAPE = re.compile(r"\(?\.//\* ?(\[[^\[\]]*\] ?)+\)?(\[1\])?")
OR = re.compile(r"\s+or\s+(?![^()]*\))")  # not one inside parentheses
TEST = re.compile(
    r"(?P<function>re:test|contains|starts-with)\((?:translate\()?(?P<subject>@[\w|@-]+)"
    r"(?:, *'(?P<old>\d+)', *'(?P<new>\d+)'\))?, *'(?P<wanted>\d+)'(?:, *'(?P<flags>\d+)')?\)"
)
EQUAL = re.compile(r"@([\w-]+) *= *'(\d+)'")
EXISTS = re.compile(r"@([\w-]+)")
TAGS = re.compile(r"self::\w+|not\((?P<no>self::\w+(?: or self::\w+)*)\)")
NO_HEADING = "not(.//h1)"

Attributes = tuple[tuple[str, str], ...]  # in the page's order: where two are named, XPath looks at the first
Condition = Callable[[str, Attributes], bool]


class Matcher:
    """An expression `.//*[...]`, perhaps with [1] around it; ValueError where it cannot be read."""

    def __init__(self, xpath: XPath) -> None:
        literals = LITERAL.findall(xpath.path)
        numbers = iter(range(len(literals)))
        text = LITERAL.sub(lambda _: f"'{next(numbers)}'", " ".join(xpath.path.split()))
        text = text.strip()
        if not SHAPE.fullmatch(text):
            raise ValueError(f"not an expression over single elements: {text}")
        predicates = PREDICATE.findall(text)
        self.first = predicates[-1] == "1"
        self.xpath = xpath
        self.partly = NO_HEADING in text  # then the expression has the last word
        parts = [OR.split(predicate.strip()) for predicate in predicates if predicate != "1"]
        self.rest = [[condition(part, literals) for part in some] for some in parts]
        tags = [part.removeprefix("self::") for part in parts[0]] if parts[0][0].startswith("self::") else []
        self.tags = tuple(tags) or ("*",)
        self.names = frozenset(EXISTS.findall(text))
        self.known: dict[tuple[str, Attributes], bool] = {}

    def __call__(self, tree: _Element) -> list[_Element]:
        """The elements below `tree` that match, in document order."""
        names, known = self.names, self.known
        found: list[_Element] = []
        for element in tree.iterdescendants(*self.tags):
            kind = (element.tag, tuple([item for item in element.items() if item[0] in names]))
            match = known.get(kind)
            if match is None:
                if len(known) >= KINDS:
                    known.clear()
                match = known[kind] = all(any(holds(*kind) for holds in some) for some in self.rest)
            if match:
                found.append(element)
                if self.first:
                    break
        return self.xpath(tree) if found and self.partly else found


def condition(text: str, literals: list[str]) -> Condition:
    """One condition of a predicate; its literals stand for their numbers."""
    if text == NO_HEADING:
        return lambda tag, attributes: True
    if match := TAGS.fullmatch(text):
        tags = set(re.findall(r"self::(\w+)", text))
        wanted = match["no"] is None
        return lambda tag, attributes: (tag in tags) == wanted
    if match := EXISTS.fullmatch(text):
        name = match[1]
        return lambda tag, attributes: any(key == name for key, _ in attributes)
    if match := EQUAL.fullmatch(text):
        item = (match[1], literals[int(match[2])])
        return lambda tag, attributes: item in attributes
    if not (match := TEST.fullmatch(text)):
        raise ValueError(f"a condition that is not understood: {text}")
    names = set(EXISTS.findall(match["subject"]))
    letters = str.maketrans(*(literals[int(match[key])] for key in ("old", "new"))) if match["old"] else {}
    decide = test(match["function"], literals[int(match["wanted"])], bool(match["flags"]))
    return lambda tag, attributes: decide(next((v for n, v in attributes if n in names), "").translate(letters))


def test(function: str, wanted: str, fold: bool) -> Callable[[str], bool]:
    """A test of a string; `fold`: upper and lower case are one."""
    if function == "contains":
        return lambda value: wanted in value
    if function == "starts-with":
        return lambda value: value.startswith(wanted)
    search = re.compile(wanted, re.IGNORECASE if fold else 0).search
    return lambda value: search(value) is not None


def quicken() -> int:
    """Replace trafilatura's expressions in place, since its modules share these lists; gives how many were read."""
    done = 0
    for expressions in (
        xpaths.BODY_XPATH,
        xpaths.DISCARD_IMAGE_ELEMENTS,
        xpaths.OVERALL_DISCARD_XPATH,
        xpaths.RAW_TREE_PRUNE_XPATH,
        xpaths.REMOVE_COMMENTS_AND_LISTS_XPATH,
    ):
        for number, xpath in enumerate(expressions):
            with suppress(ValueError):
                expressions[number] = Matcher(xpath)
                done += 1
    return done
