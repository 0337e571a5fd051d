"""English, Chinese and both in one crawl against all pairs compared: what goes is what a slow search would remove."""

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import pytest

from dedup.minhash import detection
from tests.dedup_runs.brute_force import Pairs, shingles, similar_pairs
from tests.stages.dedup_corpus import corpus
from tests.stages.dedup_reference import jaccard, removals
from tests.stages.dedup_reference import shingles as slow_shingles
from tests.stages.dedup_runner import Outcome, run, source, write

LANGUAGES = ("en", "zh")
ALARMS = ("run.largest_cluster=1.0", "run.removed_of_source=1.0")  # off: most texts are copies
DEFAULT = (0.8, 18, 7)
# Threshold, bands and rows, and what the recipe has to be told.
STATED = [(DEFAULT, ()), ((0.7, 25, 5), ("sign.bands=25", "sign.rows=5", "verify.threshold=0.7", "match.floor=0.4"))]
# Real documents of each language: files of the evaluation data, and how many of each are taken.
REAL = {
    "en": [("dup/pydocs-versions", 373), ("text/tfdocs.en-snapshot", 627)],
    "zh": [("dup/pydocs-versions", 327), ("text/laws.zh", 373), ("text/pingcap-docs.zh", 300)],
}
MAX_CHARS = 2_500  # of a text, so that all pairs are compared in seconds
Texts = list[tuple[str, str]]  # own id, which begins with the language, and text


def check(outcome: Outcome, every: Pairs, number: dict[str, int], stated: tuple[float, int, int], what: str) -> None:
    """No removal without a kept document that is as similar; those of the pairs that were found, and no others; and no
    more pairs missed than the bands account for."""
    threshold, bands, rows = stated
    row_of = {doc: number[name] for doc, name in outcome.names.items()}
    firsts: dict[str, int] = {}
    for document in sorted(outcome.documents, key=lambda d: d.place):
        firsts.setdefault(document.text, row_of[document.doc_id])
    alone = set(firsts.values())  # texts that are no copies of one before
    doc_of = {row: doc for doc, row in row_of.items()}
    pairs = {frozenset((doc_of[a], doc_of[b])): score for (a, b), score in every.items() if {a, b} <= alone}
    for doc, removal in outcome.gone.items():
        assert removal.kept in outcome.kept
        if removal.reason == "near_duplicate":
            a, b = sorted((row_of[doc], row_of[removal.kept]), reverse=True)
            assert removal.score == every[a, b] >= threshold
    found = {pair: score for pair, score in pairs.items() if pair in outcome.proposed}
    assert outcome.gone == removals(outcome.documents, found)
    chances = [1 - detection(score, bands, rows) for score in pairs.values()]
    missed, expected = len(pairs) - len(found), sum(chances)
    slow = removals(outcome.documents, pairs)
    other = sum(slow.get(doc) is None for doc in outcome.gone) + sum(doc not in outcome.gone for doc in slow)
    print(
        f"{what}: {len(outcome.documents):,} documents, {len(pairs):,} pairs from {threshold} on, {missed} missed "
        f"({expected:.1f} expected), {len(outcome.gone):,} removed, {other} otherwise than by all pairs"
    )
    assert missed <= expected + 4 * sqrt(sum(p * (1 - p) for p in chances)) + 1
    assert other <= 2 * missed


@dataclass
class Crawl:
    """Texts of both languages, and all pairs that are similar, by number of the text."""

    texts: Texts
    number: dict[str, int]

    @classmethod
    def of(cls, texts: Texts) -> "Crawl":
        return cls(texts, {name: row for row, (name, _) in enumerate(texts)})

    def pairs(self, threshold: float) -> Pairs:
        return similar_pairs([text for _, text in self.texts], threshold)


def mixed(folder: Path, crawl: Crawl, pairs: Pairs, stated: tuple[float, int, int], settings: Sequence[str]) -> None:
    """One crawl with all texts in any order."""
    turned = list(crawl.texts)
    random.Random(3).shuffle(turned)
    outcome = run(folder / "mixed", source("web", [write(folder / "web.jsonl", turned)]), settings=[*ALARMS, *settings])
    check(outcome, pairs, crawl.number, stated, "mixed")
    same_languages(outcome)


def same_languages(outcome: Outcome) -> None:
    """No text goes for one of the other language."""
    pairs = {(outcome.names[doc][:2], outcome.names[removal.kept][:2]) for doc, removal in outcome.gone.items()}
    assert pairs == {(lang, lang) for lang in LANGUAGES}


def separate(folder: Path, crawl: Crawl, pairs: Pairs) -> None:
    """A chain of each language, and one run with both as two sources."""
    own = {lang: [item for item in crawl.texts if item[0][:2] == lang] for lang in LANGUAGES}
    sources = {lang: source(lang, [write(folder / f"{lang}.jsonl", own[lang])]) for lang in LANGUAGES}
    alone = {lang: run(folder / lang, sources[lang], settings=ALARMS) for lang in LANGUAGES}
    both = run(folder / "both", *sources.values(), settings=ALARMS)
    for what, outcome in (*alone.items(), ("both", both)):
        check(outcome, pairs, crawl.number, DEFAULT, what)
    assert both.gone == {doc: removal for outcome in alone.values() for doc, removal in outcome.gone.items()}
    same_languages(both)


def test_the_pairs_are_those_of_sets_compared_one_by_one() -> None:
    texts = [text for _, text in corpus(9)][:150]
    sets = [slow_shingles(text) for text in texts]
    assert [len(one) for one in sets] == [len(shingles(text)) for text in texts]
    wanted = {(i, j): score for i in range(len(sets)) for j in range(i) if (score := jaccard(sets[i], sets[j])) >= 0.7}
    assert len(wanted) > 20
    assert similar_pairs(texts, 0.7) == wanted


@pytest.mark.parametrize("stated, settings", STATED)
def test_a_generated_crawl(tmp_path: Path, stated: tuple[float, int, int], settings: Sequence[str]) -> None:
    texts = [item for seed in (11, 12) for item in corpus(seed) if item[0][:2] in LANGUAGES]
    named = [(f"{name}-{row}", text) for row, (name, text) in enumerate(texts)]
    crawl = Crawl.of(named)
    pairs = crawl.pairs(stated[0])
    mixed(tmp_path, crawl, pairs, stated, settings)
    if stated == DEFAULT:
        separate(tmp_path, crawl, pairs)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Crawl:
    """2,000 documents of documentation and law, some in several versions."""
    texts: Texts = []
    for lang, files in REAL.items():
        for file, count in files:
            path = shared_data / f"{file}.jsonl.gz"
            if not path.exists():
                pytest.skip(f"{path} is not there")
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                rows = [row for line in lines if (row := json.loads(line))["lang"] == lang]
            texts += [(f"{lang}-{path.name}-{i}", row["text"][:MAX_CHARS]) for i, row in enumerate(rows[:count])]
    assert len(texts) == 2000
    return Crawl.of(texts)


@pytest.mark.parametrize("stated, settings", STATED)
def test_real_documents(real: Crawl, tmp_path: Path, stated: tuple[float, int, int], settings: Sequence[str]) -> None:
    pairs = real.pairs(stated[0])
    mixed(tmp_path, real, pairs, stated, settings)
    if stated == DEFAULT:
        separate(tmp_path, real, pairs)
