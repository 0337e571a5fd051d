"""Comparison of a run with the gold table, worked by hand on a few rows."""

from dataclasses import replace

import pytest

from pipeline.sample.gold import GoldRow, NearScore, compare

KEPT, COPY = ("kept", "", ""), ("duplicate", "cluster", "near")
ARTICLE = GoldRow("f", 0, 9, "u", "response", "article-en", "", "en", None, "kept", ("kept",), (), (), None, None, None)
JUNK = replace(ARTICLE, category="spam", fate="dropped", fates=("dropped",), stages=("extract", "filter"))
FRENCH = replace(JUNK, category="other-language", lang="fr", stages=("language",), reasons=("language_not_wanted",))
BROKEN = replace(ARTICLE, category="damaged", fate="lost", fates=("lost", "dropped"))


def near(group: str, members: str, lang: str = "en", category: str = "near-copy") -> list[GoldRow]:
    base = replace(ARTICLE, category=category, lang=lang, fate="one_of", fates=("kept", "duplicate"), group=group)
    return [replace(base, url=url) for url in members]


@pytest.mark.parametrize(
    ("row", "seen", "right"),
    [
        (ARTICLE, KEPT, 1),
        (ARTICLE, ("dropped", "filter", "word_count"), 0),
        (ARTICLE, COPY, 0),
        (ARTICLE, None, 0),
        (JUNK, ("dropped", "filter", "word_count"), 1),
        (JUNK, ("dropped", "filter-en", "word_count"), 1),  # a stage may be named after its use
        (JUNK, ("dropped", "filters", "word_count"), 0),
        (JUNK, KEPT, 0),
        (JUNK, None, 0),
        (FRENCH, ("dropped", "language", "language_not_wanted"), 1),
        (FRENCH, ("dropped", "language", "low_score"), 0),
        (BROKEN, None, 1),
        (BROKEN, ("dropped", "extract", "truncated"), 1),
        (BROKEN, KEPT, 0),
    ],
)
def test_one_row(row: GoldRow, seen: tuple[str, str, str] | None, right: int) -> None:
    (score,) = compare([row], {"u": seen} if seen else {}).categories
    assert (score.rows, score.right, len(score.wrong)) == (1, right, 1 - right)


@pytest.mark.parametrize(
    ("kept", "duplicates", "right"),
    [("a", "bc", 3), ("b", "ac", 3), ("ab", "c", 2), ("abc", "", 1), ("", "abc", 2), ("a", "b", 2), ("", "", 0)],
)
def test_exactly_one_of_a_cluster_survives(kept: str, duplicates: str, right: int) -> None:
    fates = {url: KEPT for url in kept} | {url: COPY for url in duplicates}
    (score,) = compare(near("g", "abc"), fates).categories
    assert score.right == right


def test_near_copies_by_language() -> None:
    """en: a cluster of three from which one went, and a distinct page that went; zh: a pair, found; exact copies count
    for neither."""
    gold = [*near("g1", "abc"), replace(ARTICLE, url="x"), replace(ARTICLE, url="y"), *near("g2", "de", lang="zh")]
    gold += near("g3", "fgh", category="exact-copy")
    fates = {url: KEPT for url in "abydf"} | {url: COPY for url in "cxegh"}
    comparison = compare(gold, fates)
    assert comparison.near == (NearScore("en", 2, 2, 1), NearScore("zh", 1, 1, 1))
    assert [score.recall for score in comparison.near] == [0.5, 1.0]
    assert [score.precision for score in comparison.near] == [0.5, 1.0]
    assert {score.category: score.share for score in comparison.categories} == {
        "article-en": 0.5,
        "exact-copy": 1.0,
        "near-copy": 0.8,
    }
    assert "near-copy" in str(comparison) and "50.0%" in str(comparison)


def test_records_without_address_are_not_compared() -> None:
    assert compare([replace(ARTICLE, url=None)], {}).categories == ()
