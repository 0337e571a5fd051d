"""A corpus of eleven documents with known fates, written as a run writes it but without running a stage.

Two archives and a book list come in; English and Chinese each lose one document to a filter and one to a duplicate.
Every number that the tests expect can be counted in the table DOCS.
"""

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

from dedup.hashing import route
from manifests.fingerprint import fingerprint
from manifests.runs import RunStage, check_layout, root_hash, write_run
from manifests.shards import write_partitions
from manifests.storage import open_storage
from manifests.store import MERGED, Shard, commit, encode
from stages.output import Output, Place
from stages.schema import DOC, DROPPED, PLACES, tokens_schema

RULES = {
    "filter-en": [
        {"name": "word_count", "signal": "word_count", "lo": 50.0, "hi": 10000.0, "lang": "en", "source": "Gopher"},
        {"name": "stop_word_count", "signal": "stop_word_count", "lo": 2.0, "hi": None, "lang": "en", "source": ""},
        {"name": "few_lines", "signal": "line_count", "lo": 3.0, "hi": None, "lang": "en", "source": "ours"},
    ],
    "filter-zh": [{"name": "han_ratio", "signal": "han_ratio", "lo": 0.3, "hi": None, "lang": "zh", "source": "M"}],
}
RECIPE = """\
[[source]]
name = "web"
kind = "warc"
inputs = ["crawl/*.warc.gz"]
[[stage]]
use = "extract"
[[stage]]
use = "read"
[[stage]]
use = "language"
after = ["extract", "read"]
[[stage]]
use = "filter"
name = "filter-en"
lang = ["en"]
[[stage]]
use = "filter"
name = "filter-zh"
lang = ["zh"]
[[stage]]
use = "apply"
[[stage]]
use = "tokens"
"""


@dataclass(frozen=True)
class Doc:
    """One row of the table; a document without `stage` stays."""

    name: str
    archive: str
    lang: str
    text: str
    url: str | None = None
    source_id: str | None = None
    stage: str = ""
    reason: str = ""
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    failed: tuple[int, ...] = ()
    kept: str = ""
    score: float | None = None

    @property
    def source(self) -> str:
        return "books" if self.archive.startswith("books") else "web"

    @property
    def id(self) -> bytes:
        return hashlib.blake2b(self.name.encode(), digest_size=16).digest()


FEW = ("word_count", 12.0, 50.0, 10000.0, (0, 2))
DOCS = [
    Doc("tea", "0.warc", "en", "a" * 100, "http://tea.example/", "<urn:uuid:0a>"),
    Doc("stub", "0.warc", "en", "b" * 200, "http://tea.example/stub", None, "filter-en", *FEW),
    Doc("copy", "1.warc", "en", "a" * 100, "http://copy.example/", None, "apply", "exact", kept="tea", score=1.0),
    Doc("cha", "0.warc", "zh", "茶" * 100, "http://cha.example/茶"),
    Doc(
        "short",
        "1.warc",
        "zh",
        "短a" * 20,
        "http://cha.example/短",
        None,
        "filter-zh",
        "han_ratio",
        0.2,
        0.3,
        failed=(0,),
    ),
    Doc("mirror", "1.warc", "zh", "茶" * 99, "http://mirror.example/", None, "apply", "near", kept="cha", score=0.875),
    Doc("tea2", "1.warc", "en", "g" * 400, "http://tea.example/"),
    Doc("fr", "1.warc", "fr", "h" * 50, "http://fr.example/"),
    Doc("void", "0.warc", "?", "", "http://void.example/", None, "extract", "empty"),
    Doc("book", "books.jsonl", "zh", "书" * 50, None, "b-17"),
    Doc("note", "books.jsonl", "und", "k" * 10, None, "b-18"),
]
BY_NAME = {doc.name: doc for doc in DOCS}


