"""Signals of a document's URL: whether its host, a parent of it or a prefix of the URL stands in a block list, and what
listed words the URL holds. URLs and opened lists come in; counts, or NaN where a document has no URL with a host, go
out. The surprise: a listed public suffix (`com`, `github.io`) blocks nothing, as hosts are looked up down to their
registered domain only, whatever stands in the list."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Values, signal_of
from filters.hosts import DOT, SCHEME, PublicSuffixes, address, flat, grown, suffix_start
from filters.lookup import SEED, extend, place_of
from filters.segment import Bytes, Ints
from filters.text import TextView

_SEPARATORS = re.compile(r"[\W_]+")
_WWW = 4  # bytes of "www."


class UrlList(NamedTuple):
    """Block lists, each uint64[2, n]: sorted hashes of entries, and a set of categories as bits for each."""

    tables: tuple[NDArray[np.uint64], ...]
    suffixes: PublicSuffixes


class UrlWords(NamedTuple):
    """Words looked for in URLs: those that must stand between separators, and those that may stand anywhere."""

    whole: frozenset[str]
    anywhere: tuple[str, ...]


@njit(cache=True, nogil=True)
def _bits(table: NDArray[np.uint64], state: np.uint64) -> np.uint64:
    place = place_of(table[0], state)
    return table[1, place] if place >= 0 else np.uint64(0)


@njit(cache=True, nogil=True)
def _look_up(
    data: Bytes,
    offsets: Ints,
    hosts: Ints,
    suffixes: PublicSuffixes,
    table: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """Adds to out[row] the categories of the host and of the whole URL data[offsets[row]:offsets[row + 1]], whose host
    ends at hosts[row]. `www.` counts neither in a list nor in a URL."""
    www = SEED
    for byte in (119, 119, 119, DOT):
        www = extend(www, np.uint64(byte))
    for row in range(len(hosts)):
        start, end, stop = offsets[row], hosts[row], offsets[row + 1]
        registered = suffix_start(data, start, end, suffixes)
        prefixed = end - start > _WWW and data[start + 3] == DOT and grown(SEED, data, start, start + _WWW) == www
        bare = start + _WWW if prefixed else start
        if start < registered:
            own = _bits(table, grown(www, data, bare, end))
            if bare < registered:
                own |= _bits(table, grown(SEED, data, bare, end))
            out[row, 0] |= own
            out[row, 1] |= own
        for i in range(bare + 1, registered):
            if data[i - 1] == DOT:
                out[row, 1] |= _bits(table, grown(SEED, data, i, end))
        for first in (SEED, www):
            state = grown(first, data, bare, end)
            for i in range(end, stop):
                byte = data[i]
                if i > end and (byte == 47 or byte == 63 or byte == 35 or byte == 38 or byte == 59):
                    out[row, 1] |= _bits(table, state)
                state = extend(state, np.uint64(byte))
            if stop > end:
                out[row, 1] |= _bits(table, state)


def _urls(t: TextView) -> list[str | None]:
    return t.beside["url"].to_pylist()


def _addresses(t: TextView) -> list[tuple[str, str] | None]:
    return [address(url) if url else None for url in t.once(_urls)]


def _categories(t: TextView) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """(uint64[n, 2], bool[n]): categories as bits of each document's host alone and of its URL; where it has a URL."""
    blocked: UrlList = t.lists["url_blocklist"]
    found = t.once(_addresses)
    known = [parts for parts in found if parts]
    data, offsets = flat(part for parts in known for part in parts)
    out = np.zeros((len(known), 2), np.uint64)
    for table in blocked.tables:
        _look_up(data, np.append(offsets[:-1:2], offsets[-1]), offsets[1::2], blocked.suffixes, table, out)
    rows = np.array([parts is not None for parts in found], np.bool_)
    spread = np.zeros((len(found), 2), np.uint64)
    spread[rows] = out
    return spread, rows


@signal_of("url", "url_blocklist")
def url_category_count(t: TextView) -> Values:
    """How many of the list's categories hold the document's host, a parent of it down to the registered domain, or its
    URL up to a / ? # & or ;. 0: none."""
    bits, known = t.once(_categories)
    return np.where(known, np.bitwise_count(bits[:, 1]), np.nan)


@signal_of("url", "url_blocklist")
def rps_doc_ut1_blacklist(t: TextView) -> Values:
    """RedPajama-V2's id of the set of categories of the document's host, NaN where it has none; here the sum of 2^i of
    the stage's categories in alphabetical order, while upstream numbers the sets that occur."""
    bits, known = t.once(_categories)
    return np.where(known & (bits[:, 0] > 0), bits[:, 0], np.nan)


def url_words(lines: Iterable[str], anywhere: bool) -> UrlWords:
    """The words of a list. anywhere: within other words too; so are, in any list, those that are not ASCII."""
    words = {_SEPARATORS.sub("", line.lower()) for line in lines} - {""}
    whole = frozenset(word for word in words if word.isascii() and not anywhere)
    return UrlWords(whole, tuple(sorted(words - whole)))


def _spelled(t: TextView) -> list[str | None]:
    """URLs that have a host, without scheme, in lower case, their escapes undone."""
    rows = zip(t.once(_urls), t.once(_addresses), strict=True)
    return [unquote(SCHEME.sub("", url.strip(), count=1)).lower() if url and parts else None for url, parts in rows]


def _word_count(t: TextView, name: str, joined: bool) -> Values:
    words: UrlWords = t.lists[name]
    out = np.full(len(t), np.nan)
    for row, url in enumerate(t.once(_spelled)):
        if url:
            text = _SEPARATORS.sub("", url) if joined else url
            out[row] = len(words.whole.intersection(_SEPARATORS.split(url))) if words.whole else 0
            out[row] += sum(word in text for word in words.anywhere)
    return out


@signal_of("url", "url_strict_words")
def url_strict_word_count(t: TextView) -> Values:
    """Different listed words in the URL, wherever they stand in it once its separators are gone (RefinedWeb)."""
    return _word_count(t, "url_strict_words", joined=True)


@signal_of("url", "url_hard_words")
def url_hard_word_count(t: TextView) -> Values:
    """Different listed words between separators of the URL (RefinedWeb); words that are not ASCII anywhere in it."""
    return _word_count(t, "url_hard_words", joined=False)


@signal_of("url", "url_soft_words")
def url_soft_word_count(t: TextView) -> Values:
    """As `url_hard_word_count`, of words that are no proof alone (RefinedWeb drops where there are two)."""
    return _word_count(t, "url_soft_words", joined=False)
