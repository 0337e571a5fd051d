"""The part of a text that a rule objects to: a sample and a failed rule in, spans of characters out.

Plain Python over one short text, keyed by families of signal names: `filters` measures millions of texts, this shows
one. What fails for a lack (too few words, no stop words) has no such part, and nothing is marked. The surprising thing:
a sample is the beginning of a text, so what repeats may have its twin beyond the end.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from manifests.gone import RuleFailed

Span = tuple[int, int]
# A finder gets the text, the rule, and the entries of the list that the rule's signal looks at.
Finder = Callable[[str, RuleFailed, Sequence[str]], list[Span]]

HAN = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
ASCII_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
ELLIPSES = ("...", "…", "。。。")
BULLETS = tuple("•‣▶◀◦■□▪▫–●○※·➢")
LINE = re.compile(r"[^\n]+")
PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\S\n]*\S[^\n]*)*")
# A line is at least one; full stops inside numbers and names end none, and one without an ideograph does not count.
ZH_SENTENCE = re.compile(r"\w(?:[^\n。！？｡!?；;…⋯‥.．]|[.．](?=[0-9A-Za-z]))*[。！？｡!?；;…⋯‥.．]*[\"'”’」』）)】]*")
ZH_TEASER = r"(?:展[开開]|更多|read ?more|…|⋯⋯|\.\.\.|。。)[>＞》»›→↓▼+:：)）\]】\s]*$"
SENTENCE = re.compile(r"\w[^.!?。！？｡]*[.!?。！？｡]*")
STRETCH = re.compile(r"\S+")
RAW_WORD = re.compile(rf"[{HAN}]|[^\W{HAN}]+|[^\w\s]+")
# In a stretch with ideographs: one of them, or a run of other letters and digits, which ASCII marks do not end.
PIECE = re.compile(rf"[{HAN}]|[^\W{HAN}](?:[{re.escape(ASCII_MARKS)}]*[^\W{HAN}])*")
TERMINAL = ".!?…\"'”’。！？｡」』"
READ_MORE = r"(read more|阅读更多|阅读全文|查看更多|查看全文)[\W_]*$"
# The commonest of C4's phrases (Raffel et al. 2020) and of their Chinese counterparts.
POLICIES = (
    "terms of use|privacy policy|cookie policy|uses? cookies|use of cookies|"
    "cookie ?政策|使用 ?cookie|使用条款|隐私政策|隐私权政策"
)
SHORT_LINE = 30  # letters (FineWeb, Penedo et al. 2024)
NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width forms


@dataclass(frozen=True)
class Family:
    """Signals whose names match, the bounds that can be broken by something in the text, and what finds it."""

    names: str
    sides: tuple[str, ...]
    find: Finder


def spans(text: str, rule: RuleFailed, listed: Sequence[str] = ()) -> list[Span]:
    """Characters [start, end) that the rule objects to, ascending and apart; empty where there is no such part."""
    for family in FAMILIES:
        if re.search(family.names, rule.signal):
            asks = [side for side in family.sides if (rule.lo if side == "lo" else rule.hi) is not None]
            return merged(family.find(text, rule, listed)) if asks else []
    return []


def merged(found: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap or touch joined."""
    made: list[Span] = []
    for start, end in sorted(found):
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        elif start < end:
            made.append((start, end))
    return made


def pieces(pattern: re.Pattern[str], text: str) -> list[Span]:
    """Matches without the white space at their ends; blank ones left out."""
    inner = [
        (match.start() + len(match[0]) - len(match[0].lstrip()), match[0].strip()) for match in pattern.finditer(text)
    ]
    return [(start, start + len(part)) for start, part in inner if part]


