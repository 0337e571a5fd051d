"""Good pages, hostile pages, and functions that misbehave in the child on purpose."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml.html import document_fromstring
from trafilatura import bare_extraction
from trafilatura.settings import Document

from stages.page import PARSER, extract_page, lighten, tidy
from stages.sandbox import Extractor, PageLimits

EN = "Tea is made from the leaves of a plant that grows in the hills. " * 12
ZH = "茶是用生长在山上的一种植物的叶子制成的，人们在一天之中常常要喝上好几次。" * 12


def page(text: str, language: str = "en") -> str:
    return (
        f"<html lang='{language}'><head><title>A \n title</title><script>var x = 1 < 2;</script></head><body>"
        f"<nav><a href='/'>Home</a> <a href='/a'>About</a></nav><article><h1>Head</h1><p>{text}</p>"
        f"<table><tr><td>cell one</td><td>cell two</td></tr></table></article>"
        f"<div id='comments'><p>What a comment.</p></div></body></html>"
    )


LIMITS = PageLimits(cpu_seconds=1, memory_bytes=512 << 20)
MISBEHAVE = "tests.stages.misbehaviour:misbehave"


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor() as one:
        yield one


@pytest.mark.parametrize("text, language", [(EN, "en"), (ZH, "zh-CN")])
def test_a_page(extractor: Extractor, text: str, language: str) -> None:
    extracted = extractor.extract(page(text, language), "http://x.org/")
    assert (extracted.title, extracted.language, extracted.reason) == ("A title", language.lower(), "")
    assert text.strip() in extracted.text and "cell one" in extracted.text
    assert "comment" not in extracted.text and "About" not in extracted.text and "var x" not in extracted.text


@pytest.mark.parametrize("text", [EN, ZH])
def test_the_same_page_gives_the_same_text_for_ever(extractor: Extractor, text: str) -> None:
    assert len({extractor.extract(page(text), "http://x.org/") for _ in range(8)}) == 1
    assert extract_page(page(text).encode(), "http://x.org/", 1000) == extractor.extract(page(text), "http://x.org/")


def test_the_text_is_not_normalised(extractor: Extractor) -> None:
    text = "cafe\u0301 は \uf900 ﬁ１ " * 40
    assert "cafe\u0301 は \uf900 ﬁ１" in extractor.extract(page(text), "").text


def test_tidy() -> None:
    assert tidy("\r\n a \t\r\nb\u3000\r\rc\n\n") == "a\nb\n\nc"


PARTS = [
    f"<p>{EN}</p>",
    f"<p itemprop='articleBody'>{ZH}</p>",
    f"<div class='content' itemprop='articleBody' width=3>{EN}<img src=a alt='no text'>{ZH}</div>",
    "<script>var x = '<p>not a text</p>';</script> tail",
    f'<script type=\'application/ld+json\'>{{"@type": "Article", "articleBody": "{ZH}"}}</script>',
    '<script type=\'application/ld+json\'>{"@type": "DiscussionForumPosting"}</script>',
    "<style>p { color: red }</style>尾",
    "<svg viewBox='0 0 1 1'><title>drawn</title><g><path d='M0 0'/></g><text>in a drawing</text></svg> after",
    f"<svg><p>{ZH}</p>",
    f"<meta name=a content=b><link rel=c href=d><div style='display:none' title=t>{EN}</div>",
    f"<aside role='presentation'><a href='/x' title='T'>{ZH}</a></aside>",
    "<table border=1><tr><td colspan=2 width=3><a href=x>one</a></td><td>二</td></tr></table>",
    "<ul class='comments' id='c'><li><a href=1>one</a><li aria-hidden='true'>二</ul>",
]


def light_and_whole(html: str) -> tuple[str, str]:
    """The text of a page, and what trafilatura makes of the whole page with the options spelled out."""
    document = bare_extraction(
        document_fromstring(html.encode(), parser=PARSER),
        fast=True,
        favor_recall=True,
        include_comments=False,
        include_tables=True,
    )
    whole = tidy(document.text or "") if isinstance(document, Document) else ""
    return extract_page(html.encode(), "", 1000).text, whole


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("more", ["", f"<p>{EN}</p>"])
def test_what_is_taken_out_of_a_page_does_not_change_its_text(part: str, more: str) -> None:
    for html in (f"<body>{part}{more}", f"<head>{part}</head><body>{more}", f"<body>{more}<div>{part}</div>"):
        light, whole = light_and_whole(html)
        assert light == whole


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*PARTS, "<div class='post'>", "</div>", "<article>", "<p>短", "a < b"]), max_size=8))
def test_what_is_taken_out_of_any_page_does_not_change_its_text(parts: list[str]) -> None:
    light, whole = light_and_whole("<html><body>" + "".join(parts))
    assert light == whole


def test_what_is_taken_out() -> None:
    head = "<meta content=c><link href=d><title>T</title><script>1</script><script type=application/ld+json>2</script>"
    tree = document_fromstring(
        f"<html><head>{head}</head><body><svg><g/></svg>tail<a class=k href=x title=t>茶</a></body></html>",
        parser=PARSER,
    )
    lighten(tree)
    assert [(element.tag, dict(element.attrib)) for element in tree.iter()] == [
        ("html", {}),
        ("head", {}),
        ("title", {}),
        ("script", {"type": "application/ld+json"}),
        ("body", {}),
        ("a", {"class": "k"}),
    ]
    assert tree.findtext("head/script") == "2" and tree.find("body").text == "tail"


HOSTILE = {
    # the page, and a reason or None for any text
    "nothing": ("", "empty"),
    "white space": (" \n\t ", "empty"),
    "no text": ("<html><body><img src='x'></body></html>", "empty"),
    "200,000 divs": ("<div>" * 200_000 + "x" + "</div>" * 200_000, "empty"),
    "100,000 open tags": ("<b>" * 100_000 + "x", "empty"),
    "an attribute of 5 MB": (f"<body><a href='{'x' * 5_000_000}'>y</a><p>{EN}", None),
    "5,000 attributes": (f"<body><p {' '.join(f'a{i}=1' for i in range(5_000))}>{EN}", None),
    "a million entities": (f"<body><p>{'&amp;' * 1_000_000}", None),
    "NUL characters": (f"<body><p>{EN.replace(' ', ' ' + chr(0))}", None),
    "surrogates": (f"<body><p>{EN}\ud800\udfff&#xD800;", None),
    "too many bytes": ("x" * (8 << 20) + "y", "too_large"),
    "too many bytes in Chinese": ("茶" * (3 << 20), "too_large"),
    "too many nodes": ("<p>x" * 130_000, "too_many_nodes"),
    "XML": (f"<?xml version='1.0' encoding='gb2312'?><html xmlns='x'><body><p>{ZH}</p></body></html>", None),
    "nested tables": ("<table><tr><td>a" * 5_000, None),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pages(extractor: Extractor, what: str) -> None:
    html, reason = HOSTILE[what]
    extracted = extractor.extract(html, "http://x.org/")
    assert extracted.reason == (reason or "") and bool(extracted.text) is (reason is None)
    assert "\0" not in extracted.text
    extracted.text.encode()


def test_binary_noise_is_survived(extractor: Extractor) -> None:
    for seed in range(3):
        extractor.extract(random.Random(seed).randbytes(50_000), "\ud800")
    assert extractor.extract(page(EN), "").reason == "" and extractor.started == 1


@pytest.mark.parametrize(
    "crime, reason",
    [
        ("segfault", "error:child_died"),
        ("killed", "error:child_died"),
        ("exit", "error:child_died"),
        ("loop", "cpu_limit"),
        ("sleep", "error:child_stuck"),
        ("memory", "error:MemoryError"),
        ("raise", "error:KeyError"),
        ("print", ""),
        ("segfault, but not this page", ""),
    ],
)
def test_a_page_that_breaks_the_child_costs_that_page(crime: str, reason: str) -> None:
    limits = replace(LIMITS, wall_seconds=2.0) if crime == "sleep" else LIMITS
    with Extractor(limits, MISBEHAVE) as one:
        before = one.extract("before", "u")
        assert one.extract(crime, "u").reason == reason
        after = one.extract("after", "u")
        assert (before.text, after.text, after.language, after.reason) == ("before", "after", "u", "")
        assert (before.title == after.title) is (reason in ("", "error:KeyError")), "the child is another process"


def test_a_child_that_died_of_its_past_is_no_fault_of_the_page() -> None:
    with Extractor(LIMITS, MISBEHAVE) as one:
        one.extract("first", "")
        assert one.extract("second page", "").text == "second page"
        assert one.started == 2


def test_somebody_kills_the_child() -> None:
    with Extractor(LIMITS, MISBEHAVE) as one:
        for _ in range(3):
            os.kill(int(one.extract("a", "").title), signal.SIGKILL)
            assert one.extract("b", "").text == "b"


@pytest.mark.parametrize(
    "limits, text", [(PageLimits(recycle_pages=2), "a"), (PageLimits(recycle_rss=100 << 20), "grow")]
)
def test_children_are_replaced_before_they_grow(limits: PageLimits, text: str) -> None:
    with Extractor(limits, MISBEHAVE) as one:
        answers = [one.extract(text, "") for _ in range(6)]
        assert one.started >= 3 and len({answer.title for answer in answers}) >= 2
        assert {answer.text for answer in answers} == {text}


def test_a_child_that_cannot_start_is_an_error() -> None:
    with Extractor(LIMITS, "tests.stages.no_such_module:function") as one, pytest.raises(RuntimeError, match="start"):
        one.extract("x", "")


WORKER = """
import os, signal
from stages.sandbox import Extractor, PageLimits
one = Extractor(PageLimits(), "tests.stages.misbehaviour:misbehave")
print(one.extract("a", "").title, flush=True)
one.extract("loop", "")
"""


def test_the_child_dies_with_its_worker_even_in_a_loop() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert worker.stdout
    child = psutil.Process(int(worker.stdout.readline()))
    time.sleep(0.2)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
