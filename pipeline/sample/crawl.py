"""The sample crawl as a whole: how many records of which category, in 3,000, and the one function that makes archives
and gold table from a seed. Nothing here reads a clock, so the same seed gives the same bytes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.sample import documents, junk, noise
from pipeline.sample.gold import GoldRow, write_gold
from pipeline.sample.plan import IGNORED, Plan, Record
from pipeline.sample.warcfile import write_files

FILES = 6
RECORDS = 3000

# records in 3,000 -> planter; whole articles go first, the composed pages use what they leave
PLANTERS: tuple[tuple[int, Callable[[Plan, int], None]], ...] = (
    (345, partial(documents.articles, variety="en", category="article-en")),
    (284, partial(documents.articles, variety="zh-hans", category="article-zh")),
    (90, partial(documents.articles, variety="zh-hant", category="article-zh-hant")),
    (120, documents.digests),
    (100, documents.threads),
    (210, documents.exact_copies),
    (300, documents.near_copies),
    (120, documents.mirrors),
    (96, documents.other_languages),
    (144, documents.charsets),
    (45, documents.gzipped),
    (45, documents.chunked),
    (42, documents.wrong_lengths),
    (150, junk.boilerplate),
    (140, junk.spam),
    (90, junk.lists),
    (40, junk.script_only),
    (20, junk.empty),
    (1, junk.huge),
    (30, junk.garbage),
    (90, junk.errors),
    (60, junk.redirects),
    (110, noise.requests),
    (70, noise.metadata),
    (50, noise.revisits),
    (70, noise.images),
    (40, noise.pdfs),
    (40, noise.jsons),
    (40, noise.plain_texts),
    (4, noise.damaged),
    (4, noise.wrong_warc_lengths),
    (1, noise.truncated_end),
)


def generate(seed: int, out: Path, records: int = RECORDS) -> list[GoldRow]:
    """Writes FILES archives of about `records` records, `gold.parquet` and `gold.jsonl` into `out`."""
    plan = Plan(seed)
    for share, plant in PLANTERS:
        plant(plan, max(1, round(share * records / RECORDS)))
    out.mkdir(parents=True, exist_ok=True)
    gold = write_files(plan.records, [_info(plan, at) for at in range(FILES)], out, plan.rng("files"))
    write_gold(gold, out)
    return gold


def _info(plan: Plan, at: int) -> Record:
    block = f"software: glasspile sample crawl\r\nformat: WARC File Format 1.0\r\npart: {at}\r\n".encode()
    row = plan.row(None, "warcinfo", IGNORED, warc_type="warcinfo")
    return Record(row, "application/warc-fields", block)
