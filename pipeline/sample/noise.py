"""Plants the records that are not pages (requests, metadata, revisits, pictures, PDF, JSON, plain text) and the spoiled
ones: a damaged gzip member, a wrong WARC Content-Length, a file that ends too early."""

import json
import zlib
from random import Random

from pipeline.sample.gold import Fate
from pipeline.sample.plan import BROKEN, IGNORED, NO_PAGE, NOT_HTML, Plan, Record

# A reader may take the short page for what it is, or give the record up; both are right.
EITHER = Fate("kept", ("kept", "dropped", "lost"))


def requests(plan: Plan, count: int) -> None:
    rng = plan.rng("request")
    for _ in range(count):
        url, host = _address(plan, rng)
        block = f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: samplebot/1.0\r\n\r\n".encode()
        row = plan.row(url, "request", IGNORED, warc_type="request")
        plan.records.append(Record(row, "application/http; msgtype=request", block))


def metadata(plan: Plan, count: int) -> None:
    rng = plan.rng("metadata")
    for _ in range(count):
        url, host = _address(plan, rng)
        block = f"fetchTimeMs: {rng.randrange(20, 3000)}\r\nvia: https://{host}/\r\n".encode()
        row = plan.row(url, "metadata", IGNORED, warc_type="metadata")
        plan.records.append(Record(row, "application/warc-fields", block))


def revisits(plan: Plan, count: int) -> None:
    """A page seen unchanged: headers only, the body lies in an earlier crawl."""
    rng = plan.rng("revisit")
    profile = "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest"
    for _ in range(count):
        url, _host = _address(plan, rng)
        row = plan.row(url, "revisit", IGNORED, warc_type="revisit")
        extra = (("WARC-Profile", profile), ("WARC-Refers-To-Target-URI", url))
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
        plan.records.append(Record(row, "application/http; msgtype=response", block, extra))


def images(plan: Plan, count: int) -> None:
    rng = plan.rng("image")
    for _ in range(count):
        picture = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + rng.randbytes(rng.randint(500, 6000)) + b"\xff\xd9"
        _file(plan, "image", "image/jpeg", ".jpg", picture, rng)


def pdfs(plan: Plan, count: int) -> None:
    rng = plan.rng("pdf")
    for _ in range(count):
        stream = zlib.compress(rng.randbytes(rng.randint(500, 4000)))
        body = b"%PDF-1.4\n1 0 obj\n<</Filter/FlateDecode>>stream\n" + stream + b"\nendstream\nendobj\n%%EOF\n"
        _file(plan, "pdf", "application/pdf", ".pdf", body, rng)


def jsons(plan: Plan, count: int) -> None:
    rng = plan.rng("json")
    for _ in range(count):
        items = [{"id": n, "price": rng.randrange(10**4)} for n in range(rng.randint(5, 80))]
        _file(plan, "json", "application/json", ".json", json.dumps({"items": items}).encode(), rng)


def plain_texts(plan: Plan, count: int) -> None:
    """Files for machines; no sentence in them."""
    rng = plan.rng("plain-text")
    for _ in range(count):
        lines = [f"Disallow: /{rng.randrange(16**5):05x}/" for _ in range(rng.randint(5, 40))]
        body = "\n".join(["User-agent: *", *lines, ""]).encode()
        url, _host = _address(plan, rng)
        row = plan.row(f"{url.rstrip('/')}/robots.txt", "plain-text", NO_PAGE)
        plan.add(row, (("Content-Type", "text/plain"), ("Content-Length", str(len(body)))), body)


def damaged(plan: Plan, count: int) -> None:
    """Articles whose gzip members have flipped bytes; the members round them are sound."""
    rng = plan.rng("damaged")
    for _ in range(count):
        _spoiled(plan, "damaged", "damaged", BROKEN, rng)


def wrong_warc_lengths(plan: Plan, count: int) -> None:
    """Records whose WARC Content-Length is half of their block, or goes beyond it."""
    rng = plan.rng("wrong-warc-length")
    for at in range(count):
        _spoiled(plan, "wrong-warc-length", ("short-length", "long-length")[at % 2], EITHER, rng)


def truncated_end(plan: Plan, count: int) -> None:
    """The last record of the last file, cut before its text begins."""
    rng = plan.rng("truncated")
    for _ in range(count):
        _spoiled(plan, "truncated", "truncated", BROKEN, rng)


def _spoiled(plan: Plan, category: str, fault: str, fate: Fate, rng: Random) -> None:
    text = plan.composers[rng.choice(("en", "zh-hans"))].article()
    url, page = plan.page(plan.site(text.variety, rng), text, rng)
    headers, body = plan.html(page, rng)
    plan.add(plan.row(url, category, fate, detail=fault, text=text), headers, body, fault=fault)


def _file(plan: Plan, category: str, kind: str, ending: str, body: bytes, rng: Random) -> None:
    url, _host = _address(plan, rng)
    row = plan.row(f"{url.rstrip('/')}/file{ending}", category, NOT_HTML)
    plan.add(row, (("Content-Type", kind), ("Content-Length", str(len(body)))), body)


def _address(plan: Plan, rng: Random) -> tuple[str, str]:
    site = plan.site(rng.choice(("en", "zh-hans", "zh-hant")), rng)
    return plan.address(site, rng)[1], site.host
