"""Lays a text out as an HTML page of a site: in goes a Text, out comes the whole page as a string. All furniture comes
from the site and from a generator seeded by host and page number, so the same text on two sites makes two very
different files with one main text."""

import json
from functools import cache
from html import escape
from random import Random
from string import Template

from pipeline.sample.articles import HERE, Lexicon, pick
from pipeline.sample.compose import Section, Text
from pipeline.sample.sites import FORUM, Site

LANG_TAGS = {"zh-hans": "zh-CN", "zh-hant": "zh-TW"}
_CODE = (
    "for line in open(path):\n    total += len(line)\nprint(total)",
    "SELECT name, opened FROM places ORDER BY opened",
    "rsync -av notes/ backup/notes/\ndf -h backup",
    "x = 3 * y + 2\nassert x > y",
)


@cache
def template(family: str) -> Template:
    return Template((HERE / "templates" / f"{family}.html").read_text(encoding="utf-8"))


def charset_meta(family: str, charset: str | None) -> str:
    """The declaration in the page, in the manner of its time; empty when there is none."""
    if charset is None:
        return '<meta name="generator" content="press 2.1">'
    if family in ("table", "plain", "blog", "forum"):
        return f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">'
    return f'<meta charset="{charset}">'


def render(
    site: Site, text: Text, lexicon: Lexicon, number: int, charset: str | None = "utf-8", body: str | None = None
) -> str:
    """The page that carries `text`, or the ready markup `body`; `charset` is what the page says, true or not."""
    rng = Random(f"{site.host}/{number}")
    own = Random(text.title)  # what stands inside the main text must not differ between a page and its near copy
    date = pick(lexicon, "date", rng)
    links = [f'<a href="/c/{at}/">{escape(item)}</a>' for at, item in enumerate(site.menu)]
    related = [f'<a href="/r/{rng.randrange(9999)}">{pick(lexicon, "related", rng)}</a>' for _ in range(4)]
    return template(site.family).substitute(
        lang=LANG_TAGS.get(text.variety, text.variety),
        meta=charset_meta(site.family, charset),
        title=escape(text.title, quote=False),
        site=site.name,
        skin=site.skin,
        colour=site.colour,
        number=number,
        nav_items="".join(f"<li>{link}</li>" for link in links),
        nav_bar=" | ".join(links),
        related_items="".join(f"<li>{link}</li>" for link in related),
        related_bar="<br>".join(related),
        byline=pick(lexicon, "byline", rng),
        date=date,
        ad=site.advert,
        footer=site.footer,
        cookie=pick(lexicon, "cookie", rng),
        comments="".join(_comment(lexicon, rng) for _ in range(rng.randint(0, 4))),
        comment_head=pick(lexicon, "comment_head", rng),
        more=pick(lexicon, "read_more", rng),
        newsletter=pick(lexicon, "newsletter", rng),
        search=pick(lexicon, "search", rng),
        share=" ".join(f'<a href="#s">{word}</a>' for word in lexicon.page.get("share", ())),
        jsonld=json.dumps({"@context": "https://schema.org", "@type": "Article", "headline": text.title}),
        table=_table(lexicon, own),
        code=f"<pre><code>{escape(own.choice(_CODE))}</code></pre>",
        body=_body(site, text, lexicon, rng) if body is None else body,
    )


def _comment(lexicon: Lexicon, rng: Random) -> str:
    user, words = pick(lexicon, "users", rng), pick(lexicon, "comments", rng)
    return f'<div class="comment"><b>{user}</b><p>{words}</p></div>'


def _table(lexicon: Lexicon, rng: Random) -> str:
    names = lexicon.page.get("table", ())
    rows = (f"<tr><th>{name}</th><td>{rng.randrange(10, 2000)}</td></tr>" for name in names[:4])
    return f'<table class="infobox">{"".join(rows)}</table>' if names else ""


def _body(site: Site, text: Text, lexicon: Lexicon, rng: Random) -> str:
    if site.family == FORUM:
        return "\n".join(_post(section, lexicon, rng) for section in text.sections)
    blocks = [block for section in text.sections for block in _blocks(site.family, section)]
    if site.family in ("news", "magazine") and len(blocks) > 3:
        blocks.insert(2, f'<div class="ad advert">{site.advert}</div>')
    return "\n".join(blocks)


def _blocks(family: str, section: Section) -> list[str]:
    """Heading and paragraphs in the markup of a family."""
    heading = escape(section.heading, quote=False)
    paragraphs = [escape(paragraph, quote=False) for paragraph in section.paragraphs]
    if family == "table":
        head, body = f"<H3>{heading}</H3>", [f'<P><FONT size="3">{p}</FONT></P>' for p in paragraphs]
    elif family == "plain":
        head, body = f"<b>{heading}</b><br><br>", [f"{p}<br><br>" for p in paragraphs]
    elif family == "wiki":
        edit = '<span class="mw-editsection">[<a href="?edit=1">edit</a>]</span>'
        head, body = f"<h2>{heading}{edit}</h2>", [f"<p>{p}</p>" for p in paragraphs]
    elif family == "portal":
        head, body = f"<p><strong>{heading}</strong></p>", [f"<p>\u3000\u3000{p}</p>" for p in paragraphs]
    else:
        head, body = f"<h2>{heading}</h2>", [f"<p>{p}</p>" for p in paragraphs]
    return [head, *body] if heading else body


def _post(section: Section, lexicon: Lexicon, rng: Random) -> str:
    body = "".join(f"<p>{escape(paragraph, quote=False)}</p>" for paragraph in section.paragraphs)
    return (
        f'<div class="thread-post" id="p{rng.randrange(10**6)}"><div class="user author-info">{section.heading}</div>'
        f'<div class="post-date meta">{pick(lexicon, "date", rng)}</div><div class="message">{body}</div></div>'
    )