def words(text: str) -> list[tuple[str, Span]]:
    """Words as the signals compare them, each with its place: an ideograph is one, and so is a stretch without any."""
    made = []
    for stretch in STRETCH.finditer(text):
        cut = PIECE if re.search(f"[{HAN}]", stretch[0]) else STRETCH
        for piece in cut.finditer(text, *stretch.span()):
            word = unicodedata.normalize("NFD", piece[0].translate(dict.fromkeys(map(ord, ASCII_MARKS))).lower())
            if word:
                made.append((word, piece.span()))
    return made


def none(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """For signals that look at something else than the text."""
    return []


def those(pattern: str, flags: int = re.IGNORECASE) -> Finder:
    """All matches of an expression."""
    compiled = re.compile(pattern, flags)
    return lambda text, rule, listed: [match.span() for match in compiled.finditer(text)]


def pieces_that(pattern: re.Pattern[str], wanted: Callable[[str], object]) -> Finder:
    """Whole lines or words that are so."""
    return lambda text, rule, listed: [(a, b) for a, b in pieces(pattern, text) if wanted(text[a:b])]


def repeated(pattern: re.Pattern[str]) -> Finder:
    """Segments that occurred before in the text."""

    def find(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
        return again([(text[a:b], (a, b)) for a, b in pieces(pattern, text)])

    return find


def again(items: Sequence[tuple[str, Span]]) -> list[Span]:
    """The places of items that occurred before."""
    seen: set[str] = set()
    made = []
    for item, span in items:
        if item in seen:
            made.append(span)
        seen.add(item)
    return made


def repeated_words(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """Words that occurred before."""
    return again(words(text))


def ngrams(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """top_Ngram: all places of the commonest n-gram; dup_Ngram: all n-grams that occur twice or more."""
    found = words(text)
    n = int(re.findall(r"(\d+)gram", rule.signal)[0])
    grams = [tuple(word for word, _ in found[i : i + n]) for i in range(len(found) - n + 1)]
    counts = Counter(grams)
    most = max(counts.values(), default=0)
    wanted = {gram for gram, count in counts.items() if count > 1}
    if "top_" in rule.signal and wanted:
        # Of equally common ones the signal takes the first.
        wanted = {next(gram for gram in grams if counts[gram] == most)}
    return [(found[i][1][0], found[i + n - 1][1][1]) for i, gram in enumerate(grams) if gram in wanted]


def commonest_character(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """All places of the commonest character that is not white space."""
    counts = Counter("".join(text.split()))
    most = max(counts, key=lambda char: counts[char], default="")
    return [(i, i + 1) for i, char in enumerate(text) if char == most]


def odd_lengths(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """Words longer than the mean may be, or shorter, whichever the mean is."""
    found = words(text)
    mean = sum(len(word) for word, _ in found) / len(found) if found else 0.0
    if rule.hi is not None and mean > rule.hi:
        return [span for word, span in found if len(word) > rule.hi]
    return [span for word, span in found if rule.lo is not None and mean < rule.lo and len(word) < rule.lo]


def listed_words(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """Entries of the list, in any case and width; one that begins or ends with a Latin letter does not do so inside a
    word."""
    sides = [
        ("(?<![a-z0-9])" if re.match("[a-z0-9]", word, re.I) else "", word, re.search("[a-z0-9]$", word, re.I))
        for word in sorted(listed, key=len, reverse=True)
    ]
    pattern = "|".join(
        before + r"\s+".join(map(re.escape, word.split())) + ("(?![a-z0-9])" if end else "")
        for before, word, end in sides
    )
    return those(pattern)(text.translate(NARROW), rule, listed) if pattern else []


def short(line: str) -> bool:
    """Whether a line has fewer letters than SHORT_LINE; an ideograph counts as three."""
    return len(line) + 2 * len(re.findall(f"[{HAN}]", line)) < SHORT_LINE


def repeated_sentences(text: str, rule: RuleFailed, listed: Sequence[str]) -> list[Span]:
    """Sentences with an ideograph that occurred before in the text."""
    found = [(text[a:b], (a, b)) for a, b in pieces(ZH_SENTENCE, text)]
    return again([item for item in found if re.search(f"[{HAN}]", item[0])])


# The first whose expression is found in a signal's name; names of RedPajama-V2 (`rps_...`) are among them.
FAMILIES = (
    Family(r"^(url|host|domain)_", ("lo", "hi"), none),
    Family(r"^zh_mean_word_len", ("lo", "hi"), none),  # words by jieba, which are not cut here
    Family(r"^zh_bracketed", ("hi",), those(r"【[^】\n]*】")),
    Family(r"^zh_teaser_line", ("hi",), pieces_that(LINE, lambda line: re.search(ZH_TEASER, line, re.I))),
    Family(r"^zh_ellipsis_run", ("hi",), those(r"[.．。｡⋯…‥]{2,}|[…‥]")),
    Family(r"^zh_dup_sentence", ("hi",), repeated_sentences),
    Family(r"^zh_hash_run", ("hi",), those(r"[#＃]+")),
    Family(r"bad_word|ldnoobw", ("hi",), listed_words),
    Family(r"lone_ellipsis_word", ("hi",), those(r"(?<!\.)\.{3}(?!\.)|(?<!…)…{1,2}(?!…)|(?<!。)。{3}(?!。)")),
    Family(r"ellipsis_word", ("hi",), those(r"\.{3,}|…+|。{3,}")),
    Family(r"ellipsis", ("hi",), pieces_that(LINE, lambda line: line.endswith(ELLIPSES))),
    Family(r"bullet", ("hi",), pieces_that(LINE, lambda line: line.startswith(BULLETS))),
    Family(r"dup_line", ("hi",), repeated(LINE)),
    Family(r"dup_paragraph", ("hi",), repeated(PARAGRAPH)),
    Family(r"dup_sentence", ("hi",), repeated(SENTENCE)),
    Family(r"(top|dupe?)_\d+gram", ("hi",), ngrams),
    Family(r"unique_word|word_entropy", ("lo",), repeated_words),
    Family(r"unique_char|char_entropy", ("lo",), commonest_character),
    Family(r"mean_word_len", ("lo", "hi"), odd_lengths),
    Family(r"short_line", ("hi",), pieces_that(LINE, short)),
    Family(r"terminal", ("lo",), pieces_that(LINE, lambda line: line[-1] not in TERMINAL)),
    Family(r"read_more", ("hi",), pieces_that(LINE, lambda line: re.search(READ_MORE, line, re.I))),
    Family(r"javascript", ("hi",), pieces_that(LINE, lambda line: "javascript" in line.lower())),
    Family(r"policy", ("hi",), pieces_that(LINE, lambda line: re.search(POLICIES, line, re.I))),
    Family(r"lorem", ("hi",), those(r"lorem ipsum")),
    Family(r"curly", ("hi",), those(r"[{}]+")),
    Family(r"lone_hash", ("hi",), those(r"(?<!#)#(?!#)")),
    Family(r"hash", ("hi",), those(r"#+")),
    Family(r"symbol", ("hi",), those(r"#|\.\.\.|…")),
    Family(r"nonlatin", ("hi",), pieces_that(RAW_WORD, lambda word: not re.search("[A-Za-z]", word))),
    Family(r"nonalpha", ("hi",), pieces_that(RAW_WORD, lambda word: re.search(r"[\d_]", word))),
    Family(r"alpha_word", ("lo",), pieces_that(STRETCH, lambda word: not re.search(r"[^\W\d_]", word))),
    Family(r"han_ratio", ("lo",), those(rf"[^\W{HAN}]+")),
    Family(r"digit_word", ("hi",), pieces_that(RAW_WORD, str.isdigit)),
    Family(r"digit", ("hi",), those(r"\d+")),
    Family(r"caps", ("hi",), pieces_that(RAW_WORD, lambda word: word.isupper() and len(word) > 1)),
    Family(r"link", ("hi",), those(r"(?:https?://|www\.)[!-~]+")),
)
