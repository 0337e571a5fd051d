"""Makes the main texts of pages from articles and local reports: every text gets its own choice of paragraphs, and a
ledger of which text used which paragraph keeps any two of them far below the near-duplicate threshold (0.8), while
`near_copy` stays well above it. Similarity here is the exact Jaccard of 5-word (en) or 5-character (zh) shingles."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from pipeline.sample.articles import Article, Lexicon, fill, language_of, pick

MAX_SHARED = 0.4  # of the shorter text, in units below; two equal texts that share 0.4 have a Jaccard of 0.25
NEAR_LOW, NEAR_HIGH = 0.93, 0.99  # of a near copy and its original
NEAR_PAIR = 0.9  # of two near copies of one original, at least
MIN_UNITS = {"en": 230, "zh": 360}  # words | characters, clear of every length rule
_WORD = re.compile(r"\w+")
_SENTENCE = {"en": re.compile(r"(?<=[.!?])\s+"), "zh": re.compile(r"(?<=[。！？])")}


@dataclass(frozen=True)
class Section:
    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    variety: str
    title: str
    sections: tuple[Section, ...]

    @property
    def paragraphs(self) -> tuple[str, ...]:
        return tuple(paragraph for section in self.sections for paragraph in section.paragraphs)

    @property
    def main(self) -> str:
        return "\n".join(self.paragraphs)

    @property
    def sha(self) -> str:
        return hashlib.sha256(self.main.encode("utf-8")).hexdigest()


def units(text: str, lang: str) -> list[str]:
    """Lower-cased words, or the characters of Chinese without white space."""
    return list("".join(text.split())) if lang == "zh" else _WORD.findall(text.lower())


def shingles(text: str, lang: str) -> set[tuple[str, ...]]:
    items = units(text, lang)
    return {tuple(items[start : start + 5]) for start in range(len(items) - 4)}


def jaccard(one: str, two: str, lang: str) -> float:
    a, b = shingles(one, lang), shingles(two, lang)
    return len(a & b) / len(a | b) if a or b else 0.0


def report(lexicon: Lexicon, scene: int, rng: Random) -> tuple[str, str]:
    """Title and one paragraph of 4 to 6 sentences about an invented event."""
    chosen, bound = lexicon.scenes[scene], dict[str, str]()
    size = min(len(chosen.lines), rng.randint(4, 6))
    lines = sorted(rng.sample(range(len(chosen.lines)), size))
    glue = " " if lexicon.scenes[scene].lines[0].isascii() else ""
    return fill(chosen.title, lexicon, rng, bound), glue.join(
        fill(chosen.lines[line], lexicon, rng, bound) for line in lines
    )


def near_copy(text: Text, others: Sequence[Text], lexicon: Lexicon, rng: Random) -> Text:
    """A lightly edited `text`, near it and near every one of `others`, its copies so far, but equal to none."""
    lang, _ = language_of(text.variety)
    for attempt in range(60):
        copy = text
        for edit in rng.sample((_swap_words, _drop_sentence, _add_date), 1 if attempt > 20 else 2):
            copy = edit(copy, lexicon, rng)
        alike = [jaccard(copy.main, other.main, lang) for other in (text, *others)]
        if NEAR_LOW <= alike[0] <= NEAR_HIGH and all(NEAR_PAIR <= score < 1.0 for score in alike):
            return copy
    raise ValueError(f"{text.title!r}: no edit gives a near copy")


def _swap_words(text: Text, lexicon: Lexicon, rng: Random) -> Text:
    """One or two words (en) or pairs of characters (zh) replaced."""
    for _ in range(rng.randint(1, 2)):
        where = rng.randrange(len(text.paragraphs))
        paragraph, word = text.paragraphs[where], rng.choice(lexicon.page["swap"])
        pattern = r"[a-z]{4,}" if text.variety == "en" else r"[\u4e00-\u9fff]{2}"
        spots = [match.span() for match in re.finditer(pattern, paragraph)]
        if spots:
            start, end = rng.choice(spots)
            text = _with_paragraph(text, where, paragraph[:start] + word + paragraph[end:])
    return text


def _drop_sentence(text: Text, lexicon: Lexicon, rng: Random) -> Text:
    lang, _ = language_of(text.variety)
    where = rng.randrange(len(text.paragraphs))
    sentences = [part for part in _SENTENCE[lang].split(text.paragraphs[where]) if part]
    if len(sentences) < 3:
        return text
    del sentences[rng.randrange(1, len(sentences))]
    return _with_paragraph(text, where, (" " if lang == "en" else "").join(sentences))


def _add_date(text: Text, lexicon: Lexicon, rng: Random) -> Text:
    last = text.sections[-1]
    longer = replace(last, paragraphs=(*last.paragraphs, pick(lexicon, "update", rng)))
    return replace(text, sections=(*text.sections[:-1], longer))


def _with_paragraph(text: Text, where: int, paragraph: str) -> Text:
    sections, first = [], 0
    for section in text.sections:
        parts = list(section.paragraphs)
        if first <= where < first + len(parts):
            parts[where - first] = paragraph
        first += len(parts)
        sections.append(replace(section, paragraphs=tuple(parts)))
    return replace(text, sections=tuple(sections))


class Composer:
    """Hands out new texts of one variety and remembers which article paragraphs each of them used."""

    def __init__(self, articles: Sequence[Article], lexicon: Lexicon, rng: Random) -> None:
        self.articles, self.lexicon, self.rng = list(articles), lexicon, rng
        self.variety = articles[0].variety
        self.lang = language_of(self.variety)[0]
        self._whole = list(range(len(articles)))
        rng.shuffle(self._whole)
        self._sizes: list[int] = []
        self._users: dict[tuple[int, int], list[int]] = {}
        self._length = {
            (a, p): len(units(paragraph, self.lang))
            for a, article in enumerate(self.articles)
            for p, paragraph in enumerate(article.paragraphs)
        }

    def article(self) -> Text:
        """A whole article while unused ones are left, then a page that joins two articles and local reports."""
        if self._whole:
            chosen = self.articles[self._whole.pop()]
            text = Text(self.variety, chosen.title, (Section("", chosen.paragraphs),))
            if self._admit(text, [(self.articles.index(chosen), p) for p in range(len(chosen.paragraphs))]):
                return text
        return self._composed(articles=2, each=(1, 3), reports=(2, 4), headings=False)

    def digest(self) -> Text:
        """A page of three to four headed items."""
        return self._composed(articles=3, each=(1, 2), reports=(1, 3), headings=True)

    def thread(self) -> Text:
        """A forum thread: one section per post, the heading is the user."""
        text = self._composed(articles=4, each=(1, 1), reports=(3, 5), headings=False)
        posts = list(text.paragraphs)
        self.rng.shuffle(posts)
        users = [self.rng.choice(self.lexicon.page["users"]) for _ in posts]
        title = pick(self.lexicon, "thread", self.rng)
        return Text(self.variety, title, tuple(Section(u, (p,)) for u, p in zip(users, posts, strict=True)))

    def _composed(self, articles: int, each: tuple[int, int], reports: tuple[int, int], headings: bool) -> Text:
        for attempt in range(400):
            fewer = attempt // 100  # a small stock of articles runs dry: rely on reports more and more
            sections, used = self._choose(max(1, articles - fewer), each, headings)
            extra = self._reports(self.rng.randint(*reports) + fewer, headings)
            if not headings:
                paragraphs = [p for section in (*sections, *extra) for p in section.paragraphs]
                title = sections[0].heading if self.rng.random() < 0.5 else extra[0].heading
                text = Text(self.variety, title, (Section("", tuple(paragraphs)),))
            else:
                text = Text(self.variety, pick(self.lexicon, "digest", self.rng), (*sections, *extra))
            if self._admit(text, used):
                return text
        raise ValueError(f"{self.variety}: too few articles for so many distinct pages")

    def _choose(self, count: int, each: tuple[int, int], headings: bool) -> tuple[list[Section], list[tuple[int, int]]]:
        """Paragraphs of `count` articles, in their order, the articles of one topic where there are enough."""
        first = self.rng.randrange(len(self.articles))
        alike = [a for a, art in enumerate(self.articles) if art.topic == self.articles[first].topic and a != first]
        rest = [a for a in range(len(self.articles)) if a != first and a not in alike]
        self.rng.shuffle(alike)
        self.rng.shuffle(rest)
        sections, used = [], []
        for a in [first, *alike, *rest][:count]:
            article = self.articles[a]
            size = min(self.rng.randint(*each), len(article.paragraphs))
            parts = sorted(self.rng.sample(range(len(article.paragraphs)), size))
            used += [(a, p) for p in parts]
            sections.append(Section(article.title, tuple(article.paragraphs[p] for p in parts)))
        return sections, used

    def _reports(self, count: int, headings: bool) -> list[Section]:
        scenes = self.rng.sample(range(len(self.lexicon.scenes)), count)
        made = [report(self.lexicon, scene, self.rng) for scene in scenes]
        return [Section(title, (paragraph,)) for title, paragraph in made]

    def _admit(self, text: Text, used: Sequence[tuple[int, int]]) -> bool:
        """Enters the text in the ledger unless it is short or shares too much with an earlier one."""
        size = len(units(text.main, self.lang))
        if size < MIN_UNITS[self.lang]:
            return False
        shared: Counter[int] = Counter()
        for part in used:
            for earlier in self._users.get(part, ()):
                shared[earlier] += self._length[part]
        if any(length > MAX_SHARED * min(size, self._sizes[earlier]) for earlier, length in shared.items()):
            return False
        for part in used:
            self._users.setdefault(part, []).append(len(self._sizes))
        self._sizes.append(size)
        return True


def composers(
    articles: Mapping[str, Sequence[Article]], lexicons: Mapping[str, Lexicon], seed: str
) -> dict[str, Composer]:
    """One composer per variety that has scenes."""
    return {v: Composer(articles[v], lex, Random(f"{seed}/text/{v}")) for v, lex in lexicons.items() if lex.scenes}
