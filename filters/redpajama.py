"""RedPajama-V2's quality signals under its own names and definitions, `punctution` among them: a batch comes in, one
value per document or, in LINE_SIGNALS, one per line comes out. The surprise: where a signal of ours differs, as its
words part ideographs or its marks have Chinese ones among them, both are there. NaN where upstream would divide by 0.
Definitions: togethercomputer/RedPajama-Data, app/src/core/quality_signals (Apache-2.0), which rounds to 8 digits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters import redpajama_count as count
from filters.catalogue import Signal, Values, ratio, register, signal
from filters.redpajama_count import redpajama_counts
from filters.repetition import DUPLICATE, TOP, WordRepetition, joined_repetition
from filters.segment import Ints
from filters.text import TextView

__all__ = ["LINE_SIGNALS", "LineSignal", "LineValues"]


def _column(t: TextView, column: int) -> Ints:
    counts: Ints = t.once(redpajama_counts).documents
    return counts[:, column]


def _repetition(t: TextView) -> WordRepetition:
    return t.once(joined_repetition)


# ---- documents


@signal
def ccnet_length(t: TextView) -> Values:
    """Code points."""
    return t.chars.astype(np.float64)


@signal
def ccnet_nlines(t: TextView) -> Values:
    """Parts that newlines separate: 1 in an empty text, and one after a newline at the end."""
    return (_column(t, count.NEWLINES) + 1).astype(np.float64)


@signal
def rps_doc_curly_bracket(t: TextView) -> Values:
    """{ and } / code points."""
    return ratio(t.curly, t.chars)


@signal
def rps_doc_symbol_to_word_ratio(t: TextView) -> Values:
    """Hash marks and ellipses (three dots or one character) / raw words."""
    return ratio(t.symbols, _column(t, count.RAW_WORDS))


@signal
def rps_doc_frac_no_alph_words(t: TextView) -> Values:
    """Raw words without a letter A-Z or a-z / raw words."""
    return ratio(_column(t, count.NO_LATIN), _column(t, count.RAW_WORDS))


@signal
def rps_doc_frac_all_caps_words(t: TextView) -> Values:
    """Raw words with a capital and no other cased letter, I and A among them / raw words."""
    return ratio(_column(t, count.CAPITALS), _column(t, count.RAW_WORDS))


@signal
def rps_doc_stop_word_fraction(t: TextView) -> Values:
    """Raw words that are English stop words, in small letters only / raw words; upstream has no Chinese list."""
    return ratio(_column(t, count.STOPS), _column(t, count.RAW_WORDS))


@signal
def rps_doc_num_sentences(t: TextView) -> Values:
    """Matches of \\b[^.!?]+[.!?]*, so that 。 ends no sentence."""
    return _column(t, count.SENTENCES).astype(np.float64)


@signal
def rps_doc_frac_lines_end_with_ellipsis(t: TextView) -> Values:
    """Lines that end in three dots or an ellipsis / lines, blank ones among them."""
    return ratio(_column(t, count.ELLIPSES), t.raw_lines)


@signal
def rps_doc_word_count(t: TextView) -> Values:
    """Normalised words."""
    return _column(t, count.WORDS).astype(np.float64)


@signal
def rps_doc_mean_word_length(t: TextView) -> Values:
    """Code points of all normalised words / normalised words."""
    return ratio(_column(t, count.LETTERS), _column(t, count.WORDS))


@signal
def rps_doc_lorem_ipsum(t: TextView) -> Values:
    """Occurrences of "lorem ipsum" in the normalised text / its code points."""
    return ratio(_column(t, count.LOREMS), _normalised(_column(t, count.LETTERS), _column(t, count.WORDS)))


@signal
def rps_doc_frac_unique_words(t: TextView) -> Values:
    """Distinct normalised words / normalised words."""
    return ratio(_repetition(t).distinct, _repetition(t).words)


@signal
def rps_doc_unigram_entropy(t: TextView) -> Values:
    """Entropy of the distribution of normalised words, nats."""
    return np.where(_repetition(t).words > 0, _repetition(t).entropy, np.nan)


def _normalised(letters: NDArray[Any], words: NDArray[Any]) -> NDArray[Any]:
    """Code points of a normalised text: one blank stands between words."""
    return letters + np.maximum(words - 1, 0)


def _top_ngram(n: int) -> Signal:
    def top(t: TextView) -> Values:
        return ratio(_repetition(t).top[:, TOP.index(n)], _repetition(t).letters)

    top.__doc__ = (
        f"Letters of the commonest {n}-gram of normalised words, of equals the first, times its count / letters; "
        "0 if each occurs once."
    )
    return top


def _duplicate_ngram(n: int) -> Signal:
    def duplicate(t: TextView) -> Values:
        return ratio(_repetition(t).duplicate[:, DUPLICATE.index(n)], _repetition(t).letters)

    duplicate.__doc__ = f"Letters inside {n}-grams of normalised words that occur more than once / letters."
    return duplicate


for _n in TOP:
    register(f"rps_doc_frac_chars_top_{_n}gram", _top_ngram(_n))
for _n in DUPLICATE:
    register(f"rps_doc_frac_chars_dupe_{_n}grams", _duplicate_ngram(_n))


# ---- lines


@dataclass(frozen=True)
class LineValues:
    """A value per line, blank lines among them: those of document d are offsets[d] to offsets[d + 1]."""

    offsets: Ints  # int64[n_docs + 1]
    starts: Ints  # int64[n], code points from the beginning of the document
    ends: Ints  # the line's newline included
    values: Values  # float64[n]


LineSignal = Callable[[TextView], LineValues]
Counted = NDArray[np.int32]  # [n_lines, LINE_COLUMNS]
LINE_SIGNALS: dict[str, LineSignal] = {}


def line_spans(t: TextView) -> tuple[Ints, Ints]:
    """(starts, ends) of all lines, int64[n]; ask for it with t.once, signals share it."""
    counts = t.once(redpajama_counts)
    ends = counts.lines[:, count.END].astype(np.int64)
    starts = np.concatenate((np.zeros(min(len(ends), 1), np.int64), ends[:-1]))
    starts[counts.offsets[:-1][t.raw_lines > 0]] = 0
    return starts, ends


def _line_signal(name: str, doc: str, measure: Callable[[Counted, Ints], Values]) -> None:
    """Registers measure(counts of all lines, their code points) under a name."""

    def measured(t: TextView) -> LineValues:
        counts = t.once(redpajama_counts)
        starts, ends = t.once(line_spans)
        return LineValues(counts.offsets, starts, ends, measure(counts.lines, ends - starts))

    measured.__doc__ = doc
    LINE_SIGNALS[name] = measured


def _plain(column: int) -> Callable[[Counted, Ints], Values]:
    return lambda lines, length: lines[:, column].astype(np.float64)


def _numerals(lines: Counted, length: Ints) -> Values:
    whole = _normalised(lines[:, count.LINE_LETTERS], lines[:, count.LINE_WORDS])
    return lines[:, count.NUMERALS] / np.maximum(whole, 1)


_line_signal(
    "rps_lines_ending_with_terminal_punctution_mark",
    "1 if the line ends in . ! ? or ”, white space after it left out, else 0.",
    _plain(count.TERMINAL),
)
_line_signal("rps_lines_javascript_counts", "How many normalised words are `javascript`.", _plain(count.JAVASCRIPTS))
_line_signal("rps_lines_num_words", "Normalised words.", _plain(count.LINE_WORDS))
_line_signal(
    "rps_lines_numerical_chars_fraction",
    "Numerals, 一二三 among them / code points of the normalised line; 0 in a blank line.",
    _numerals,
)
_line_signal(
    "rps_lines_start_with_bulletpoint",
    "1 if the line begins with a bullet, white space before it left out, else 0.",
    _plain(count.BULLET),
)
_line_signal(
    "rps_lines_uppercase_letter_fraction",
    "Capitals / code points of the line, its newline among them.",
    lambda lines, length: lines[:, count.UPPERS] / length,
)
