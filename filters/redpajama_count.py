"""One walk over the bytes of a batch that counts whatever RedPajama-V2 counts in raw words, in lines and in normalised
text: integers per document and per line come out, `filters/redpajama.py` divides them. The surprise: ideographs part no
words here, as RedPajama-V2 knows none; a Chinese clause is one word. Definitions: togethercomputer/RedPajama-Data,
app/src/core (Apache-2.0); a raw word is a WordPunct token, \\w+ or [^\\w\\s]+."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.codepoints import (
    ASCII_PUNCT,
    CLASSES,
    EXPANSIONS,
    FOLDS,
    LATIN,
    LOWER,
    NUMERIC,
    SPACE,
    TRAITS,
    UPPER,
    WORD,
    decode,
)
from filters.segment import Bytes, Ints
from filters.text import TextView

# The stop list of the SMART retrieval system (Salton and Buckley), which RedPajama-V2 takes from 6/stopwords-json, but
# for the 65 with an apostrophe: no raw word holds one.
STOP_WORDS = """
a able about above according accordingly across actually after afterwards again against all allow allows almost alone
along already also although always am among amongst an and another any anybody anyhow anyone anything anyway anyways
anywhere apart appear appreciate appropriate are around as aside ask asking associated at available away awfully b be
became because become becomes becoming been before beforehand behind being believe below beside besides best better
between beyond both brief but by c came can cannot cant cause causes certain certainly changes clearly co com come comes
concerning consequently consider considering contain containing contains corresponding could course currently d
definitely described despite did different do does doing done down downwards during e each edu eg eight either else
elsewhere enough entirely especially et etc even ever every everybody everyone everything everywhere ex exactly example
except f far few fifth first five followed following follows for former formerly forth four from further furthermore g
get gets getting given gives go goes going gone got gotten greetings h had happens hardly has have having he hello help
hence her here hereafter hereby herein hereupon hers herself hi him himself his hither hopefully how howbeit however i
ie if ignored immediate in inasmuch inc indeed indicate indicated indicates inner insofar instead into inward is it its
itself j just k keep keeps kept know known knows l last lately later latter latterly least less lest let like liked
likely little look looking looks ltd m mainly many may maybe me mean meanwhile merely might more moreover most mostly
much must my myself n name namely nd near nearly necessary need needs neither never nevertheless new next nine no nobody
non none noone nor normally not nothing novel now nowhere o obviously of off often oh ok okay old on once one ones only
onto or other others otherwise ought our ours ourselves out outside over overall own p particular particularly per
perhaps placed please plus possible presumably probably provides q que quite qv r rather rd re really reasonably
regarding regardless regards relatively respectively right s said same saw say saying says second secondly see seeing
seem seemed seeming seems seen self selves sensible sent serious seriously seven several shall she should since six so
some somebody somehow someone something sometime sometimes somewhat somewhere soon sorry specified specify specifying
still sub such sup sure t take taken tell tends th than thank thanks thanx that thats the their theirs them themselves
then thence there thereafter thereby therefore therein theres thereupon these they think third this thorough thoroughly
those though three through throughout thru thus to together too took toward towards tried tries truly try trying twice
two u un under unfortunately unless unlikely until unto up upon us use used useful uses using usually uucp v value
various very via viz vs w want wants was way we welcome well went were what whatever when whence whenever where
whereafter whereas whereby wherein whereupon wherever whether which while whither who whoever whole whom whose why will
willing wish with within without wonder would x y yes yet you your yours yourself yourselves z zero
""".split()
LONGEST_STOP_WORD = 13  # as numbers to the base 27 words of 13 letters still differ in 64 bits
STOP_BITS = 11
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def _codes(text: str) -> Ints:
    return np.array([ord(character) for character in text], np.int64)


BULLETS = _codes("•‣▶◀◦■□▪▫–")
TERMINAL_MARKS = _codes(".!?”")
JAVASCRIPT = _codes("javascript")
LOREM_IPSUM = _codes("lorem ipsum")

# Columns of the counts of documents: raw words, those without A-Z and a-z, in capitals, stop words; sentences,
# newlines, lines that end in an ellipsis; words and letters of the normalised text, "lorem ipsum" in it.
RAW_WORDS, NO_LATIN, CAPITALS, STOPS, SENTENCES, NEWLINES, ELLIPSES, WORDS, LETTERS, LOREMS = range(10)
DOCUMENT_COLUMNS = 10
# Columns of the counts of lines: the end in code points of the document, whether a terminal mark ends and a bullet
# begins it, capitals; words, letters, numerals and "javascript" of the normalised line.
END, TERMINAL, BULLET, UPPERS, LINE_WORDS, LINE_LETTERS, NUMERALS, JAVASCRIPTS = range(8)
LINE_COLUMNS = 8


class Marks(NamedTuple):
    """What the walk looks for."""

    stop_words: NDArray[np.uint64]  # hash table of the words as numbers to the base 27; 0: empty
    bullets: Ints
    terminal: Ints
    javascript: Ints
    lorem: Ints


@njit(cache=True, nogil=True)
def _is_stop_word(number: np.uint64, table: NDArray[np.uint64]) -> bool:
    slot = np.int64((number * _FACTOR) >> np.uint64(64 - STOP_BITS))
    while table[slot] and table[slot] != number:
        slot = (slot + 1) & ((1 << STOP_BITS) - 1)
    return table[slot] == number


@njit(cache=True, nogil=True)
def count_redpajama(
    data: Bytes,
    offsets: Ints,
    classes: Bytes,
    traits: Bytes,
    folds: NDArray[np.int32],
    expansions: NDArray[np.int32],
    marks: Marks,
    documents: Ints,
    lines: NDArray[np.int32],
) -> None:
    """Fills documents[d, column], and lines[k, column] with the lines of all documents one after the other."""
    k = 0
    for d in range(len(offsets) - 1):
        row = documents[d]
        token, union = SPACE, 0  # the kind of the raw word that is open, SPACE if none is, and the traits in it
        number, size = np.uint64(0), 0  # its letters as a number
        sentence = 0  # 1: one is open, 2: it has had its stop
        length, found, lorem = 0, 0, 0  # letters of the normalised word that is open; how much of the patterns matches
        chars, begin = 0, 0  # code points, and those before the line
        words, letters, numerals, uppers = 0, 0, 0, 0  # of the line
        first, last, place, dots = -1, -1, 0, 0  # first and last mark of the line, where that is, dots that end there
        i = offsets[d]
        while i < offsets[d + 1] or chars > begin:
            code, width = 10, 0  # a newline that is not there ends the last line
            if i < offsets[d + 1]:
                code, width = decode(data, i)
                chars += 1
            i += width
            kinds = classes[code]
            kind = kinds & (SPACE | WORD)
            if kind != token:
                if token != SPACE:
                    row[RAW_WORDS] += 1
                    row[NO_LATIN] += union & LATIN == 0
                    row[CAPITALS] += union & (UPPER | LOWER) == UPPER
                    row[STOPS] += 0 < size <= LONGEST_STOP_WORD and _is_stop_word(number, marks.stop_words)
                token, union, number, size = kind, 0, np.uint64(0), 0
            if sentence == 2 and code != 46 and code != 33 and code != 63:
                sentence = 0
            if kind == SPACE:
                if length:
                    lines[k, JAVASCRIPTS] += found == len(marks.javascript)
                    length = 0
                if code == 10:
                    lines[k, END] = chars
                    lines[k, UPPERS] = uppers
                    lines[k, LINE_WORDS] = words
                    lines[k, LINE_LETTERS] = letters
                    lines[k, NUMERALS] = numerals
                    for mark in marks.terminal:
                        lines[k, TERMINAL] |= last == mark
                    for mark in marks.bullets:
                        lines[k, BULLET] |= first == mark
                    row[ELLIPSES] += last == 0x2026 or dots >= 3
                    row[NEWLINES] += width
                    row[WORDS] += words
                    row[LETTERS] += letters
                    k += 1
                    begin, first, last, dots = chars, -1, -1, 0
                    words, letters, numerals, uppers = 0, 0, 0, 0
                continue
            trait = traits[code]
            union |= trait
            if 97 <= code <= 122:
                number = number * np.uint64(27) + np.uint64(code - 96)
                size += 1
            else:
                size = LONGEST_STOP_WORD + 1
            if code == 46:
                dots = dots + 1 if last == 46 and place == chars - 1 else 1
            else:
                dots = 0
            if first < 0:
                first = code
            last, place = code, chars
            uppers += trait & UPPER
            if kind == WORD and sentence == 0:
                row[SENTENCES] += 1
                sentence = 1
            if kinds & ASCII_PUNCT:
                if sentence and (code == 46 or code == 33 or code == 63):
                    sentence = 2
                continue
            folded = folds[code]
            part = folded if folded >= 0 else expansions[-1 - folded, 0]
            if length == 0:
                found = 0
                lorem = 6 if lorem == 5 else 0  # white space stands before it
                words += 1
            at = 0
            while True:
                length += 1
                letters += 1
                numerals += traits[part] & NUMERIC != 0
                if found >= 0:
                    found = found + 1 if found < len(marks.javascript) and part == marks.javascript[found] else -1
                if part == marks.lorem[lorem]:
                    lorem += 1
                    if lorem == len(marks.lorem):
                        row[LOREMS] += 1
                        lorem = 0
                else:
                    lorem = 1 if part == marks.lorem[0] else 0
                at += 1
                if folded >= 0 or at == expansions.shape[1] or expansions[-1 - folded, at] == 0:
                    break
                part = expansions[-1 - folded, at]


@cache
def _marks() -> Marks:
    """The marks, with the stop words in a table."""
    table = np.zeros(1 << STOP_BITS, np.uint64)
    for word in STOP_WORDS:
        number = 0
        for letter in word:
            number = number * 27 + ord(letter) - 96
        slot = (number * int(_FACTOR) & (1 << 64) - 1) >> (64 - STOP_BITS)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = number
    return Marks(table, BULLETS, TERMINAL_MARKS, JAVASCRIPT, LOREM_IPSUM)


class Counts(NamedTuple):
    """What `count_redpajama` counts; the lines of document d are offsets[d] to offsets[d + 1] of the lines."""

    documents: Ints  # [n_docs, DOCUMENT_COLUMNS]
    lines: NDArray[np.int32]  # [n_lines, LINE_COLUMNS]
    offsets: Ints  # int64[n_docs + 1]


def redpajama_counts(t: TextView) -> Counts:
    """The counts of a batch; ask for them with t.once, signals share them."""
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(t.raw_lines)))
    counts = Counts(
        np.zeros((len(t), DOCUMENT_COLUMNS), np.int64), np.zeros((offsets[-1], LINE_COLUMNS), np.int32), offsets
    )
    tables = (CLASSES, TRAITS, FOLDS, EXPANSIONS)
    count_redpajama(t.data, t.offsets, *tables, _marks(), counts.documents, counts.lines)
    return counts
