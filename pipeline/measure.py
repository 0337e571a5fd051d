"""`python -m pipeline signals`: lines of JSON with `id`, `text` and perhaps `url` in (plain, .gz or .zst); for each, in
order, a line of JSON with `id` and `signals` out, by default RedPajama-V2's under its own names."""

import json
from collections.abc import Sequence

from pipeline.jsonlines import Lines, open_lines
from pipeline.target import open_target
from stages.records import valid
from stages.signals import REDPAJAMA, open_measure

BATCH_BYTES = 8 << 20


def measure(path: str, names: Sequence[str] | None = None, out: str | None = None) -> int:
    """Measure every line of a file; 0, or 1 when the file is damaged and ends early. UserError for unknown signals."""
    measuring = open_measure(REDPAJAMA if names is None else names)
    lines = Lines(path)
    with open_lines(path) as stream, open_target(out, [path]) as target:
        for batch in lines.batches(stream, BATCH_BYTES):
            texts = [record["text"] for record in batch]
            measured = measuring.measure(texts, [valid(record.get("url")) for record in batch])
            for record, signals in zip(batch, measured, strict=True):
                target.write(json.dumps({"id": record["id"], "signals": signals}) + "\n")
    return lines.finish()
