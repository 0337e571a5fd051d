"""Reads the raw material of the sample crawl: article files (title, topic, paragraphs) and one word list per language
variety; what comes out are frozen records. Chinese comes in two varieties, `zh-hans` and `zh-hant`, told apart by the
file name."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
VARIETIES = ("en", "zh-hans", "zh-hant")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_LEXICON_FILES = {"en": "en.toml", "zh-hans": "zh.toml", "zh-hant": "zh-hant.toml"}


@dataclass(frozen=True)
class Article:
    slug: str
    variety: str
    title: str
    topic: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Words of one variety: slots and scenes make local reports, `page` is page furniture, `junk` is what must go."""

    slots: Mapping[str, tuple[str, ...]]
    scenes: tuple[Scene, ...]
    page: Mapping[str, tuple[str, ...]]
    junk: Mapping[str, tuple[str, ...]]


def language_of(variety: str) -> tuple[str, str | None]:
    """The language and, for Chinese, the script of a variety: `zh-hant` gives `("zh", "hant")`."""
    lang, _, script = variety.partition("-")
    return lang, script or None


def load_articles(root: Path = HERE / "articles") -> dict[str, list[Article]]:
    """All articles by variety, in the order of their file names; the other languages are keyed `fr`, `ja` and so on."""
    found: dict[str, list[Article]] = {}
    for path in sorted(root.glob("*/*.txt"), key=lambda path: path.relative_to(root).as_posix()):
        article = parse_article(path.read_text(encoding="utf-8"), path.stem, _variety(path))
        found.setdefault(article.variety, []).append(article)
    return found


def parse_article(text: str, slug: str, variety: str) -> Article:
    """Title, topic, an empty line, then paragraphs between empty lines."""
    title, topic, body = text.split("\n", 2)
    paragraphs = tuple(" ".join(part.split("\n")).strip() for part in body.split("\n\n") if part.strip())
    return Article(slug, variety, title.strip(), topic.strip(), paragraphs)


def _variety(path: Path) -> str:
    if path.parent.name == "zh":
        return "zh-hant" if path.stem.endswith("-hant") else "zh-hans"
    return path.stem.split("-")[0] if path.parent.name == "other" else path.parent.name


def load_lexicons(root: Path = HERE / "lexicon") -> dict[str, Lexicon]:
    """The word lists by variety; the other languages have page furniture only."""
    found = {}
    for variety, name in _LEXICON_FILES.items():
        table = tomllib.loads((root / name).read_text(encoding="utf-8"))
        scenes = tuple(Scene(scene["title"], tuple(scene["lines"])) for scene in table["scene"])
        found[variety] = Lexicon(_tuples(table["slots"]), scenes, _tuples(table["page"]), _tuples(table["junk"]))
    for lang, page in tomllib.loads((root / "other.toml").read_text(encoding="utf-8")).items():
        found[lang] = Lexicon({}, (), _tuples(page), {})
    return found


def _tuples(table: Mapping[str, str | list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: (value,) if isinstance(value, str) else tuple(value) for key, value in table.items()}


def fill(pattern: str, lexicon: Lexicon, rng: Random, bound: dict[str, str]) -> str:
    """Replaces {slot} by a word (remembered in `bound`, so that a scene keeps its names) and {low-high} by a number."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in lexicon.slots:
            low, high = name.split("-")
            return str(rng.randint(int(low), int(high)))
        if name not in bound:
            bound[name] = rng.choice(lexicon.slots[name])
        return bound[name]

    return _PLACEHOLDER.sub(value, pattern)


def pick(lexicon: Lexicon, key: str, rng: Random) -> str:
    """One piece of page furniture or junk, its slots filled; empty where this language has none."""
    options = lexicon.page.get(key) or lexicon.junk.get(key)
    return fill(rng.choice(options), lexicon, rng, {}) if options else ""
