"""The merged manifests in the tools that people have: a group-by by stage in polars, DuckDB and pyarrow agrees."""

import re
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from manifests.latest import open_run
from manifests.runs import RUN_ROW
from manifests.store import ROW
from stages import schema as schemas
from tests.conftest import REPO

STAGES = ("extract", "language", "filter-en", "filter-zh", "apply", "tokens")


@pytest.fixture(scope="module")
def files(small_corpus: Path) -> list[str]:
    return [str(small_corpus / f"manifests/{stage}.parquet") for stage in STAGES]


@pytest.fixture(scope="module")
def expected(small_corpus: Path) -> dict[str, tuple[int, int, int]]:
    """By stage: manifest rows, data rows, bytes; as our own reader has them."""
    rows = open_run(str(small_corpus)).rows
    return {s: (len(rows[s]), sum(r.rows for r in rows[s]), sum(r.bytes for r in rows[s])) for s in STAGES}


def test_polars(files: list[str], expected: dict[str, tuple[int, int, int]]) -> None:
    table = pl.concat([pl.read_parquet(file) for file in files])
    found = table.group_by("stage").agg(pl.len(), pl.col("rows").sum(), pl.col("bytes").sum())
    assert {stage: tuple(rest) for stage, *rest in found.iter_rows()} == expected


def test_duckdb(files: list[str], expected: dict[str, tuple[int, int, int]]) -> None:
    query = "select stage, count(*), sum(rows)::bigint, sum(bytes)::bigint from read_parquet(?) group by stage"
    with duckdb.connect() as connection:
        found = connection.execute(query, [files]).fetchall()
    assert {stage: tuple(rest) for stage, *rest in found} == expected


def test_pyarrow(files: list[str], expected: dict[str, tuple[int, int, int]]) -> None:
    table = ds.dataset(files).to_table(["stage", "rows", "bytes"])
    found = table.group_by("stage").aggregate([([], "count_all"), ("rows", "sum"), ("bytes", "sum")]).to_pylist()
    assert {row["stage"]: (row["count_all"], row["rows_sum"], row["bytes_sum"]) for row in found} == expected


def test_kept_documents_by_language_from_the_counters(small_corpus: Path, files: list[str]) -> None:
    """The counters are a map column: what `filter-zh` kept of each language, en and zh, in each tool."""
    file = str(small_corpus / "manifests/filter-zh.parquet")
    wanted = {"en": 3, "zh": 3, "fr": 1, "und": 1}
    entry = pl.Struct({"key": pl.String, "value": pl.Int64})
    counters = (
        pl.read_parquet(file).select(pl.col("counters").cast(pl.List(entry)).explode().struct.unnest()).drop_nulls()
    )
    kept = counters.filter(pl.col("key").str.contains("^kept/.*/docs$")).with_columns(
        pl.col("key").str.split("/").list.get(2).alias("lang")
    )
    assert dict(kept.group_by("lang").agg(pl.col("value").sum()).iter_rows()) == wanted
    query = """
        with counted as (select unnest(map_entries(counters)) as entry from read_parquet(?))
        select split_part(entry.key, '/', 3), sum(entry.value)::bigint from counted
        where entry.key like 'kept/%/docs' group by 1
    """
    with duckdb.connect() as connection:
        assert dict(connection.execute(query, [file]).fetchall()) == wanted
    entries = ds.dataset(file).to_table(["counters"])["counters"].combine_chunks()
    found: dict[str, int] = {}
    for key, value in zip(entries.keys.to_pylist(), entries.items.to_pylist(), strict=True):
        if key.startswith("kept/") and key.endswith("/docs"):
            found[key.split("/")[2]] = found.get(key.split("/")[2], 0) + value
    assert found == wanted


def test_run_parquet(small_corpus: Path) -> None:
    run = pl.read_parquet(small_corpus / "manifests/run.parquet")
    assert run["stage"].to_list()[:3] == ["fetch", "extract", "read"]
    assert run["root"].n_unique() == 1 and len(run["root"][0]) == 32
    query = "select stage from read_parquet(?) where list_contains(after, 'extract')"
    with duckdb.connect() as connection:
        assert connection.execute(query, [str(small_corpus / "manifests/run.parquet")]).fetchall() == [("language",)]


def test_dropped_rows_in_duckdb(small_corpus: Path) -> None:
    """Data files open without us, too: why documents went, by stage and reason."""
    query = "select stage, reason, count(*) from read_parquet(?) where reason is not null group by all order by all"
    files = [row.path for rows in open_run(str(small_corpus)).rows.values() for row in rows if row.output == "dropped"]
    with duckdb.connect() as connection:
        found = connection.execute(query, [[str(small_corpus / str(file)) for file in files]]).fetchall()
    assert found == [
        ("apply", "exact", 1),
        ("apply", "near", 1),
        ("extract", "empty", 1),
        ("filter-en", "word_count", 1),
        ("filter-zh", "han_ratio", 1),
    ]


def test_the_row_groups_of_token_shards(small_corpus: Path) -> None:
    """Tokens per row group, which training counts on, sum up to the tokens of the row."""
    table = ds.dataset(small_corpus / "manifests/tokens.parquet").to_table(filter=pc.field("kind") == "tokens")
    for row in table.to_pylist():
        assert sum(group["tokens"] for group in row["row_groups"]) == row["tokens"] > 0


@pytest.mark.parametrize(
    "schema",
    [
        ROW,
        RUN_ROW,
        *(getattr(schemas, name) for name in sorted(vars(schemas)) if isinstance(vars(schemas)[name], pa.Schema)),
    ],
)
def test_every_column_is_documented(schema: pa.Schema) -> None:
    words = set(re.findall(r"[a-z_0-9]+", (REPO / "docs/schemas.md").read_text(encoding="utf-8")))
    assert set(schema.names) <= words


def test_the_query_of_the_documentation(small_corpus: Path) -> None:
    text = (REPO / "docs/schemas.md").read_text(encoding="utf-8")
    query = text.split("```sql\n")[1].split("```")[0].replace("runs/sample", str(small_corpus))
    with duckdb.connect() as connection:
        found = connection.execute(query).fetchall()
    assert ("apply", "docs", 6) in {row[:3] for row in found}
