"""Common Crawl: a crawl's name in, the addresses of its WARC files out, spread over the whole crawl."""

import gzip
import os

from manifests.storage import open_input
from stages.base import UserError

BASE = "https://data.commoncrawl.org/"
DEFAULT_LIMIT = 2


def archives(crawl: str | None, limit: int | None) -> list[str]:
    """`limit` WARC files of a crawl at equal distances in its list of paths, so that a few show all of it.

    GLASSPILE_CC_BASE names another mirror.
    """
    if not crawl:
        raise UserError("say which crawl: --crawl CC-MAIN-2024-22 (make corpus SOURCE=cc CRAWL=CC-MAIN-2024-22)")
    limit = DEFAULT_LIMIT if limit is None else limit
    if limit < 1:
        raise UserError(f"--limit {limit}: at least 1 WARC file is needed")
    base = os.environ.get("GLASSPILE_CC_BASE", BASE).rstrip("/") + "/"
    with open_input(f"{base}crawl-data/{crawl}/warc.paths.gz") as stream:
        paths = gzip.decompress(stream.read()).decode().split()
    if not paths:
        raise UserError(f"the list of paths of {crawl} is empty")
    count = min(limit, len(paths))
    return [base + paths[i * len(paths) // count] for i in range(count)]
