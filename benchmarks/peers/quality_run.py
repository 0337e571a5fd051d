"""datatrove's quality filters in its own environment: a JSONL file of documents {lang, text} in, one JSON line for each
out, {setting: {family: reason}}, where the reason of a kept document is "".

Settings: `defaults`; `same bounds`, those of our tables; `our units`, these, and punctuation marks are no words, lines
are stripped, and quotation marks may end a line. English words are those of spaCy's blank tokenizer, datatrove's own
choice. For Chinese that is jieba, which its environment lacks; for plain "zho", as in `defaults`, it falls back to
white space. In the other settings words are spaCy's characters, and the stop words Chinese. Run: quality_run.py FILE
"""

import json
import sys

import spacy
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from datatrove.utils.word_tokenizers import (
    SpaCyTokenizer,
    WhitespaceTokenizer,
    WordTokenizer,
    load_word_tokenizer,
)

HAN_STOP_WORDS = ["的", "是", "在", "了", "不", "有", "和", "这"]
QUOTES = "\"'”’」』…"


class Characters(SpaCyTokenizer):
    """spaCy's Chinese by characters, sentences by datatrove's fallback, which knows 。."""

    def __init__(self) -> None:
        WordTokenizer.__init__(self, "zh")
        self.config = None
        self._tokenizer = spacy.blank("zh", config={"nlp": {"tokenizer": {"segmenter": "char"}}})
        self._tokenizer.add_pipe("sentencizer")
        self.fallback = WhitespaceTokenizer()

    def sent_tokenize(self, text: str) -> list[str]:
        return self.fallback.sent_tokenize(text)


class NoMarks(WordTokenizer):
    """Another tokenizer's words without those of punctuation only."""

    def __init__(self, other: WordTokenizer) -> None:
        super().__init__(other.language)
        self.other = other

    def word_tokenize(self, text: str) -> list[str]:
        return [word for word in self.other.word_tokenize(text) if not set(word) <= PUNCTUATION_SET]

    def sent_tokenize(self, text: str) -> list[str]:
        return self.other.sent_tokenize(text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return self.other.span_tokenize(text)


def defaults(language: str) -> dict[str, BaseFilter]:
    """The four filters as they come."""
    return {
        "gopher quality": GopherQualityFilter(language=language),
        "gopher repetition": GopherRepetitionFilter(language=language),
        "c4": C4QualityFilter(language=language),
        "fineweb": FineWebQualityFilter(language=language),
    }


def same_bounds(lang: str, words: str | WordTokenizer, marks: str = "") -> dict[str, BaseFilter]:
    """The four filters with the bounds of our tables; `marks` may end a line for FineWeb's."""
    quality, repetition = GopherQualityFilter(language=words), GopherRepetitionFilter(language=words)
    if lang == "zh":
        quality = GopherQualityFilter(
            language=words, min_doc_words=80, max_doc_words=160_000, min_avg_word_length=0, stop_words=HAN_STOP_WORDS
        )
        repetition = GopherRepetitionFilter(language=words, dup_n_grams=((10, 0.4),))
    return {
        "gopher quality": quality,
        "gopher repetition": repetition,
        "c4": C4QualityFilter(language=words, min_num_sentences=3 if lang == "en" else 2, min_words_per_line=5),
        "fineweb": FineWebQualityFilter(
            language=words, char_duplicates_ratio=0.1, stop_chars=(*TERMINAL_PUNCTUATION, *marks)
        ),
    }


def reason(one: BaseFilter, text: str) -> str:
    """Why a filter drops a text, or ""; each gets the text as it came, since C4's changes it."""
    try:
        found = one.filter(Document(text=text, id=""))
    except (ValueError, ZeroDivisionError, IndexError) as error:
        return f"error:{type(error).__name__}"
    return "" if found is True else found[1]


def main() -> None:
    """Print one line for each document."""
    words: dict[str, str | WordTokenizer] = {"en": "eng", "zh": Characters()}
    bare = {lang: NoMarks(load_word_tokenizer(one)) for lang, one in words.items()}
    plain = {"en": defaults("eng"), "zh": defaults("zho")}
    bounds = {lang: same_bounds(lang, words[lang]) for lang in words}
    units = {lang: same_bounds(lang, bare[lang], QUOTES) for lang in words}
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            lang, text = row["lang"], row["text"]
            stripped = "\n".join(part.strip() for part in text.split("\n"))
            found = {
                "defaults": {family: reason(one, text) for family, one in plain[lang].items()},
                "same bounds": {family: reason(one, text) for family, one in bounds[lang].items()},
                "our units": {family: reason(one, stripped) for family, one in units[lang].items()},
            }
            print(json.dumps(found))


if __name__ == "__main__":
    main()
