"""`python -m pipeline identify`: lines of JSON with `id` and `text` in (plain, .gz or .zst); for each, in order, a line
of JSON with `id`, `lang`, `script` and `score` out."""

import json

import pyarrow as pa

from pipeline.jsonlines import Lines, open_lines
from pipeline.target import open_target
from stages.language import SCORE_DECIMALS, open_identifier

BATCH_BYTES = 8 << 20


def identify(path: str, out: str | None = None) -> int:
    """Identify every line of a file; 0, or 1 when the file is damaged and ends early. UserError for a missing file."""
    lines, stream = Lines(path), open_lines(path)
    identifier = open_identifier()
    with stream, open_target(out, [path]) as target:
        for batch in lines.batches(stream, BATCH_BYTES):
            labels = identifier.identify(pa.array([record["text"] for record in batch], pa.string()))
            columns = (labels.lang.to_pylist(), labels.script.to_pylist(), labels.score.to_pylist())
            for record, lang, script, score in zip(batch, *columns, strict=True):
                row = {"id": record["id"], "lang": lang, "script": script, "score": round(score, SCORE_DECIMALS)}
                target.write(json.dumps(row) + "\n")
    return lines.finish()
