"""Spellings of URLs, worked by hand in both languages; then on any URL: one spelling is its own, and so is its hash."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.urls import TRACKING, TRACKING_OF, Tracking, spelling, url_hash

PLAIN = "http://example.com/a/b?x=1"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a/b?x=1",  # scheme
        "//example.com/a/b?x=1",
        "http://www.example.com/a/b?x=1",  # www
        "HTTP://WWW.Example.COM/a/b?x=1",  # case of scheme and host
        "http://example.com:80/a/b?x=1",  # the scheme's own port
        "https://example.com:443/a/b?x=1",
        "http://example.com:0080/a/b?x=1",
        "http://example.com:/a/b?x=1",
        "http://example.com./a/b?x=1",  # the root of all domains
        "http://example.com/a/b?x=1#top",  # fragment
        "http://example.com/a/b/?x=1",  # slash at the end
        "http://example.com/a/b//?x=1",
        "http://example.com/a/b?&x=1&",  # parameters that are none
        "http://example.com/a/b?utm_source=news&x=1&UTM_Medium=mail&fbclid=Iw",  # tracking
        "http://example.com/a/b?spm=a2c4g.1&x=1&bd_vid=99&hmsr=baidu",
        "http://example.com/%61/b?x=%31",  # escapes of plain characters
        "  http://example.com/a/b?x=1\n",
    ],
)
def test_the_same_page(url: str) -> None:
    assert spelling(url) == spelling(PLAIN) == "//example.com/a/b?x=1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a/b?x=1",
        "http://m.example.com/a/b?x=1",
        "http://example.com:8080/a/b?x=1",
        "http://example.com:443/a/b?x=1",  # another scheme's port
        "http://me@example.com/a/b?x=1",
        "http://example.com/A/b?x=1",
        "http://example.com/a%2Fb?x=1",
        "http://example.com/a/b",
        "http://example.com/a/b?x=2",
        "http://example.com/a/b?X=1",
        "http://example.com/a/b?x=1&page=2",
        "http://example.com/a/b?x=1&mutm_=2",
        "http://example.com/a/b?x=1#!/read/2",
        "http://www.com/a/b?x=1",
    ],
)
def test_another_page(url: str) -> None:
    assert spelling(url) not in (None, spelling(PLAIN))


@pytest.mark.parametrize(
    "url, expected",
    [
        (
            "http://例子.测试/新闻/2024?类=财经",
            "//xn--fsqu00a.xn--0zwm56d/%E6%96%B0%E9%97%BB/2024?%E7%B1%BB=%E8%B4%A2%E7%BB%8F",
        ),
        ("https://xn--fsqu00a.xn--0zwm56d/%e6%96%b0%e9%97%bb/2024/?%e7%b1%bb=%e8%b4%a2%e7%bb%8f", None),  # as above
        ("http://bbs.example.cn/%d0%c2%ce%c5/", "//bbs.example.cn/%D0%C2%CE%C5"),  # GBK stays what it is
        ("http://example.com", "//example.com"),
        ("http://example.com/", "//example.com"),
        ("http://example.com/?utm_id=1", "//example.com"),
        ("http://example.com/?b=2&a=1&b=1", "//example.com?a=1&b=2&b=1"),  # stable: b=2 stays before b=1
        ("http://example.com/#!page", "//example.com#!page"),
        ("http://www.com/", "//www.com"),
        ("http://[2001:DB8::1]:80/x", "//[2001:db8::1]/x"),
        ("ftp://Example.com:21/x/", "ftp://example.com/x"),
        ("http://example.com/a b", "//example.com/a%20b"),
        ("http://example.com/100%", "//example.com/100%"),
    ],
)
def test_spellings(url: str, expected: str | None) -> None:
    assert spelling(url) == (expected or spelling("http://例子.测试/新闻/2024?类=财经"))


@pytest.mark.parametrize(
    "url", ["", "index.html", "/a/b", "example.com/a", "mailto:me@example.com", "http://", "http:///a", "新闻"]
)
def test_what_names_no_host_has_no_spelling(url: str) -> None:
    assert spelling(url) is None


def test_tracking_is_a_table_of_cited_names_that_a_recipe_may_replace() -> None:
    assert len(TRACKING) == len(set(TRACKING)) and all(TRACKING_OF.values())
    own = Tracking(["ref", "X_*"])
    assert spelling("http://a.example/?ref=1&x_y=2&z=3", own) == "//a.example?z=3"
    assert spelling("http://a.example/?utm_id=1", own) == "//a.example?utm_id=1"
    assert not Tracking([]).has("utm_source")


def test_hashes_are_of_the_spelling_and_known_where_there_is_one() -> None:
    column = pa.array(["skipped", PLAIN, None, "https://www.example.com/a/b/?x=1", "", "no", "http://other.example/"])
    hashes, known = url_hash(column.slice(1))
    assert known.tolist() == [True, False, True, False, False, True]
    assert hashes.shape == (6, 2)
    assert hashes[0].tolist() == hashes[2].tolist() != hashes[5].tolist()


PARTS = st.lists(st.sampled_from("aB新%41%e6:/?#!&=.-@[]~ www.:80utm_x="), max_size=24).map("".join)


@given(st.sampled_from(["", "http:", "HTTPS:", "ftp:"]), PARTS)
def test_a_spelling_is_its_own(scheme: str, rest: str) -> None:
    found = spelling(f"{scheme}//{rest}")
    assert found is None or spelling(found) == found
