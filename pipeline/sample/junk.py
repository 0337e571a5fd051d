"""Plants the pages that no corpus wants: boilerplate without an article, spam, lists, pages of nothing but script,
empty pages, one of 60 MB, bytes that are not text, and answers that are not 200. Each breaks the filter rules by a
wide margin, so its fate does not hang on a threshold."""

from dataclasses import replace
from random import Random

from pipeline.sample.articles import pick
from pipeline.sample.compose import Text
from pipeline.sample.pages import render
from pipeline.sample.plan import HTML, JUNK, NO_PAGE, Plan
from pipeline.sample.sites import Site

HUGE_BYTES = 60_000_000
_VARIETIES = ("en", "zh-hans", "en", "zh-hans", "zh-hant")


def boilerplate(plan: Plan, count: int) -> None:
    """Login forms, cookie walls, stubs and menus: pages of fewer than 50 words or characters in all."""
    rng = plan.rng("boilerplate")
    for at in range(count):
        variety, detail = _VARIETIES[at % len(_VARIETIES)], ("login", "cookie-wall", "stub", "menu")[at % 4]
        lexicon = plan.lexicons[variety]
        if detail == "login":
            words = "".join(f'<label>{word}<input name="f{n}"></label>' for n, word in enumerate(lexicon.junk["login"]))
            body = f'<form action="/session" method="post">{words}</form>'
        elif detail == "cookie-wall":
            body = "".join(f"<button>{word}</button>" for word in lexicon.junk["wall"])
        elif detail == "stub":
            body = f"<p>{pick(lexicon, 'stub', rng)}</p>"
        else:
            body = "".join(f'<a href="/m/{rng.randrange(999)}">{word}</a> ' for word in lexicon.page["nav"][:8])
        site = plan.site(variety, rng)
        bare = replace(site, family="bare", menu=site.menu[:3])
        _plant(plan, bare, "boilerplate", detail, pick(lexicon, "stub", rng), body, rng)


def spam(plan: Plan, count: int) -> None:
    """One phrase a hundred times, or one list of keywords forty times."""
    rng = plan.rng("spam")
    for at in range(count):
        variety, detail = _VARIETIES[at % len(_VARIETIES)], ("phrase", "keywords")[at % 2]
        lexicon = plan.lexicons[variety]
        if detail == "phrase":
            phrase, gap, times = pick(lexicon, "spam", rng), " ", 100
        else:
            words = rng.sample(lexicon.junk["keywords"], len(lexicon.junk["keywords"]))
            phrase, gap, times = (" " if variety == "en" else "、").join(words), ", ", 40
        cuts = [gap.join([phrase] * (times // 10))] * 10
        body = "".join(f"<p>{cut}</p>" for cut in cuts)
        _plant(plan, plan.site(variety, rng), "spam", detail, phrase[:60], body, rng)


def lists(plan: Plan, count: int) -> None:
    """Price lists (numbers without sentences) and link lists (the same few links again and again)."""
    rng = plan.rng("list")
    for at in range(count):
        variety, detail = _VARIETIES[at % len(_VARIETIES)], ("prices", "links")[at % 2]
        lexicon = plan.lexicons[variety]
        if detail == "prices":
            rows = [
                f"• {pick(lexicon, 'items', rng)} {rng.randrange(10**8, 10**9)} {rng.randrange(100, 99999) / 100:.2f}"
                for _ in range(rng.randint(40, 70))
            ]
            body = "<ul>" + "".join(f"<li>{row}</li>" for row in rows) + "</ul>"
        else:
            names = [pick(lexicon, "links", rng) for _ in range(8)]
            links = "".join(f'<li><a href="/x/{n}">{name}</a></li>' for n, name in enumerate(names * 10))
            body = f"<ul>{links}</ul>"
        _plant(plan, plan.site(variety, rng), "list", detail, pick(lexicon, "items", rng), body, rng)


def _plant(plan: Plan, site: Site, category: str, detail: str, title: str, body: str, rng: Random) -> None:
    number, url = plan.address(site, rng)
    page = render(site, Text(site.variety, title, ()), plan.lexicons[site.variety], number, body=body)
    plan.add_page(plan.row(url, category, JUNK, detail=detail, variety=site.variety), page, rng)


def script_only(plan: Plan, count: int) -> None:
    """A page that a browser would fill in; there is no text in it."""
    rng = plan.rng("script-only")
    for _ in range(count):
        code = ";".join(f'd["{rng.randrange(16**6):06x}"]={rng.randrange(10**6)}' for _ in range(rng.randint(50, 300)))
        page = (
            f'<!DOCTYPE html><html><head><meta charset="utf-8"><script>var d={{}};{code};</script></head>'
            f'<body><div id="root"></div><script src="/app.{rng.randrange(10**6)}.js"></script></body></html>'
        )
        plan.add_page(plan.row(_address(plan, rng), "script-only", JUNK), page, rng)


def empty(plan: Plan, count: int) -> None:
    rng = plan.rng("empty")
    no_body = "<html><head><title></title></head><body></body></html>"
    pages = (("no-bytes", ""), ("no-body", no_body), ("blank", " \r\n" * 40))
    for at in range(count):
        detail, page = pages[at % len(pages)]
        plan.add_page(plan.row(_address(plan, rng), "empty", NO_PAGE, detail=detail), page, rng)


def huge(plan: Plan, count: int) -> None:
    """One row of one table, until the page has 60 MB."""
    rng = plan.rng("huge")
    for _ in range(count):
        head = b'<!DOCTYPE html><html><head><meta charset="utf-8"><title>Log</title></head><body><div id="content">\n'
        row = f"<p>{pick(plan.lexicons['en'], 'spam', rng)} <b>{rng.randrange(1000)}</b></p>\n".encode()
        page = head + row * ((HUGE_BYTES - len(head)) // len(row)) + b"</div></body></html>"
        plan.add_page(plan.row(_address(plan, rng), "huge", JUNK), page, rng)


def garbage(plan: Plan, count: int) -> None:
    """Random bytes that call themselves a page."""
    rng = plan.rng("garbage")
    for _ in range(count):
        body = rng.randbytes(rng.randint(2000, 20000))
        plan.add(plan.row(_address(plan, rng), "garbage", JUNK), (("Content-Type", HTML),), body)


def errors(plan: Plan, count: int) -> None:
    rng = plan.rng("http-error")
    for at in range(count):
        status = ("404 Not Found", "403 Forbidden", "500 Internal Server Error", "410 Gone")[at % 4]
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr></body></html>"
        row = plan.row(_address(plan, rng), "http-error", NO_PAGE, detail=status[:3])
        plan.add(row, (("Content-Type", HTML), ("Content-Length", str(len(page)))), page.encode(), status)


def redirects(plan: Plan, count: int) -> None:
    rng = plan.rng("redirect")
    for at in range(count):
        status = ("301 Moved Permanently", "302 Found")[at % 2]
        page = f'<html><body><a href="/">{status}</a></body></html>' if at % 3 else ""
        row = plan.row(_address(plan, rng), "redirect", NO_PAGE, detail=status[:3])
        headers = (("Location", _address(plan, rng)), ("Content-Type", HTML), ("Content-Length", str(len(page))))
        plan.add(row, headers, page.encode(), status)


def _address(plan: Plan, rng: Random) -> str:
    return plan.address(plan.site(rng.choice(_VARIETIES), rng), rng)[1]
