"""Arrow schemas of everything that stages write; every column is documented here and in docs/schemas.md."""

from collections.abc import Sequence

import pyarrow as pa

ID = pa.binary(16)  # BLAKE2b of (source, archive path, offset or row, URL); shown as 32 hexadecimal digits
CUTS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("reason", pa.string())]))

DOC = pa.schema(
    [
        pa.field("doc_id", ID, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("source_id", pa.string()),  # the source's own id, or the WARC-Record-ID
        pa.field("snapshot", pa.string(), nullable=False),
        ("url", pa.string()),
        ("host", pa.string()),
        pa.field("lang", pa.string(), nullable=False),  # "?" until the stage `language` has run
        ("script", pa.string()),
        ("lang_score", pa.float32()),
        pa.field("text", pa.string(), nullable=False),
        ("archive", pa.string()),  # path relative to the source's root
        ("offset", pa.int64()),  # byte offset of the record in the archive, or row number
        ("length", pa.int64()),  # bytes of the record in the archive, of the line, or of what was read of the row
        ("date", pa.string()),  # as the source gives it; WARC-Date is ISO 8601
        ("charset", pa.string()),
        pa.field("priority", pa.int32(), nullable=False),  # lower is kept first
        ("cuts", CUTS),  # spans removed from the text as extracted, in characters
    ]
)

DROPPED = pa.schema(
    [
        pa.field("doc_id", ID, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("source_id", pa.string()),
        ("url", pa.string()),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        ("value", pa.float32()),  # what was measured, and the range that keeps
        ("lo", pa.float32()),
        ("hi", pa.float32()),
        ("failed", pa.list_(pa.uint16())),  # all rules that failed: index into the rule table in the footer
        ("kept_id", ID),  # duplicates: the document that stays
        ("score", pa.float32()),
        ("archive", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("text", pa.string()),  # a seeded sample of documents, for `manifests dropped`
    ]
)

CUT = pa.schema(  # trim and other stages that cut: one row for each cut, sorted as the documents are
    [
        pa.field("doc_id", ID, nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # code points of the text as read, as in DOC's cuts
        pa.field("end", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        ("text", pa.string()),  # what was cut; null where the document went
    ]
)

# Exchange layout: `key` is a 64-bit hash whose top 10 bits choose the row group.
KEY = pa.field("key", pa.uint64(), nullable=False)
HOME = pa.field("home", pa.uint64(), nullable=False)  # hash of the key of the task that wrote the document's text

CONTENT = pa.schema(  # sign -> exact: key = first 64 bits of the content hash
    [KEY, ("rest", pa.uint64()), ("priority", pa.int64()), ("doc_id", ID), HOME]  # priority: see stages/prefer.py
)
BANDS = pa.schema(  # sign -> match: key = hash of (band, its rows); the sketch estimates the similarity of a pair
    [
        KEY,
        ("content", pa.uint64()),
        ("priority", pa.int64()),
        ("doc_id", ID),
        HOME,
        ("sketch0", pa.uint64()),
        ("sketch1", pa.uint32()),  # SKETCH_BITS are 96
    ]
)
CANDIDATES = pa.schema(  # match -> shingles: key = home of `doc_id`, which meets the earlier document `pivot`
    [KEY, ("doc_id", ID), ("pivot", ID)]
)
SHINGLES = pa.schema(  # shingles -> verify: key = hash of `pivot`; one row for each document that meets it, itself too
    [
        KEY,
        ("pivot", ID),
        ("doc_id", ID),
        ("snapshot", pa.string()),
        ("priority", pa.int64()),
        HOME,
        ("shingles", pa.binary()),  # sorted distinct 64-bit hashes, little-endian: bytes cost less to store than a list
    ]
)
EDGES = pa.schema(  # verify -> cluster: a verified pair; `later` may go because `earlier` is kept
    [
        KEY,  # hash of `later`
        ("later", ID),
        ("later_rank", pa.uint16()),  # position of the document's snapshot
        ("later_priority", pa.int64()),
        ("later_size", pa.int32()),  # of its shingles, where longer documents are visited first; otherwise 0
        ("later_home", pa.uint64()),
        ("earlier", ID),
        ("earlier_rank", pa.uint16()),
        ("earlier_priority", pa.int64()),
        ("earlier_size", pa.int32()),
        ("score", pa.float32()),
    ]
)
CLUSTERS = pa.schema(  # cluster: how many documents a kept one stands for, itself among them; key: its first 64 bits
    [KEY, ("kept_id", ID), ("size", pa.int64())]
)
VERDICTS = pa.schema(  # exact, cluster -> apply: key = home of `doc_id`
    [KEY, ("doc_id", ID), ("kept_id", ID), ("reason", pa.string()), ("score", pa.float32())]
)
LINES = pa.schema(  # lines -> paragraphs: key = first 64 bits of the hash of the line, and of its host where asked for
    [
        KEY,
        ("rest", pa.uint64()),
        ("priority", pa.int32()),
        ("doc_id", ID),
        ("start", pa.int64()),  # bytes of the text at hand, white space at the ends of the line left out
        ("bytes", pa.int32()),
        HOME,
    ]
)
WINDOWS = pa.schema(  # windows -> substring: key = hash of the anchor that some consecutive windows of a text share
    [
        KEY,
        ("priority", pa.int32()),
        ("doc_id", ID),
        ("start", pa.int64()),  # bytes of the text at hand
        ("before", pa.uint16()),  # units of the stretch before its anchor
        HOME,
        ("units", pa.binary()),  # the stretch: its bytes, or its code points of four bytes each, little-endian
    ]
)
SPANS = pa.schema(  # paragraphs, substring -> apply: key = home of `doc_id`, whose bytes [start, end) occurred before
    [
        KEY,
        ("doc_id", ID),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("reason", pa.string()),
        ("kept_id", ID),  # where they occurred first
        ("kept_start", pa.int64()),
        ("whole_line", pa.bool_()),
    ]
)

PROBES = pa.schema(  # probe: one row for each language and range [low, high) of the true Jaccard; the last holds 1
    [
        ("lang", pa.string()),
        ("low", pa.float32()),
        ("high", pa.float32()),
        ("similar", pa.bool_()),  # from the threshold of `verify` on
        ("pairs", pa.int64()),
        ("expected", pa.float64()),  # sum over the pairs of the probability that they share a band
        ("proposed", pa.int64()),  # share a band
        ("likely", pa.int64()),  # and are above the floor of `match`
        ("verified", pa.int64()),
    ]
)

TOKENS_COLUMNS = [
    ("doc_id", ID),
    ("source", pa.string()),
    ("lang", pa.string()),
    ("source_id", pa.string()),
    ("url", pa.string()),
    ("archive", pa.string()),
    ("offset", pa.int64()),
]
PLACES = pa.schema(  # tokens -> why, where: key = hash of the doc_id, and again of the URL where there is one
    [KEY, ("doc_id", ID), ("shard", pa.string()), ("row", pa.int64()), ("first_token", pa.int64())]
)


def signals_schema(signals: Sequence[str]) -> pa.Schema:
    """Schema of what a filter measured: one row for each document that it saw, kept or not; null: not measured."""
    first = [("doc_id", ID), ("lang", pa.string()), ("kept", pa.bool_()), ("bytes", pa.int64())]  # bytes of text
    return pa.schema([*first, *((name, pa.float32()) for name in signals)])


def tokens_schema(vocabulary: int) -> pa.Schema:
    """Schema of a token shard: uint16 where the vocabulary fits, else uint32."""
    kind = pa.uint16() if vocabulary <= 1 << 16 else pa.uint32()
    return pa.schema([("tokens", pa.list_(kind)), *TOKENS_COLUMNS])
