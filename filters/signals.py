"""The catalogue: every signal is a function of a TextView that returns one float64 per document, registered under its
name. The surprise: NaN means "not measured" (a ratio whose denominator is zero), never bad and never good.
A name ends in its unit: _ratio, _count, _len or _entropy (nats)."""

from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from filters import chinese, chinese_words, lexicon, lines, redpajama, stopwords, urls, words
from filters.catalogue import SIGNALS, Signal, Values, ratio, register, signal, signal_of
from filters.repetition import DUPLICATE, TOP, repeats, variety, word_repetition
from filters.segment import Ints
from filters.text import TextView

# The modules of the other signals; importing them fills the registry.
FAMILIES = (chinese, chinese_words, lexicon, lines, redpajama, stopwords, urls, words)

ELLIPSES = ("...", "…", "。。。")  # not the ⋯ of formulas
# RedPajama-V2's ten, and the five that MAP-Neo's Chinese rules add.
BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "●", "○", "※", "·", "➢")


def signal_named(name: str) -> Signal:
    """The signal of that name; a ValueError names the nearest one when there is none."""
    if name not in SIGNALS:
        near = get_close_matches(name, SIGNALS, n=1)
        raise ValueError(f"unknown signal {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return SIGNALS[name]


# ---- measurements that signals share


def line_repeats(t: TextView) -> tuple[Ints, Ints]:
    """(lines, their code points) of each document that occurred before in it."""
    return repeats(t.lines)


def paragraph_repeats(t: TextView) -> tuple[Ints, Ints]:
    """(paragraphs, their code points) of each document that occurred before in it."""
    return repeats(t.paragraphs)


def sentence_repeats(t: TextView) -> tuple[Ints, Ints]:
    """(sentences, their code points) of each document that occurred before in it."""
    return repeats(t.sentences)


# ---- size


@signal
def char_count(t: TextView) -> Values:
    """Code points, white space and punctuation among them."""
    return t.chars.astype(np.float64)


@signal
def word_count(t: TextView) -> Values:
    """Words: RedPajama-V2's normalised words, each Han ideograph being one."""
    return t.words.per_doc.astype(np.float64)


@signal
def line_count(t: TextView) -> Values:
    """Lines that are not blank."""
    return t.lines.per_doc.astype(np.float64)


@signal
def sentence_count(t: TextView) -> Values:
    """Sentences, ended by . ! ? 。 ！ ？ ｡ or the end of the text."""
    return t.sentences.per_doc.astype(np.float64)


@signal
def mean_word_len(t: TextView) -> Values:
    """Code points of all words / words."""
    return ratio(t.words.sum(t.words.lengths), t.words.per_doc)


@signal_of("lang_score")
def lang_score(t: TextView) -> Values:
    """Probability of the document's language, as the stage `language` wrote it; NaN where it wrote none."""
    return t.beside["lang_score"].cast(pa.float64()).to_numpy(zero_copy_only=False)


# ---- what the characters are


@signal
def han_ratio(t: TextView) -> Values:
    """Share of code points that are CJK ideographs."""
    return ratio(t.han, t.chars)


@signal
def digit_ratio(t: TextView) -> Values:
    """Digits / characters other than white space and punctuation."""
    return ratio(t.digits, t.chars - t.spaces - t.punct)


@signal
def punct_count(t: TextView) -> Values:
    """Punctuation marks of any script, ASCII symbols among them."""
    return t.punct.astype(np.float64)


@signal
def curly_bracket_ratio(t: TextView) -> Values:
    """{ and } / code points."""
    return ratio(t.curly, t.chars)


@signal
def symbol_word_ratio(t: TextView) -> Values:
    """Hash marks and ellipses (three dots or one character) / raw words; a raw word is a run of letters and digits, a
    run of other marks, or one Han ideograph."""
    return ratio(t.symbols, t.raw_words)


@signal
def nonlatin_word_ratio(t: TextView) -> Values:
    """Raw words without a letter A-Z or a-z / raw words; for English only."""
    return ratio(t.raw_words - t.latin_words, t.raw_words)


# ---- how the lines begin and end


@signal
def ellipsis_line_ratio(t: TextView) -> Values:
    """Lines that end in three dots, an ellipsis or 。。。 / lines, blank ones counted, as RedPajama-V2 does."""
    return ratio(t.lines.sum(t.ends_with(t.lines, ELLIPSES)), t.raw_lines)


@signal
def bullet_line_ratio(t: TextView) -> Values:
    """Lines that begin with a bullet / lines, blank ones not counted; hyphen and asterisk are no bullets."""
    return ratio(t.lines.sum(t.starts_with(t.lines, BULLETS)), t.lines.per_doc)


# ---- repetition and variety


@signal
def dup_line_ratio(t: TextView) -> Values:
    """Lines that occurred before in the document / lines: of four lines two of which are equal, 0.25. Dolma and
    datatrove count the same; RedPajama-V2 has no such signal."""
    return ratio(t.once(line_repeats)[0], t.lines.per_doc)


@signal
def dup_line_char_ratio(t: TextView) -> Values:
    """Code points of lines that occurred before in the document / code points of all lines; datatrove divides by those
    of the whole text, in its FineWeb rule without newlines."""
    return ratio(t.once(line_repeats)[1], t.lines.sum(t.lines.lengths))


@signal
def dup_paragraph_ratio(t: TextView) -> Values:
    """Paragraphs that occurred before in the document / paragraphs."""
    return ratio(t.once(paragraph_repeats)[0], t.paragraphs.per_doc)


@signal
def dup_paragraph_char_ratio(t: TextView) -> Values:
    """Code points of paragraphs that occurred before in the document / code points of all paragraphs."""
    return ratio(t.once(paragraph_repeats)[1], t.paragraphs.sum(t.paragraphs.lengths))


@signal
def dup_sentence_ratio(t: TextView) -> Values:
    """Sentences that occurred before in the document, letter for letter / sentences."""
    return ratio(t.once(sentence_repeats)[0], t.sentences.per_doc)


@signal
def dup_sentence_char_ratio(t: TextView) -> Values:
    """Code points of sentences that occurred before in the document / code points of all sentences."""
    return ratio(t.once(sentence_repeats)[1], t.sentences.sum(t.sentences.lengths))


@signal
def unique_word_ratio(t: TextView) -> Values:
    """Distinct words / words; falls with length."""
    return ratio(t.once(word_repetition).distinct, t.words.per_doc)


@signal
def word_entropy(t: TextView) -> Values:
    """Entropy of the distribution of words, nats; grows with length."""
    return np.where(t.words.per_doc > 0, t.once(word_repetition).entropy, np.nan)


@signal
def unique_char_ratio(t: TextView) -> Values:
    """Distinct characters / characters, the mean over blocks of 500, so that length does not matter; white space and,
    in a text longer than a block, the incomplete last block left out."""
    return ratio(t.once(variety).distinct, t.once(variety).measured)


@signal
def char_entropy(t: TextView) -> Values:
    """Entropy of the distribution of characters, nats, white space left out."""
    return np.where(t.once(variety).measured > 0, t.once(variety).entropy, np.nan)


def _top_ngram(n: int) -> Signal:
    def top(t: TextView) -> Values:
        return ratio(t.once(word_repetition).top[:, TOP.index(n)], t.once(word_repetition).letters)

    top.__doc__ = (
        f"Letters of the commonest word {n}-gram times its count / letters of all words; 0 if each occurs once."
    )
    return top


def _duplicate_ngram(n: int) -> Signal:
    def duplicate(t: TextView) -> Values:
        return ratio(t.once(word_repetition).duplicate[:, DUPLICATE.index(n)], t.once(word_repetition).letters)

    duplicate.__doc__ = f"Letters inside word {n}-grams that occur more than once / letters of all words."
    return duplicate


for _n in TOP:
    register(f"top_{_n}gram_ratio", _top_ngram(_n))
for _n in DUPLICATE:
    register(f"dup_{_n}gram_ratio", _duplicate_ngram(_n))
