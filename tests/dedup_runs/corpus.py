"""A seeded corpus in which every stage that deduplicates finds something, in English, Chinese and both.

It lies in three sources, of which a comes before b and b before c. Of each group of documents that have something in
common a source holds at most one, so which of them stays follows from the sources alone, in whatever files they lie.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stages.dedup_corpus import edited, spelled, units
from tests.stages.dedup_runner import CHAIN as DOCUMENTS
from tests.stages.dedup_runner import source

SOURCES = {"a": -5, "b": 0, "c": 7}  # priorities
FAMILIES = 2

# All stages in one chain. Lines below 60 bytes count by host; windows are those of the recipes.
CHAIN = (
    DOCUMENTS
    + """
[[stage]]
use = "lines"
[[stage]]
use = "paragraphs"
[[stage]]
use = "lines"
name = "host-lines"
after = ["apply"]
within = "host"
min_bytes = 12
[[stage]]
use = "paragraphs"
name = "boilerplate"
min_docs = 2
inside = false
reason = "boilerplate_line"
[[stage]]
use = "apply"
name = "apply-lines"
after = ["apply", "paragraphs", "boilerplate"]
spans = true
[[stage]]
use = "windows"
[[stage]]
use = "substring"
[[stage]]
use = "apply"
name = "apply-passages"
after = ["apply-lines", "substring"]
spans = true
[[stage]]
use = "similar"
store = true
"""
)


@dataclass(frozen=True)
class Page:
    """A document before it is written."""

    source: str
    id: str
    text: str
    host: str = ""

    def row(self) -> dict[str, str]:
        """The line of a file; a page without a host has one of its own."""
        url = f"https://{self.host or self.id}.example/{self.id}"
        return {"id": self.id, "lang": self.id[:2], "text": self.text, "url": url}


def corpus(seed: int) -> list[Page]:
    """Documents of all kinds; their own ids begin with the language and say what was planted."""
    rng = random.Random(seed)
    made: list[Page] = []
    for lang in ("en", "zh", "mx"):
        for family in range(FAMILIES):
            made += family_of(rng, lang, f"{lang}{family}")
    return made


def family_of(rng: random.Random, lang: str, name: str) -> list[Page]:
    """Members for every stage; `name` is the beginning of their ids."""

    def sentences(count: int) -> str:
        made = [spelled(lang, units(rng, lang, rng.randint(16, 22))) for _ in range(count)]
        return (" " if lang == "en" else "").join(made)

    def lines(*more: str) -> str:
        made = [sentences(2) for _ in range(3)]
        for line in more:
            made.insert(rng.randint(1, len(made)), line)
        return "\n".join(made)

    base = units(rng, lang, 120)
    near = edited(rng, lang, base, 4)  # 8 of 116 shingles differ: 108 / 124 = 0.87
    far = near[:100] + edited(rng, lang, near[100:], 8)  # near to `near`, not to `base`
    pages = [
        Page("a", "base", spelled(lang, base)),
        Page("b", "near", spelled(lang, near)),
        Page("c", "near-copy", spelled(lang, near)),
        Page("c", "far", spelled(lang, far)),
    ]
    copy, passage, line = lines(), sentences(5), sentences(2)
    menu = spelled(lang, units(rng, lang, 4 if lang == "en" else 8))
    pages += [Page(where, f"copy-{where}", copy) for where in SOURCES]
    for where in SOURCES:
        gap = " " if lang == "en" else ""
        pages += [
            Page(where, f"line-{where}", lines(line)),
            Page(where, f"passage-{where}", lines(gap.join((sentences(1), passage, sentences(1))))),
            Page(where, f"menu-{where}", lines(menu), f"{name}-site"),
            *(Page(where, f"alone-{where}{i}", lines()) for i in range(3)),
        ]
    pages += [
        Page("a", "twice", lines(*[sentences(2)] * 2)),
        Page("b", "rest", f"{line}\n!"),  # nothing but "!" is left
        Page("a", "similar", lines(*similar_pair(rng))),
    ]
    return [Page(p.source, f"{name}-{p.id}", p.text, p.host) for p in pages]


def similar_pair(rng: random.Random) -> tuple[str, str]:
    """Two Chinese lines of 25 characters that differ in one."""
    line = units(rng, "zh", 24)
    other = [*line]
    other[11] = units(rng, "zh", 1)[0]
    return spelled("zh", line), spelled("zh", other)


def write(folder: Path, pages: Sequence[Page], seed: int = 0, files: int = 1) -> list[str]:
    """Write each source's pages in any order to some files; gives the sources as they stand in a recipe."""
    rng = random.Random(seed)
    made = []
    for name, priority in SOURCES.items():
        own = [page.row() for page in pages if page.source == name]
        rng.shuffle(own)
        paths = [folder / name / f"{i}.jsonl" for i in range(files)]
        (folder / name).mkdir(parents=True)
        for i, path in enumerate(paths):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own[i::files])
            path.write_text(text, encoding="utf-8")
        made.append(source(name, paths, priority=priority))
    return made
