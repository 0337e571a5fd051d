"""Plants the pages with real text: articles, digests, forum threads, copies of them, other languages, and the same text
under difficult character sets and transfer encodings. Each function plants `count` records of one category; clusters
of copies are planted whole, so `count` may be passed by one or two."""

import gzip
from dataclasses import replace
from random import Random

from pipeline.sample.compose import Section, Text, near_copy
from pipeline.sample.plan import CLUSTER, HTML, KEPT, UNWANTED, Plan
from pipeline.sample.sites import OTHER_LANGUAGES

_MIX = ("en",) * 9 + ("zh-hans",) * 8 + ("zh-hant",) * 3
# detail -> (charset in the header, charset in the page), None = not declared, "*" = the true one
DECLARED = {
    "right-header": ("*", None),
    "right-page": (None, "*"),
    "right-both": ("*", "*"),
    "none": (None, None),
    "wrong-header": ("utf-8", "*"),
    "latin1-header": ("ISO-8859-1", "*"),
    "wrong-page": ("*", "utf-8"),
    "wrong-both": ("utf-8", "utf-8"),
}
_ENCODINGS = (("gbk", "zh-hans", "gb2312"), ("gb18030", "zh-hans", "gb18030"), ("big5", "zh-hant", "big5"))
RARE = "\U00020bb7\u3447\u4dae"  # need four bytes in GB18030 and do not exist in GBK


def articles(plan: Plan, count: int, variety: str, category: str) -> None:
    rng = plan.rng(category)
    for _ in range(count):
        _plant(plan, plan.composers[variety].article(), category, rng)


def digests(plan: Plan, count: int) -> None:
    rng = plan.rng("digest")
    for at in range(count):
        _plant(plan, plan.composers[_MIX[at % len(_MIX)]].digest(), "digest", rng)


def threads(plan: Plan, count: int) -> None:
    rng = plan.rng("forum")
    for at in range(count):
        _plant(plan, plan.composers[_MIX[at % len(_MIX)]].thread(), "forum", rng, forum=True)


def exact_copies(plan: Plan, count: int) -> None:
    """Clusters of 2 to 4 addresses that answer with the same bytes."""
    rng, end = plan.rng("exact-copy"), len(plan.records) + count
    while len(plan.records) < end:
        text, group = plan.composers[rng.choice(_MIX)].article(), plan.group()
        url, page = plan.page(plan.site(text.variety, rng), text, rng)
        mark = "&" if "?" in url else "?"
        marks = rng.sample(("utm_source=feed", "from=mail", "ref=7"), rng.randint(1, 3))
        for address in (url, *(f"{url}{mark}{added}" for added in marks)):
            plan.add_page(plan.row(address, "exact-copy", CLUSTER, text=text, group=group), page, rng)


def near_copies(plan: Plan, count: int) -> None:
    """Clusters of 2 or 3 lightly edited versions on one site, every two of them near each other."""
    rng, end = plan.rng("near-copy"), len(plan.records) + count
    while len(plan.records) < end:
        text, group = plan.composers[rng.choice(_MIX)].article(), plan.group()
        versions = [text]
        for _ in range(rng.randint(1, 2)):
            versions.append(near_copy(text, versions[1:], plan.lexicons[text.variety], rng))
        site = plan.site(text.variety, rng)
        for version in versions:
            url, page = plan.page(site, version, rng)
            plan.add_page(plan.row(url, "near-copy", CLUSTER, text=version, group=group), page, rng)


def mirrors(plan: Plan, count: int) -> None:
    """One text on two sites of different families."""
    rng, end = plan.rng("mirror"), len(plan.records) + count
    while len(plan.records) < end:
        text, group = plan.composers[rng.choice(_MIX)].article(), plan.group()
        first = plan.site(text.variety, rng)
        for site in (first, plan.site(text.variety, rng, but=first)):
            url, page = plan.page(site, text, rng)
            plan.add_page(plan.row(url, "mirror", CLUSTER, text=text, group=group), page, rng)


