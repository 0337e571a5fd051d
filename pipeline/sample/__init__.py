"""The embedded sample crawl: a seed goes in, WARC files with about 3,000 planted records and a gold table of what must
become of each come out, the same bytes every time."""

from pipeline.sample.crawl import generate
from pipeline.sample.gold import Comparison, GoldRow, compare, read_gold

__all__ = ["Comparison", "GoldRow", "compare", "generate", "read_gold"]
