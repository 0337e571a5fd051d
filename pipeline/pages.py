"""`python -m pipeline extract`: WARC files in; for each page a line of JSON with URL and text, or why it has none.

The reader, the character sets and the child process are those of the stage `extract`; nothing is stored. Ranges of an
archive that hold no readable record are lines too.
"""

import json
import sys
from collections import Counter

from manifests.storage import list_inputs, open_input
from pipeline.target import open_target
from stages.extract import PAGE_TYPES, Extract, Extracting
from stages.warc import Lost, Record, RecordLimits, read_records


def extract_pages(patterns: list[str], out: str | None) -> int:
    """Write one line per page or lost range; a summary goes to standard error."""
    inputs = list_inputs(patterns)
    counts: Counter[str] = Counter()
    extracting = Extracting(Extract("extract"))
    try:
        with open_target(out, [found.uri for found in inputs]) as target:
            for found in inputs:
                with open_input(found.uri) as stream:
                    for record in read_records(stream, RecordLimits(max_payload=extracting.max_payload)):
                        if is_page(record):
                            page = extracting.page(record)
                            counts[page.reason or "text"] += 1
                            url = record.url if isinstance(record, Record) else None
                            line = {"url": url, "text": page.text, "charset": page.charset, "reason": page.reason}
                            target.write(json.dumps(line, ensure_ascii=False) + "\n")
    finally:
        extracting.close()
    print(", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()), file=sys.stderr)
    return 0


def is_page(record: Record | Lost) -> bool:
    """Whether a record may hold a page, or bytes are lost that may have held one."""
    if isinstance(record, Lost):
        return record.reason != "padding" and record.length > 0
    return record.warc_type in PAGE_TYPES
