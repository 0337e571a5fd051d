"""The content digest depends on rows and schema alone: not on batches, slices, or what lies under a null."""

import pyarrow as pa
import pytest

from manifests.digest import ContentDigest, range_digests

SCHEMA = pa.schema(
    [
        ("id", pa.binary(4)),
        ("text", pa.string()),
        ("score", pa.float32()),
        ("tokens", pa.list_(pa.uint16())),
        ("cuts", pa.list_(pa.struct([("start", pa.int64()), ("reason", pa.string())]))),
        ("flag", pa.bool_()),
    ]
)
ROWS: list[dict] = [
    {"id": b"0001", "text": "a page", "score": 0.5, "tokens": [1, 2], "cuts": [], "flag": True},
    {
        "id": None,
        "text": "一页网页",
        "score": None,
        "tokens": None,
        "cuts": [{"start": 3, "reason": "line"}],
        "flag": None,
    },
    {"id": b"0003", "text": None, "score": float("nan"), "tokens": [], "cuts": None, "flag": False},
    {"id": b"0004", "text": "", "score": -0.0, "tokens": [65535], "cuts": [{"start": 0, "reason": None}], "flag": True},
]


def digest(*batches: pa.RecordBatch) -> str:
    running = ContentDigest(SCHEMA)
    for batch in batches:
        running.update(batch)
    return running.hexdigest()


def whole(rows: list[dict] | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(ROWS if rows is None else rows, schema=SCHEMA)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_batches_and_slices_do_not_count(cut: int) -> None:
    assert digest(whole().slice(0, cut), whole().slice(cut)) == digest(whole())


@pytest.mark.parametrize(
    "column, row, value",
    [
        ("id", 0, b"0002"),
        ("text", 1, "一页网業"),
        ("text", 2, ""),
        ("score", 0, 0.25),
        ("score", 1, 0.0),
        ("tokens", 0, [1, 3]),
        ("tokens", 1, []),
        ("cuts", 1, [{"start": 3, "reason": "word"}]),
        ("flag", 1, False),
    ],
)
def test_every_value_counts(column: str, row: int, value: object) -> None:
    rows = [dict(r) for r in ROWS]
    rows[row][column] = value
    assert digest(whole(rows)) != digest(whole())


def test_a_boundary_between_texts_counts() -> None:
    left = [ROWS[0] | {"text": "ab"}, ROWS[0] | {"text": "c"}]
    right = [ROWS[0] | {"text": "a"}, ROWS[0] | {"text": "bc"}]
    assert digest(whole(left)) != digest(whole(right))


def test_order_and_column_names_count() -> None:
    assert digest(whole(ROWS[::-1])) != digest(whole())
    with pytest.raises(ValueError, match="columns"):
        ContentDigest(SCHEMA).update(whole().rename_columns(["x", *SCHEMA.names[1:]]))


def test_what_lies_under_a_null_does_not_count() -> None:
    text = pa.array(["hidden", "b"]).buffers()
    masked = pa.StringArray.from_buffers(2, text[1], text[2], pa.py_buffer(b"\x02"))
    schema = pa.schema([("t", pa.string())])
    digests = []
    for column in (masked, pa.array([None, "b"])):
        running = ContentDigest(schema)
        running.update(pa.record_batch([column], schema=schema))
        digests.append(running.hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("bounds", [[0, 4], [0, 0, 1, 1, 3, 4, 4], [1, 2, 3]])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1] * 4])
def test_digests_of_ranges_are_those_of_their_rows(bounds: list[int], rows: list[dict]) -> None:
    """With nulls and without, which goes another way."""
    table = pa.Table.from_batches([whole([ROWS[0], *rows]).slice(1)])
    expected = [digest(whole(rows).slice(start, stop - start)) for start, stop in zip(bounds, bounds[1:], strict=False)]
    assert range_digests(table, bounds) == expected


def test_nulls_count_by_their_places() -> None:
    digests = {digest(whole([ROWS[0] | {"score": s} for s in some])) for some in ([None, 0.0], [0.0, None], [0.0, 0.0])}
    assert len(digests) == 3