def build(uri: str, docs: list[Doc] | None = None, recipe: str = RECIPE, name: str = "small") -> str:
    """Write a complete run below `uri`; gives its root hash. The recipe's text decides the stage ids."""
    storage = open_storage(uri)
    check_layout(storage)
    docs = DOCS if docs is None else docs
    builder = Builder(uri, recipe)
    rows: list[Shard] = [builder.fetched(path, n) for n, path in enumerate(["0.warc", "1.warc", "books.jsonl"])]
    rows.append(builder.fetched("copy-of-1.warc", 1, twin=True))
    for archive in ("0.warc", "1.warc", "books.jsonl"):
        entry = "read" if archive == "books.jsonl" else "extract"
        part = [doc for doc in docs if doc.archive == archive]
        rows += builder.run_pass([entry, "language", "filter-en", "filter-zh"], part, archive)
        part = [doc for doc in part if doc.stage in ("", "apply")]
        rows += builder.run_pass(["apply"], part, archive)
    for source in ("books", "web"):
        rows += builder.run_tokens([doc for doc in docs if doc.source == source and not doc.stage], source)
    for stage in ("filter-zh", "apply", "tokens"):
        ends = {row.commit_key for row in rows if row.stage == stage}
        storage.put(f"{builder.folder(stage)}/{MERGED}", encode([row for row in rows if row.commit_key in ends]))
    root, tokens = root_hash(rows), root_hash(rows, ("tokens",))
    stages = [
        RunStage(i, stage, use, builder.ids[stage], after, name, recipe, root, tokens)
        for i, (stage, use, after) in enumerate(GRAPH)
    ]
    write_run(storage, stages, {stage: [row for row in rows if row.stage == stage] for stage, _, _ in GRAPH})
    return root


GRAPH: list[tuple[str, str, tuple[str, ...]]] = [
    ("fetch", "fetch", ()),
    ("extract", "extract", ()),
    ("read", "read", ()),
    ("language", "language", ("extract", "read")),
    ("filter-en", "filter", ("language",)),
    ("filter-zh", "filter", ("filter-en",)),
    ("apply", "apply", ("filter-zh",)),
    ("tokens", "tokens", ("apply",)),
]


