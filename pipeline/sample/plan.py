"""Collects the records of a sample crawl before they are written: each is a WARC record still without a place, together
with its gold row. Sites, texts and generators are shared here, so that every kind of page is planted by a short
function in `documents.py`, `junk.py` or `noise.py`."""

from dataclasses import dataclass, replace
from random import Random

from pipeline.sample.articles import language_of, load_articles, load_lexicons
from pipeline.sample.compose import Text, composers
from pipeline.sample.gold import Fate, GoldRow
from pipeline.sample.pages import render
from pipeline.sample.sites import FORUM, Site, make_sites

KEPT = Fate("kept", ("kept",))
CLUSTER = Fate("one_of", ("kept", "duplicate"))
BROKEN = Fate("lost", ("lost", "dropped"))
IGNORED = Fate("ignored", ("ignored", "dropped"))
NO_PAGE = Fate("dropped", ("dropped", "ignored"), ("extract",))
NOT_HTML = Fate("dropped", ("dropped", "ignored"), ("extract",), ("not_html",))
UNWANTED = Fate("dropped", ("dropped",), ("language",), ("language_not_wanted",))
JUNK = Fate("dropped", ("dropped",), ("extract", "language", "filter"))

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Record:
    """A planned record; `fault` says how the writer spoils it: damaged, short-length, long-length or truncated."""

    row: GoldRow
    content_type: str | None
    block: bytes
    extra: tuple[tuple[str, str], ...] = ()
    fault: str | None = None


def http_block(headers: tuple[tuple[str, str], ...], body: bytes, status: str = "200 OK") -> bytes:
    """An HTTP response as stored in a record: status line, headers, empty line, body."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class Plan:
    """The crawl so far, and the next page number (numbers make addresses unique)."""

    def __init__(self, seed: int) -> None:
        self.seed = str(seed)
        self.lexicons = load_lexicons()
        self.articles = load_articles()
        self.sites = make_sites(self.lexicons, self.seed)
        self.composers = composers(self.articles, self.lexicons, self.seed)
        self.records: list[Record] = []
        self.number = 1000
        self._groups = 0

    def rng(self, name: str) -> Random:
        return Random(f"{self.seed}/{name}")

    def group(self) -> str:
        self._groups += 1
        return f"g{self._groups:04d}"

    def site(self, variety: str, rng: Random, forum: bool = False, but: Site | None = None) -> Site:
        """A site of a variety, of another family than that of `but`."""
        family = but.family if but else ""
        return rng.choice([s for s in self.sites[variety] if (s.family == FORUM) == forum and s.family != family])

    def address(self, site: Site, rng: Random) -> tuple[int, str]:
        self.number += 1
        return self.number, site.url(self.number, rng)

    def page(self, site: Site, text: Text, rng: Random, charset: str | None = "utf-8") -> tuple[str, str]:
        """A new address on a site, and the page that carries `text` there."""
        number, url = self.address(site, rng)
        return url, render(site, text, self.lexicons[text.variety], number, charset)

    def html(self, page: str | bytes, rng: Random) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Headers and body of an ordinary response; one in five leaves the charset to the page."""
        body = page.encode("utf-8") if isinstance(page, str) else page
        kind = "text/html" if rng.random() < 0.2 else HTML
        return (("Content-Type", kind), ("Server", "press"), ("Content-Length", str(len(body)))), body

    def row(
        self,
        url: str | None,
        category: str,
        fate: Fate,
        *,
        detail: str = "",
        variety: str | None = None,
        text: Text | None = None,
        group: str | None = None,
        warc_type: str = "response",
    ) -> GoldRow:
        """A gold row without a place; language and script follow from the text, or from `variety` without one."""
        variety = text.variety if text else variety
        lang, script = language_of(variety) if variety else (None, None)
        main, sha = (text.main, text.sha) if text else (None, None)
        return GoldRow(
            *("", 0, 0, url, warc_type, category, detail, lang, script),
            *(fate.fate, fate.fates, fate.stages, fate.reasons, group, sha, main),
        )

    def add(
        self,
        row: GoldRow,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        status: str = "200 OK",
        fault: str | None = None,
    ) -> None:
        """Plants one HTTP response."""
        block = http_block(headers, body, status)
        self.records.append(Record(row, "application/http; msgtype=response", block, (), fault))

    def add_page(self, row: GoldRow, page: str | bytes, rng: Random) -> None:
        headers, body = self.html(page, rng)
        self.add(row, headers, body)


def placed(row: GoldRow, file: str, offset: int, length: int) -> GoldRow:
    return replace(row, file=file, offset=offset, length=length)
