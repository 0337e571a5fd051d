"""The expressions that are read from trafilatura say what libxml2 says of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml.etree import SubElement, XPath
from lxml.html import HtmlElement, document_fromstring
from trafilatura import xpaths

import stages.page  # noqa: F401  puts the matchers into trafilatura's lists
from stages.matcher import Matcher

LISTS = (
    xpaths.BODY_XPATH,
    xpaths.DISCARD_IMAGE_ELEMENTS,
    xpaths.OVERALL_DISCARD_XPATH,
    xpaths.RAW_TREE_PRUNE_XPATH,
    xpaths.REMOVE_COMMENTS_AND_LISTS_XPATH,
)
MATCHERS = [one for expressions in LISTS for one in expressions if isinstance(one, Matcher)]
TAGS = ("div", "p", "span", "section", "article", "main", "ul", "ol", "details", "list", "item", "aside", "h1")
VALUES = (
    *("post", "entry", "article-content", "ArticleBody", "articleBody", "comment-list", "Comments", "commentary"),
    *("cookie", "Nav", "navbar", "share-x", "x hidden", " hide", "reply-1", "infinite-scroll", "mvp-post-add-box"),
    *("display:none", "display: none", "FULLTEXT", "Main-Content", "Page-content", "caption", "true", "正文", ""),
)
ATTRIBUTES = (
    "id",
    "class",
    "style",
    "role",
    "itemprop",
    "aria-hidden",
    "data-component",
    "data-lp-replacement-content",
)
ELEMENT = st.tuples(
    st.sampled_from(TAGS),
    st.lists(st.tuples(st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES)), max_size=4),
    st.integers(0, 2),  # how many of the open elements end before it
)


def tree_of(elements: list[tuple[str, list[tuple[str, str]], int]]) -> HtmlElement:
    """A tree whose attributes stand in the order in which they are given."""
    root = document_fromstring("<html><body></body></html>").body
    place = root
    for tag, attributes, up in elements:
        for _ in range(up):
            place = place.getparent() if place is not root else root
        place = SubElement(place, tag)
        for name, value in dict(attributes).items():
            place.set(name, value)
    return root


def test_most_expressions_are_read() -> None:
    assert len(MATCHERS) == 9


@pytest.mark.parametrize(
    "path, page, ids",
    [
        (
            ".//*[self::div or self::p][re:test(@class, '^a|好')]",
            "<p id=1 class=a><p id=2 class=ba><p id=3 class=好>",
            "13",
        ),
        (".//*[contains(translate(@id, 'N', 'n'), 'nav')]", "<p id=Nav><p id=nAv><p id=navy>", ["Nav", "navy"]),
        (".//*[starts-with(@id|@class, 'x')]", "<p id=1 class=x><p class=x id=2>", "2"),  # the first that is written
        ("(.//*[@id='b' or @role])[1]", "<p id=a><p id=c role=''><p id=b>", "c"),
        (
            ".//*[self::p or self::ol][not(self::ol) or @class='k']",
            "<p id=1><ol id=2></ol><ol id=3 class=k></ol>",
            "13",
        ),
    ],
)
def test_by_hand(path: str, page: str, ids: str | list[str]) -> None:
    tree = document_fromstring(f"<html><body>{page}</body></html>")
    xpath = XPath(path, namespaces={"re": xpaths.REGEXP_NS})
    assert [one.get("id") for one in Matcher(xpath)(tree)] == list(ids) == [one.get("id") for one in xpath(tree)]


@pytest.mark.parametrize("path", ["(.//article)[1]", ".//*[count(p) > 1]", ".//*[@id='a']|.//main", "//p[@id]"])
def test_what_looks_further_is_not_read(path: str) -> None:
    with pytest.raises(ValueError):
        Matcher(XPath(path))


@settings(max_examples=60, deadline=None)
@given(st.lists(ELEMENT, max_size=25))
def test_as_libxml2_says(elements: list[tuple[str, list[tuple[str, str]], int]]) -> None:
    tree = tree_of(elements)
    for matcher in MATCHERS:
        found, expected = matcher(tree), matcher.xpath(tree)
        assert found == (expected[:1] if matcher.first else expected), matcher.xpath.path
