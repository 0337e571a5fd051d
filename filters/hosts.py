"""Hosts and URLs as block lists know them: URLs, lines of lists and the rules of publicsuffix.org come in; addresses in
one spelling, their hashes and registered domains go out. The surprise: the lines of a list that are hosts in that
spelling already, nearly all, are hashed in one pass over the bytes, a million in a fraction of a second."""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from numba import njit

from filters.lookup import SEED, Hashes, extend, place_of
from filters.segment import Bytes, Ints

BOUNDARIES = "/?#&;"  # a listed URL holds for a page whose URL goes on with one of these
DOT = ord(".")
# Code points; a name in the DNS has 253 at most (RFC 1035), and to fold and encode n takes up to n² steps.
LONGEST_HOST = 1024
SCHEME = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?[/\\]{2}", re.IGNORECASE)  # as browsers read it
_AUTHORITY_END = re.compile(r"[/?#\\]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


class PublicSuffixes(NamedTuple):
    """The rules of publicsuffix.org as sorted hashes."""

    plain: Hashes
    wildcards: Hashes  # `ck` for the rule *.ck
    exceptions: Hashes  # `www.ck` for the rule !www.ck


def address(url: str) -> tuple[str, str] | None:
    """(host, rest from the first `/`, `?` or `#` on) of a URL or a list's entry, None where there is no host.

    Scheme, user and port are gone; the host is in lower case and ASCII, as punycode; the rest has its escapes undone
    and is in lower case, as the published lists have been folded."""
    rest = url.strip()
    scheme = SCHEME.match(rest)
    rest = rest[scheme.end() :] if scheme else rest
    end = _AUTHORITY_END.search(rest)
    authority, rest = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    host = authority.rpartition("@")[2]
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    host = _ascii_host(unquote(host)).rstrip(".")
    return (host, unquote(rest).lower()) if _HOST.fullmatch(host) else None


def _ascii_host(host: str) -> str:
    """The host as DNS writes it; "", which is no host, for one that is too long."""
    host = host.lower()
    if host.isascii():
        return host
    if len(host) > LONGEST_HOST:
        return ""
    host = unicodedata.normalize("NFKC", host).lower().replace("。", ".")
    labels = (label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in host.split("."))
    return ".".join(labels)


def flat(texts: Iterable[str]) -> tuple[Bytes, Ints]:
    """UTF-8 bytes of texts, and int64[n + 1] offsets into them."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def public_suffixes(text: str) -> PublicSuffixes:
    """The rules of a `public_suffix_list.dat`, both its sections: who rents `github.io` out is not its tenants."""
    rules: dict[str, list[str]] = {"": [], "*": [], "!": []}
    for line in text.splitlines():
        rule = line.split()[0] if line.strip() else "//"
        if not rule.startswith("//"):
            kind = rule[0] if rule[0] in "*!" else ""
            rules[kind].append(_ascii_host(rule[len(kind) :].lstrip(".")))
    return PublicSuffixes(*(np.sort(hash_texts(rules[kind])) for kind in ("", "*", "!")))


def registered_domain(host: str, suffixes: PublicSuffixes) -> str | None:
    """The public suffix of a host and the label before it; None for a public suffix, an address in numbers, or none."""
    found = address(host)
    if not found or found[0].startswith("[") or found[0].replace(".", "").isdecimal():
        return None
    name = found[0]
    start = suffix_start(np.frombuffer(name.encode(), np.uint8), 0, len(name), suffixes)
    return name[name.rfind(".", 0, start - 1) + 1 :] if start else None


def hash_texts(texts: Iterable[str]) -> Hashes:
    """The hash under which each text stands in a list."""
    data, offsets = flat(texts)
    out = np.empty(len(offsets) - 1, np.uint64)
    _hash_rows(data, offsets, out)
    return out


def hash_entries(lines: bytes) -> tuple[Hashes, int]:
    """Hashes of the hosts and URLs of a list, one in a line, and how many lines hold neither; blank lines and those
    that begin with # are left out, and `*.` before a host changes nothing."""
    data = np.frombuffer(lines, np.uint8)
    most = lines.count(b"\n") + 1
    hashes, spans = np.empty(most, np.uint64), np.empty((most, 2), np.int64)
    plain, odd = _hash_hosts(data, hashes, spans)
    texts = (lines[start:end].decode(errors="replace").lstrip("*.") for start, end in spans[:odd].tolist())
    found = [address(text) for text in texts]
    entries = [(host + rest).rstrip(BOUNDARIES) for host, rest in filter(None, found)]
    return np.concatenate((hashes[:plain], hash_texts(entries))), odd - len(entries)


@njit(cache=True, nogil=True)
def grown(state: np.uint64, data: Bytes, start: int, end: int) -> np.uint64:
    for i in range(start, end):
        state = extend(state, np.uint64(data[i]))
    return state


@njit(cache=True, nogil=True)
def _hash_rows(data: Bytes, offsets: Ints, out: Hashes) -> None:
    for row in range(len(out)):
        out[row] = grown(SEED, data, offsets[row], offsets[row + 1])


@njit(cache=True, nogil=True)
def _hash_hosts(data: Bytes, hashes: Hashes, spans: Ints) -> tuple[int, int]:
    """Fills hashes with those of lines that are hosts as `address` would write them, and spans with the other lines;
    gives the number of each."""
    plain = odd = 0
    i = 0
    while i < len(data):
        end = i
        while end < len(data) and data[end] != 10:
            end += 1
        start, stop = i, end
        i = end + 1
        while start < stop and data[start] <= 32:
            start += 1
        while start < stop and data[stop - 1] <= 32:
            stop -= 1
        if start == stop or data[start] == 35:
            continue
        simple = True
        before = DOT
        for j in range(start, stop):
            byte = data[j]
            if byte == DOT:
                simple &= before != DOT
            else:
                simple &= 97 <= byte <= 122 or 48 <= byte <= 57 or byte == 45 or byte == 95
            before = byte
        if simple and before != DOT:
            hashes[plain] = grown(SEED, data, start, stop)
            plain += 1
        else:
            spans[odd, 0] = start
            spans[odd, 1] = stop
            odd += 1
    return plain, odd


@njit(cache=True, nogil=True)
def suffix_start(data: Bytes, start: int, end: int, suffixes: PublicSuffixes) -> int:
    """Where the public suffix of the host data[start:end] begins: that of the longest rule, an exception before all
    others; without a rule it is the last label (publicsuffix.org/list)."""
    found = label = end
    wild = False  # whether *.{what follows this label} is a rule
    i = end - 1
    while i >= start:
        if i > start and data[i - 1] != DOT:
            i -= 1
            continue
        state = grown(SEED, data, i, end)
        if place_of(suffixes.exceptions, state) >= 0:
            return label
        if found == end or wild or place_of(suffixes.plain, state) >= 0:
            found = i
        wild = place_of(suffixes.wildcards, state) >= 0
        label = i
        i -= 1
    return found