def other_languages(plan: Plan, count: int) -> None:
    rng = plan.rng("other-language")
    for at in range(count):
        lang = OTHER_LANGUAGES[at % len(OTHER_LANGUAGES)]
        pool = [paragraph for article in plan.articles[lang] for paragraph in article.paragraphs]
        title = rng.choice(plan.articles[lang]).title
        text = Text(lang, title, (Section("", tuple(rng.sample(pool, min(4, len(pool))))),))
        url, page = plan.page(plan.site(lang, rng), text, rng)
        plan.add_page(plan.row(url, "other-language", UNWANTED, detail=lang, text=text), page, rng)


def charsets(plan: Plan, count: int) -> None:
    """GBK, GB18030 and Big5 pages with every kind of declaration, in turn."""
    rng = plan.rng("charset")
    cases = [(encoding, case) for case in DECLARED for encoding in _ENCODINGS]
    for at in range(count):
        (codec, variety, label), case = cases[at % len(cases)]
        text = plan.composers[variety].article()
        if codec == "gb18030":
            text = _signed(text)
        header, inner = (label if said == "*" else said for said in DECLARED[case])
        url, page = plan.page(plan.site(variety, rng), text, rng, charset=inner)
        body = page.encode(codec, errors="xmlcharrefreplace")
        kind = f"text/html; charset={header}" if header else "text/html"
        headers = (("Content-Type", kind), ("Content-Length", str(len(body))))
        plan.add(plan.row(url, "charset", KEPT, detail=f"{codec}-{case}", text=text), headers, body)


def _signed(text: Text) -> Text:
    """Names with rare characters in the first paragraph, so that GBK alone cannot read the page."""
    first, *rest = text.sections[0].paragraphs
    section = Section("", (f"{first}（撰稿：{RARE[0]}文{RARE[1]}、王{RARE[2]}）", *rest))
    return replace(text, sections=(section, *text.sections[1:]))


def gzipped(plan: Plan, count: int) -> None:
    _encoded(plan, count, "gzip", ("gzip", "x-gzip"))


def chunked(plan: Plan, count: int) -> None:
    _encoded(plan, count, "chunked", ("chunked", "chunked", "chunked+gzip"))


def _encoded(plan: Plan, count: int, category: str, details: tuple[str, ...]) -> None:
    rng = plan.rng(category)
    for at in range(count):
        text, detail = plan.composers[_MIX[at % len(_MIX)]].article(), details[at % len(details)]
        url, page = plan.page(plan.site(text.variety, rng), text, rng)
        body, headers = page.encode("utf-8"), [("Content-Type", HTML)]
        if "gzip" in detail:
            body = gzip.compress(body, 6, mtime=0)
            headers.append(("Content-Encoding", "x-gzip" if detail == "x-gzip" else "gzip"))
        if "chunked" in detail:
            body = chunk(body, rng)
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            headers.append(("Content-Length", str(len(body))))
        plan.add(plan.row(url, category, KEPT, detail=detail, text=text), tuple(headers), body)


def chunk(body: bytes, rng: Random) -> bytes:
    """The chunked transfer encoding of a body, in pieces of 200 to 4,000 bytes."""
    parts, start = [], 0
    while start < len(body):
        piece = body[start : start + rng.randint(200, 4000)]
        parts.append(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        start += len(piece)
    return b"".join(parts) + b"0\r\n\r\n"


def wrong_lengths(plan: Plan, count: int) -> None:
    """HTTP Content-Length headers that lie; the record around them is sound, so the page is whole."""
    rng = plan.rng("wrong-length")
    for at in range(count):
        text = plan.composers[_MIX[at % len(_MIX)]].article()
        url, page = plan.page(plan.site(text.variety, rng), text, rng)
        body = page.encode("utf-8")
        detail, length = (("short", len(body) // 3), ("long", len(body) * 3), ("zero", 0))[at % 3]
        headers = (("Content-Type", HTML), ("Content-Length", str(length)))
        plan.add(plan.row(url, "wrong-length", KEPT, detail=detail, text=text), headers, body)


def _plant(plan: Plan, text: Text, category: str, rng: Random, forum: bool = False) -> None:
    url, page = plan.page(plan.site(text.variety, rng, forum), text, rng)
    plan.add_page(plan.row(url, category, KEPT, text=text), page, rng)
