"""Rows for documents that go: which document, why, the value that decided, and for a sample of them the text."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.schema import DROPPED, ID

# One document in 16, chosen by its id, keeps the beginning of its text for `manifests dropped`.
SAMPLE_ONE_IN = 16
SAMPLE_CHARS = 2000


def dropped_rows(
    batch: pa.RecordBatch,
    rows: np.ndarray,
    stage: str,
    reason: str | Sequence[str],
    value: Sequence[float | None] | None = None,
    lo: Sequence[float | None] | None = None,
    hi: Sequence[float | None] | None = None,
    failed: Sequence[Sequence[int]] | None = None,
    kept_id: pa.Array | None = None,
    score: Sequence[float | None] | None = None,
) -> pa.RecordBatch:
    """DROPPED batch for the rows `rows` (int indices, ascending) of a DOC batch; the other columns follow `rows`."""
    gone = batch.take(pa.array(rows, pa.int64()))
    n = len(rows)
    ids = gone["doc_id"]
    sampled = pa.array([value[0] % SAMPLE_ONE_IN == 0 for value in ids.to_pylist()], pa.bool_())
    beginnings = pc.utf8_slice_codeunits(gone["text"], 0, SAMPLE_CHARS)
    given = {
        "stage": pa.array([stage] * n, pa.string()),
        "reason": pa.array([reason] * n if isinstance(reason, str) else list(reason), pa.string()),
        "value": value,
        "lo": lo,
        "hi": hi,
        "failed": failed,
        "kept_id": kept_id.cast(ID) if kept_id is not None else None,
        "score": score,
        "text": pc.if_else(sampled, beginnings, pa.scalar(None, pa.string())),
    }
    columns = []
    for field in DROPPED:
        column = given[field.name] if field.name in given else gone[field.name]
        if column is None:
            column = pa.nulls(n, field.type)
        columns.append(column if isinstance(column, pa.Array) else pa.array(column, field.type))
    return pa.record_batch(columns, schema=DROPPED)


def nothing_dropped() -> pa.RecordBatch:
    """A DROPPED batch without rows."""
    return pa.RecordBatch.from_pylist([], schema=DROPPED)
