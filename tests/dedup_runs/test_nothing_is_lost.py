"""Whatever the stages cut stands in a document that stays, through a chain of them; and all cuts give the text back.

What may be lost is stated: a text of which fewer than MIN_CHARS characters are left goes, and these go with it.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from manifests.__main__ import main
from manifests.latest import open_run
from manifests.rebuild import rebuild
from pipeline.driver import Result
from pipeline.recipe import parse_recipe
from tests.dedup.test_editdistance import distance
from tests.dedup_runs.corpus import CHAIN, Page, write
from tests.runs import run_recipe
from tests.stages.dedup_runner import rows
from tests.stages.passages import EN, MENU, ZH

MIN_CHARS, LENGTH = 10, 48
SETTINGS = [
    *(f"{stage}.min_chars={MIN_CHARS}" for stage in ("apply-lines", "apply-passages", "similar")),
    *("lines.min_bytes=30", f"windows.length={LENGTH}", "run.largest_cluster=1.0"),
]
# Four bytes to a character, marks that combine, line breaks of other systems, and a byte order mark.
ODD = [
    "𠀀𠀁𠀂𠀃𠀄𠀅𠀆𠀇。",
    "👩‍👩‍👧 🎉🎉🎉🎉🎉🎉! ",
    "Cafe\u0301 au lait, s\u0327il vous plai\u0302t. ",
    "甲乙丙丁\r\n戊己庚辛\u2028",
    "\ufeff壬癸。",
]
SENTENCE = re.compile(r"(?<=[。！？…])(?![。！？…])|(?<=[.!?] )|\n+")
CUTTING = ("apply-lines", "apply-passages", "similar")


def corpus(seed: int) -> list[Page]:
    """Texts of few sentences, lines and pieces of each other, in three sources."""
    rng = random.Random(seed)
    texts: list[str] = []
    for number in range(75):
        pool = [
            *(EN, ZH)[number % 2] * 3,
            *ODD,
            f"Item {rng.randrange(1000)} of {number}. ",
            f"第{rng.randrange(99)}项。",
        ]
        made = ["".join(rng.choices(pool, k=rng.randint(1, 5))).strip() for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.4:
            made.insert(0, rng.choice(MENU))
        if texts and rng.random() < 0.6:
            other = rng.choice(texts)
            start = rng.randrange(max(1, len(other) - 60))
            made.insert(rng.randrange(len(made) + 1), other[start : start + rng.randint(15, 150)])
        texts.append(rng.choice(["\n", "\n\n", "\r\n", " "]).join(made))
    return [
        Page(rng.choice("abc"), f"{('en', 'zh')[i % 2]}-{i}", text, rng.choice(("x", "y")))
        for i, text in enumerate(texts)
    ]


@dataclass
class Cut:
    """Everything that a run cut, by document: [start, end) in characters of the text as it was read, and the stage."""

    texts: dict[bytes, str]  # as read
    kept: dict[bytes, str]
    cuts: dict[bytes, list[tuple[int, int, str]]]

    def rest(self, doc: bytes) -> str:
        """What no stage cut out of a document."""
        text, at, parts = self.texts[doc], 0, []
        for start, end, _ in sorted(self.cuts.get(doc, [])):
            assert start >= at, "two cuts share a character"
            parts.append(text[at:start])
            at = end
        return "".join([*parts, text[at:]])


def cut_by(root: Path, result: Result) -> Cut:
    """What a run did to each document that was no duplicate as a whole."""
    texts = {row["doc_id"]: row["text"] for row in rows(root, result, "apply", "docs")}
    made = Cut(texts, {row["doc_id"]: row["text"] for row in rows(root, result, "similar", "docs")}, {})
    for stage in CUTTING:
        for row in rows(root, result, stage, "cuts"):
            made.cuts.setdefault(row["doc_id"], []).append((row["start"], row["end"], stage))
            assert row["text"] in (None, texts[row["doc_id"]][row["start"] : row["end"]])
    return made


@pytest.fixture(scope="module", params=[1, 2])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("lost")
    sources = write(folder / "inputs", corpus(request.param), files=1)
    return folder / "root", run_recipe(parse_recipe("".join(sources) + CHAIN, "every", SETTINGS), folder / "root")


def test_what_was_cut_stands_in_a_document_that_stays(made: tuple[Path, Result]) -> None:
    found = cut_by(*made)
    gone = [found.rest(doc) for doc in found.texts if doc not in found.kept]
    assert gone and all(len(rest.strip()) < MIN_CHARS for rest in gone)
    lines = [line.strip() for text in found.kept.values() for line in SENTENCE.split(text)]
    seen = set()
    for doc, cuts in found.cuts.items():
        for start, end, stage in cuts:
            seen.add(stage)
            for sentence in filter(None, (s.strip() for s in SENTENCE.split(found.texts[doc][start:end]))):
                if any(sentence in text for text in found.kept.values()):
                    continue
                # Its last copy was a line that `similar` found to be one of another's, or it went as stated.
                near = any(10 * distance(sentence, line) <= max(len(sentence), len(line)) for line in lines)
                assert near or any(sentence in rest for rest in gone), (stage, sentence)
    assert seen == set(CUTTING)


def test_rebuilding_gives_the_original_bytes(
    made: tuple[Path, Result], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    root, result = made
    found, opened = cut_by(root, result), open_run(str(root))
    names = {row["doc_id"]: row["source_id"] for row in rows(root, result, "apply", "docs")}
    given = {name: text for name, text in texts_of(root).items()}
    shortened = sorted(doc for doc in found.kept if doc in found.cuts)
    assert len(shortened) > 20
    for doc in shortened:
        original = rebuild(opened, doc.hex())
        assert original is not None and original.text == given[names[doc]]
        assert found.kept[doc] == found.rest(doc)
    for doc in shortened[:5]:
        assert main(["rebuild", str(root), names[doc]]) == 0
        assert capsysbinary.readouterr().out == given[names[doc]].encode()


def texts_of(root: Path) -> dict[str, str]:
    """The texts that were written, by own id."""
    files = sorted((root.parent / "inputs").rglob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]
    return {line["id"]: line["text"] for line in lines}
