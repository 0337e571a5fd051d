"""Block lists with boundaries, and words in URLs: by hand in both languages, and against a slow reference."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.catalogue import SIGNALS
from filters.hosts import (
    BOUNDARIES,
    address,
    hash_entries,
    hash_texts,
    public_suffixes,
    registered_domain,
)
from filters.text import TextView
from filters.urls import UrlList, url_words
from tests.filters.url_lists import RULES, SUFFIXES, measure, table

NAN = math.nan

# entries of a list, URL, whether it is blocked
BLOCKED = [
    ("example.com", "http://example.com/", True),
    ("example.com", "http://a.b.example.com/x?y", True),
    ("example.com", "http://notexample.com/", False),
    ("example.com", "http://example.com.cn/", False),
    ("example.com", "http://WWW.Example.Com:80", True),
    ("www.example.com", "http://example.com/", True),
    ("www.example.com", "http://www.example.com/", True),
    ("www.example.com", "http://shop.example.com/", False),
    ("EXAMPLE.com.", "http://example.com/", True),
    ("*.example.com", "http://www.example.com/", True),
    ("a.com/b", "http://a.com/b", True),
    ("a.com/b", "http://www.a.com/b/c.html", True),
    ("a.com/b", "https://a.com/b?x=1", True),
    ("a.com/b", "http://a.com/B#top", True),
    ("a.com/b", "http://a.com/bcd", False),
    ("a.com/b", "http://a.com/", False),
    ("a.com/b", "http://x.a.com/b", False),
    ("www.a.com/b/", "http://a.com/b", True),
    ("http://a.com/b", "a.com/b", True),
    ("a.com/p.php?id=3", "http://a.com/p.php?id=3&s=1", True),
    ("a.com/p.php?id=3", "http://a.com/p.php?id=31", False),
    ("a.com//inbox", "http://a.com//inbox/1", True),
    ("a.com/~me", "http://a.com/%7Eme/", True),
    ("12.16.1.10/web", "http://12.16.1.10/web/", True),
    ("12.16.1.10", "http://12.16.1.10:8080/", True),
    ("com", "http://example.com/", False),  # public suffixes block nothing
    ("github.io", "http://me.github.io/", False),
    ("github.io", "http://github.io/", False),
    ("me.github.io", "http://www.me.github.io/", True),
    ("kobe.jp", "http://b.ide.kobe.jp/", False),  # beyond its registered domain
    ("kobe.jp", "http://www.kobe.jp/", False),  # www.kobe.jp is a suffix by *.kobe.jp
    ("kobe.jp", "http://kobe.jp/", True),
    ("github.io/spam", "http://github.io/spam/", True),
    ("食狮.公司.cn", "http://www.xn--85x722f.xn--55qx5d.cn/", True),
    ("xn--85x722f.cn", "http://食狮.cn/", True),
    ("公司.cn", "http://食狮.公司.cn/", False),
    ("a.cn/中文", "http://a.cn/%E4%B8%AD%E6%96%87/1", True),
    ("a.cn/中文", "http://a.cn/中文字", False),
]

# signal, URL, value
WORDS = [
    ("url_strict_word_count", "http://my-groupsex.com/", 1),
    ("url_strict_word_count", "http://a.com/group/sex", 1),
    ("url_strict_word_count", "http://a.com/groups-ex?sex", 1),  # what separates does not count
    ("url_strict_word_count", "http://a.com/group-6-sex", 0),
    ("url_strict_word_count", "http://a.com/%E8%89%B2%E6%83%85%E7%BD%91%E7%AB%99", 1),
    ("url_hard_word_count", "http://a.com/Porn_xx.html", 2),
    ("url_hard_word_count", "http://pornography.com/", 0),
    ("url_hard_word_count", "http://xx.com/xx/xx", 1),
    ("url_hard_word_count", "http://a.cn/澳门赌场官网", 1),
    ("url_soft_word_count", "http://escort.com/webcam?直播间", 3),
    ("url_soft_word_count", "http://escorts.com/", 0),
    ("url_soft_word_count", "http://a.com/", 0),
    ("url_hard_word_count", "http://porn.example/xxx/?next=https://ok.org/", 1),
    ("url_hard_word_count", "http://赌场.cn/?next=https://ok.org/", 1),
    ("url_soft_word_count", None, NAN),
    ("url_hard_word_count", "", NAN),
    ("url_strict_word_count", None, NAN),
]


@pytest.mark.parametrize(("entry", "url", "blocked"), BLOCKED)
def test_blocked(entry: str, url: str, blocked: bool) -> None:
    assert measure("url_category_count", [url], table({0: [entry]})) == [blocked]


def test_categories_are_counted_and_named() -> None:
    lists = (table({0: ["a.com", "b.com/x"], 3: ["a.com"]}), table({1: ["a.com", "c.cn"], 3: ["www.a.com"]}))
    urls = ["http://a.com", "http://m.a.com", "http://b.com/x", "http://b.com", None, "", "http://", "http://www.c.cn"]
    assert measure("url_category_count", urls, *lists) == pytest.approx([3, 3, 1, 0, NAN, NAN, NAN, 1], nan_ok=True)
    # of the host alone, parents not looked at
    wanted = [1 + 2 + 8, NAN, NAN, NAN, NAN, NAN, NAN, 2]
    assert measure("rps_doc_ut1_blacklist", urls, *lists) == pytest.approx(wanted, nan_ok=True)
    assert measure("url_category_count", [], *lists) == []
    assert measure("url_category_count", [None], *lists) == pytest.approx([NAN], nan_ok=True)


@pytest.mark.parametrize(("name", "url", "value"), WORDS)
def test_words(name: str, url: str | None, value: float) -> None:
    assert measure(name, [url]) == pytest.approx([value], nan_ok=True)


@pytest.mark.parametrize("url", [None, "", "http://", "http://[", "\x00", "http://%zz/porn", "http://a..b/色情网"])
def test_what_has_no_host_is_not_measured(url: str | None) -> None:
    names = [name for name, function in SIGNALS.items() if function.__module__ == "filters.urls"]
    values = [measure(name, [url], table({0: ["a.com"]})) for name in names]
    assert values == [pytest.approx([NAN], nan_ok=True)] * len(names)


def test_word_lists_fold_and_skip_nothing() -> None:
    assert url_words(["Big-Bang", "bigbang", " ", "色 情"], anywhere=False) == (frozenset({"bigbang"}), ("色情",))


# ---- against a slow reference


def suffix_labels(host: str) -> int:
    """Labels in the public suffix of a host, by RULES and as publicsuffix.org tells."""
    labels = host.split(".")
    rules = [line.split()[0] for line in RULES.splitlines() if line.strip() and not line.startswith("//")]
    found = [1]
    for rule in rules:
        parts = address(rule.lstrip("!*."))[0].split(".")
        parts = ["*"] * rule.startswith("*") + parts
        tail = labels[-len(parts) :]
        if len(tail) == len(parts) and all(p in ("*", t) for p, t in zip(parts, tail, strict=True)):
            if rule.startswith("!"):
                return len(parts) - 1
            found.append(len(parts))
    return max(found)


def reference(entries: Sequence[str], url: str) -> bool:
    """Whether a URL is blocked."""
    listed = {(host + rest).rstrip(BOUNDARIES) for host, rest in filter(None, map(address, entries))}
    host, rest = address(url) or ("", "")
    labels = host.split(".")
    spellings = {host.removeprefix("www."), "www." + host.removeprefix("www.")}
    hosts = [".".join(labels[i:]) for i in range(len(labels) - suffix_labels(host))]
    names = hosts + ["www." + host.removeprefix("www.")] * bool(hosts)
    for spelling in spellings:
        names += [spelling + rest[:i] for i in range(1, len(rest)) if rest[i] in BOUNDARIES]
        names += [spelling + rest] if rest else []
    return any(name in listed for name in names)


HOSTS = st.lists(
    st.sampled_from(["www", "a", "b", "city", "kobe", "jp", "co", "uk", "com", "github", "io", "公司", "cn"]),
    min_size=1,
    max_size=5,
).map(".".join)
RESTS = st.one_of(st.just(""), st.text("/?&ab", max_size=5).map(lambda text: "/" + text))
URLS = st.builds(lambda host, rest: host + rest, HOSTS, RESTS)
BEFORE, AFTER = ("", "www.", "a.", "a.city.", "http://u@"), ("", "/", "/b", "b", "?a", "&", ".cn")


@settings(max_examples=150, deadline=None)
@given(st.lists(URLS, min_size=1, max_size=12), st.lists(URLS, max_size=3), st.sampled_from(AFTER))
def test_blocked_like_the_reference(entries: list[str], others: list[str], after: str) -> None:
    urls = [before + entry.removeprefix("www.") + after for entry in entries for before in BEFORE] + others
    wanted = [float(reference(entries, url)) if address(url) else NAN for url in urls]
    assert measure("url_category_count", urls, table({0: entries})) == pytest.approx(wanted, nan_ok=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("aB0.-_ /:?#*食\t", max_size=8), max_size=8))
def test_lines_like_the_reference(lines: list[str]) -> None:
    stripped = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    found = [address(line.lstrip("*.")) for line in stripped]
    wanted = [(host + rest).rstrip(BOUNDARIES) for host, rest in filter(None, found)]
    hashes, unused = hash_entries("\n".join(lines).encode())
    assert sorted(hashes.tolist()) == sorted(hash_texts(wanted).tolist())
    assert unused == len(found) - len(wanted)


def test_a_slice_of_a_column() -> None:
    urls = pa.array([None, "http://x.com", "http://a.com", None, "http://b.a.com/"], pa.string())
    lists = {"url_blocklist": UrlList((table({0: ["a.com"]}),), SUFFIXES)}
    t = TextView(pa.array(["一", "two", "三", "", "five"], pa.string()), {"url": urls}, lists)
    assert SIGNALS["url_category_count"](t.take(np.array([4, 0, 1]))).tolist() == pytest.approx(
        [1, NAN, 0], nan_ok=True
    )
    pieces = [SIGNALS["url_category_count"](piece).tolist() for piece in t.pieces(4)]
    assert sum(pieces, []) == pytest.approx([NAN, 0, 1, NAN, 1], nan_ok=True)


def test_the_real_lists(shared_data: Path) -> None:
    ut1 = shared_data / "url" / "ut1"
    suffixes = public_suffixes((shared_data / "url" / "public_suffix_list.dat").read_text(encoding="utf-8"))
    for category in ("dating", "gambling", "warez"):
        domains = (ut1 / category / "domains").read_bytes()
        hashes, unused = hash_entries(domains + (ut1 / category / "urls").read_bytes())
        assert unused == 0
        hashes = np.unique(hashes)
        lists = {"url_blocklist": UrlList((np.stack((hashes, np.ones_like(hashes))),), suffixes)}
        hosts = domains.decode().split()
        urls = [f"https://{prefix}{host}/x" for host in hosts for prefix in ("", "www.", "a.b.")]
        urls += ["http://zh.wikipedia.org/", "http://en.wikipedia.org/", "http://新华网.cn/"]
        beside = {"url": pa.array(urls, pa.string())}
        found = SIGNALS["url_category_count"](TextView(pa.array([""] * len(urls), pa.string()), beside, lists))
        numbers = np.array([host.replace(".", "").isdecimal() for host in hosts])
        public = np.array([registered_domain(host, suffixes) is None for host in hosts]) & ~numbers
        assert found[:-3].reshape(-1, 3)[:, :2].tolist() == [[float(not p)] * 2 for p in public]
        assert found[2:-3:3][~public].all()
        assert public.mean() < 0.01 and found[-3:].tolist() == [0, 0, 0]
