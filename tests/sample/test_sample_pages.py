"""Pages of the sample crawl: what an extractor gets out of them must be the planted text and little else."""

from random import Random

import pytest
import trafilatura

from pipeline.sample.articles import language_of
from pipeline.sample.compose import units
from pipeline.sample.documents import DECLARED, chunk
from pipeline.sample.junk import boilerplate
from pipeline.sample.pages import charset_meta, render
from pipeline.sample.plan import Plan
from pipeline.sample.sites import FAMILIES, FORUM

SITES = [("en", family) for family in (*FAMILIES, FORUM)]
SITES += [(v, f) for v in ("zh-hans", "zh-hant") for f in (*FAMILIES[:7], FORUM)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(19)


def squeeze(text: str) -> str:
    return "".join(text.split())


def extract(page: str) -> str:
    return trafilatura.extract(page, fast=True, deduplicate=False, include_comments=False) or ""


@pytest.mark.parametrize(("variety", "family"), SITES)
def test_extraction_finds_the_planted_text(plan: Plan, variety: str, family: str) -> None:
    sites = [site for site in plan.sites[variety] if site.family == family]
    if not sites:
        pytest.fail(f"no {family} site in {variety}")
    for number in range(3):
        source = plan.composers[variety]
        text = source.thread() if family == FORUM else source.article()
        found = squeeze(extract(render(sites[0], text, plan.lexicons[variety], number)))
        whole = [paragraph for paragraph in text.paragraphs if squeeze(paragraph) in found]
        assert len(whole) >= 0.9 * len(text.paragraphs)
        assert len(found) <= 1.2 * len(squeeze(text.main))


def test_sites(plan: Plan) -> None:
    sites = [site for group in plan.sites.values() for site in group]
    assert len(sites) == len({site.host for site in sites}) == 60
    assert all(site.host.endswith(".example") for site in sites)
    assert {site.family for site in sites} == {*FAMILIES, FORUM}


@pytest.mark.parametrize("variety", ["en", "zh-hans", "zh-hant"])
def test_one_text_makes_different_pages_on_different_sites(plan: Plan, variety: str) -> None:
    text = plan.composers[variety].article()
    pages = [render(site, text, plan.lexicons[variety], 5) for site in plan.sites[variety][:4]]
    assert len({len(page) for page in pages}) == 4
    assert render(plan.sites[variety][0], text, plan.lexicons[variety], 5) == pages[0]


@pytest.mark.parametrize(
    ("family", "charset", "expected"),
    [
        ("news", "utf-8", '<meta charset="utf-8">'),
        ("table", "gb2312", '<meta http-equiv="Content-Type" content="text/html; charset=gb2312">'),
    ],
)
def test_charset_declaration(family: str, charset: str, expected: str) -> None:
    assert charset_meta(family, charset) == expected


def test_no_declaration_names_no_charset() -> None:
    assert all("charset" not in charset_meta(family, None) for family in (*FAMILIES, FORUM))
    assert DECLARED["none"] == (None, None)


def test_boilerplate_pages_are_short(plan: Plan) -> None:
    boilerplate(plan, 40)
    for record in plan.records[-40:]:
        assert record.row.category == "boilerplate"
        page = record.block.partition(b"\r\n\r\n")[2].decode("utf-8")
        lang = language_of(record.row.lang or "")[0]
        assert len(units(extract(page), lang)) < 50


def test_chunked_body() -> None:
    """Three chunks at most of 200 to 4,000 bytes, each with its size in hexadecimal, and an end of size 0."""
    body, coded = bytes(range(256)) * 20, chunk(bytes(range(256)) * 20, Random(2))
    parts, rest = b"", coded
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        parts, rest = parts + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert parts == body and rest == b"\r\n"