class Builder:
    """Writes what the tasks of each stage would commit."""

    def __init__(self, uri: str, recipe: str) -> None:
        self.storage = open_storage(uri)
        self.ids = {stage: fingerprint(stage, recipe, size=8) for stage, _, _ in GRAPH}

    def folder(self, stage: str) -> str:
        return f"{stage}-{self.ids[stage]}"

    def fetched(self, path: str, number: int, twin: bool = False) -> Shard:
        key = fingerprint("file", path)
        return Shard(
            "fetch", self.ids["fetch"], key, key, "input", "file", f"{number:032x}", 1, f"/crawl/{path}", bytes=number,
            source="books" if "books" in path else "web", inputs=(path,),
            counters=(("duplicate_input", int(twin)), ("files", 1)),
        )  # fmt: skip

    def output(self, stage: str, key: str, last: str, source: str) -> Output:
        place = Place(stage, self.ids[stage], self.folder(stage), key, last, source, "1", (), "{}")
        return Output(self.storage, place)

    def run_pass(self, steps: list[str], docs: list[Doc], archive: str) -> list[Shard]:
        """The rows of a pass: each step drops the documents that the table sends away there; the last one stores."""
        keys = [fingerprint(self.ids[step], archive) for step in steps]
        source = docs[0].source
        outs = [self.output(step, key, keys[-1], source) for step, key in zip(steps, keys, strict=True)]
        known = steps[0] == "apply"
        for step, out in zip(steps, outs, strict=True):
            before = known
            known |= step == "language"
            kept = [doc for doc in docs if doc.stage != step]
            gone = [doc for doc in docs if doc.stage == step]
            for doc in docs:
                size, lang = len(doc.text.encode()), doc.lang if known else "?"
                out.counters[f"in/{source}/{doc.lang if before else '?'}/docs"] += 1
                out.counters[f"in/{source}/{doc.lang if before else '?'}/bytes"] += size
                if step == "language":
                    out.counters[f"moved/{source}/?/{lang}/docs"] += 1
                    out.counters[f"moved/{source}/?/{lang}/bytes"] += size
                kind, end = ("dropped", f"/{doc.reason}") if doc in gone else ("kept", "")
                out.counters[f"{kind}/{source}/{lang}/docs{end}"] += 1
                out.counters[f"{kind}/{source}/{lang}/bytes{end}"] += size
            if step == "extract":
                out.counters[f"archive/{source}/read"] += 1000
                out.counters[f"archive/{source}/records"] += 990
                out.counters[f"archive/{source}/lost"] += 10
            stored = step == steps[-1]
            out.file("docs", "docs", DOC, stored=stored).write(batch([doc_row(doc, known) for doc in kept], DOC))
            rules = {"rules": json.dumps(RULES[step])} if step in RULES else {}
            writer = out.file("dropped", "dropped", DROPPED, metadata=rules)
            writer.write(batch([dropped_row(doc, known) for doc in gone], DROPPED))
            docs = kept
        rows = [row for out in outs for row in out.finish(0.0, 0)]
        return commit(self.storage, self.folder(steps[-1]), keys[-1], rows)

    def run_tokens(self, docs: list[Doc], source: str) -> list[Shard]:
        """Token shards by language, one token per character, and the side table of places."""
        key = fingerprint(self.ids["tokens"], source)
        out = self.output("tokens", key, key, source)
        schema, places = tokens_schema(8000), []
        for lang in sorted({doc.lang for doc in docs}):
            first = 0
            rows = []
            for number, doc in enumerate(d for d in docs if d.lang == lang):
                row = {"tokens": list(range(len(doc.text))), "doc_id": doc.id, "source": source, "lang": lang}
                rows.append(row | {"source_id": doc.source_id, "url": doc.url, "archive": doc.archive, "offset": 7})
                where = {"doc_id": doc.id, "shard": f"{key}/{source}/{lang}", "row": number, "first_token": first}
                places += [{"key": route(name)} | where for name in (doc.id, doc.url) if name]
                first += len(doc.text)
                size = len(doc.text.encode())
                for kind in ("in", "kept"):
                    out.counters[f"{kind}/{source}/{lang}/docs"] += 1
                    out.counters[f"{kind}/{source}/{lang}/bytes"] += size
            out.file("tokens", "tokens", schema, lang=lang, count="tokens").write(batch(rows, schema))
        write_partitions(out.file("places", "side", PLACES), pa.Table.from_pylist(places, schema=PLACES), "key")
        return commit(self.storage, self.folder("tokens"), key, out.finish(0.0, 0))


def batch(rows: list[dict], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def doc_row(doc: Doc, known: bool) -> dict:
    """The DOC row of a document; one span of the French page was cut."""
    return {
        "doc_id": doc.id,
        "source": doc.source,
        "source_id": doc.source_id,
        "snapshot": "1",
        "url": doc.url,
        "lang": doc.lang if known else "?",
        "script": "hans" if known and doc.lang == "zh" else None,
        "lang_score": 0.9 if known else None,
        "text": doc.text,
        "archive": doc.archive,
        "offset": 7,
        "length": 70,
        "priority": 0,
        "cuts": [{"start": 5, "end": 25, "reason": "boilerplate"}] if doc.name == "fr" else [],
    }


def dropped_row(doc: Doc, known: bool) -> dict:
    """The DROPPED row of a document; the text of the short page was sampled."""
    return {
        "doc_id": doc.id,
        "source": doc.source,
        "source_id": doc.source_id,
        "url": doc.url,
        "lang": doc.lang if known else "?",
        "stage": doc.stage,
        "reason": doc.reason,
        "value": doc.value,
        "lo": doc.lo,
        "hi": doc.hi,
        "failed": list(doc.failed) or None,
        "kept_id": BY_NAME[doc.kept].id if doc.kept else None,
        "score": doc.score,
        "archive": doc.archive,
        "offset": 7,
        "length": 70,
        "text": doc.text if doc.name == "short" else None,
    }
