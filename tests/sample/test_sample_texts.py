"""Texts of the sample crawl: parsing of article files, patterns, near copies, and the promise that distinct texts are
far from each other."""

from collections import Counter, defaultdict
from random import Random

import pytest

from pipeline.sample.articles import (
    VARIETIES,
    Lexicon,
    fill,
    language_of,
    load_articles,
    load_lexicons,
    parse_article,
)
from pipeline.sample.compose import (
    MIN_UNITS,
    NEAR_HIGH,
    NEAR_LOW,
    NEAR_PAIR,
    Composer,
    jaccard,
    near_copy,
    shingles,
    units,
)

LEXICONS = load_lexicons()
ARTICLES = load_articles()


def composer(variety: str, seed: int) -> Composer:
    return Composer(ARTICLES[variety], LEXICONS[variety], Random(seed))


def test_article_file() -> None:
    article = parse_article("A Title\nnature\n\nFirst one.\n\nSecond,\nwrapped.\n", "a-title", "en")
    assert (article.title, article.topic) == ("A Title", "nature")
    assert article.paragraphs == ("First one.", "Second, wrapped.")


@pytest.mark.parametrize(
    ("variety", "expected"), [("en", ("en", None)), ("zh-hans", ("zh", "hans")), ("zh-hant", ("zh", "hant"))]
)
def test_language_of_variety(variety: str, expected: tuple[str, str | None]) -> None:
    assert language_of(variety) == expected


def test_fill_keeps_a_name_through_a_scene() -> None:
    lexicon = Lexicon({"who": ("Ann", "Bob", "Cy", "Dee")}, (), {}, {})
    bound: dict[str, str] = {}
    first, second = (fill("{who} has {3-5} cats", lexicon, Random(4), bound) for _ in range(2))
    assert first.split()[0] == second.split()[0] == bound["who"]
    assert first.split()[2] in ("3", "4", "5")


@pytest.mark.parametrize("variety", VARIETIES)
def test_every_pattern_can_be_filled(variety: str) -> None:
    lexicon = LEXICONS[variety]
    patterns = [p for table in (lexicon.page, lexicon.junk) for words in table.values() for p in words]
    patterns += [p for scene in lexicon.scenes for p in (scene.title, *scene.lines)]
    for pattern in patterns:
        assert "{" not in fill(pattern, lexicon, Random(1), {})
    assert [len(scene.lines) for scene in lexicon.scenes] == [7] * 14


def test_traditional_words_are_the_simplified_ones_in_another_script() -> None:
    hans, hant = LEXICONS["zh-hans"], LEXICONS["zh-hant"]
    assert [len(words) for words in hant.slots.values()] == [len(words) for words in hans.slots.values()]
    for scene in hant.scenes:
        "".join(scene.lines).encode("big5")  # simplified characters are not in Big5


@pytest.mark.parametrize(
    ("one", "two", "lang", "expected"),
    [
        ("A b c d e f", "a, b c! d e f", "en", 1.0),  # case and marks do not count
        ("a b c d e f", "a b c d e g", "en", 1 / 3),  # abcde | bcdef bcdeg
        ("a b c d e", "f g h i j", "en", 0.0),
        ("今天天气好吗", "今天 天气\n好吗", "zh", 1.0),  # white space does not count
        ("今天天气好吗", "今天天气好呀", "zh", 1 / 3),
    ],
)
def test_jaccard(one: str, two: str, lang: str, expected: float) -> None:
    assert jaccard(one, two, lang) == pytest.approx(expected)


@pytest.mark.parametrize("variety", VARIETIES)
def test_distinct_texts_are_far_apart(variety: str) -> None:
    """Exact Jaccard of all pairs, through an inverted index; the crawl promises at most 0.6."""
    source, lang = composer(variety, 11), language_of(variety)[0]
    texts = [(source.article, source.digest, source.thread)[max(0, at % 8 - 5)]().main for at in range(96)]
    assert min(len(units(text, lang)) for text in texts) >= MIN_UNITS[lang]
    sets, worst = [shingles(text, lang) for text in texts], 0.0
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, own in enumerate(sets):
        shared = Counter(earlier for shingle in own for earlier in holders[shingle])
        for earlier, common in shared.items():
            worst = max(worst, common / len(own | sets[earlier]))
        for shingle in own:
            holders[shingle].append(at)
    assert 0 < worst <= 0.6


@pytest.mark.parametrize("variety", VARIETIES)
def test_near_copies_are_near_each_other_and_not_equal(variety: str) -> None:
    source, lang, rng = composer(variety, 3), language_of(variety)[0], Random(5)
    for _ in range(8):
        text = source.article()
        one = near_copy(text, (), LEXICONS[variety], rng)
        two = near_copy(text, (one,), LEXICONS[variety], rng)
        assert NEAR_LOW <= jaccard(text.main, one.main, lang) <= NEAR_HIGH
        assert NEAR_LOW <= jaccard(text.main, two.main, lang) <= NEAR_HIGH
        assert NEAR_PAIR <= jaccard(one.main, two.main, lang) < 1
        assert one.title == text.title and one.main != text.main


@pytest.mark.parametrize("variety", VARIETIES)
def test_composers_repeat_with_their_seed(variety: str) -> None:
    first, again, other = (composer(variety, seed) for seed in (1, 1, 2))
    texts = [
        [source.article() for _ in range(3)] + [source.digest(), source.thread()] for source in (first, again, other)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_small_stock_of_articles_still_gives_many_texts() -> None:
    source = Composer(ARTICLES["zh-hant"][:4], LEXICONS["zh-hant"], Random(1))
    mains = {source.article().main for _ in range(60)}
    assert len(mains) == 60
