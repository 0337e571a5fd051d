"""Token shards: documents and a tokenizer in, one file for each language of a shard out, a row for each document.

Row groups end at the document that brings them to 256k tokens; their token counts stand in the footer and in the
manifest, and training needs nothing else. A side table says where the tokens of each doc_id and each URL lie. Which
tokenizer it was, its vocabulary, end-of-document id and dtype are the name of a counter, which counts the documents
encoded with it.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.fingerprint import fingerprint
from manifests.shards import TOKEN_GROUP_TOKENS, ShardWriter, read_batches, write_partitions
from manifests.storage import Storage
from manifests.store import Shard
from manifests.why import place_key
from stages.base import Plan, Stage, Task, UserError
from stages.output import Output
from stages.schema import PLACES, TOKENS_COLUMNS, tokens_schema
from tokenizer.opened import Encoder, open_tokenizer

PROVENANCE = [name for name, _ in TOKENS_COLUMNS]


@dataclass(frozen=True)
class Tokens(Stage):
    """Encodes the documents of the stages above it with the tokenizer of the one `vocab` stage among them."""

    use: ClassVar[str] = "tokens"
    libraries: ClassVar[tuple[str, ...]] = ("sentencepiece",)
    version: ClassVar[int] = 3

    def tasks(self, plan: Plan) -> list[Task]:
        models = plan.rows("tokenizer")
        if not models:
            return []
        if len(models) > 1:
            raise UserError(f"stage {self.name}: {len(models)} tokenizers come before it; name one `vocab` in `after`")
        return [
            Task(
                fingerprint(plan.stage_id, [(row.task_key, row.output, row.digest)], models[0].digest),
                inputs=(row, models[0]),
                snapshot=row.snapshot or "",
                size=row.bytes,
            )
            for row in plan.rows("docs")
            if row.rows
        ]

    def open(self, storage: Storage) -> "Encoding":
        return Encoding(storage)


class Encoding:
    """Encodes one shard of documents at a time; the tokenizer stays open between tasks."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.digest = ""
        self.tokenizer: Encoder | None = None

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        docs, model = task.inputs
        tokenizer = self._open(model)
        files: dict[str, TokenFile] = {}
        before = tokenizer.forced
        for batch in read_batches(self.storage, docs.path or "", [*PROVENANCE, "text"]):
            langs = batch["lang"]
            sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
            for kind in ("in", "kept"):
                out.tally(kind, langs.to_pylist(), sizes)
            for lang in pc.unique(langs).to_pylist():
                if lang not in files:
                    files[lang] = TokenFile(tokenizer, out, lang)
                files[lang].write(batch.filter(pc.equal(langs, lang)))
        for file in files.values():
            file.finish()
        places = pa.concat_tables([PLACES.empty_table(), *(file.places() for file in files.values())])
        write_partitions(out.file("places", "side", PLACES), places, "key")
        out.counters["side/places/in"] = docs.rows + sum(file.named for file in files.values())
        out.counters["side/places/out/written"] = places.num_rows
        facts = f"{tokenizer.digest}/vocabulary={tokenizer.size}/eod={tokenizer.eod}/{tokenizer.dtype.name}"
        out.counters[f"tokenizer/{facts}"] = docs.rows
        out.counters["tokens/forced_cuts"] = tokenizer.forced - before
        # A tokenizer from elsewhere may normalise; how often it did is told, since the text cannot be had back.
        out.counters["tokens/not_exact"] = sum(file.changed for file in files.values())

    def _open(self, model: Shard) -> Encoder:
        if self.tokenizer is None or self.digest != model.digest:
            self.tokenizer, self.digest = open_tokenizer(self.storage.get(model.path or "")), model.digest
            if self.tokenizer.digest != model.digest:
                raise UserError(f"{model.path} is not the tokenizer that its manifest names; remove it and run again")
        return self.tokenizer


class TokenFile:
    """The token shard of one language within a task, and where its documents lie in it."""

    def __init__(self, tokenizer: Encoder, out: Output, lang: str) -> None:
        self.tokenizer = tokenizer
        self.schema = tokens_schema(tokenizer.size)
        self.name = f"{out.place.task_key}/{out.place.source}/{lang}"
        self.footer = {
            "tokenizer": tokenizer.digest,
            "vocabulary": str(tokenizer.size),
            "eod": str(tokenizer.eod),
            "dtype": tokenizer.dtype.name,
        }
        self.writer: ShardWriter = out.file(
            "tokens", "tokens", self.schema, lang, TOKEN_GROUP_TOKENS, "tokens", self.footer
        )
        self.tokens = 0
        self.changed = 0  # documents that do not come back byte for byte
        self.named = 0  # documents with a URL
        self.parts: list[pa.RecordBatch] = []  # rows of the side table
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode documents and add them in order."""
        ids, offsets = self.tokenizer.encode_documents(batch["text"])
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids))
        columns = [lists if field.name == "tokens" else batch[field.name] for field in self.schema]
        self.writer.write(pa.record_batch(columns, schema=self.schema))
        self._place(batch["doc_id"], batch["url"], self.tokens + offsets[:-1])
        self.tokens += len(ids)
        if not self.tokenizer.exact:
            for text, a, b in zip(batch["text"].to_pylist(), offsets, offsets[1:], strict=False):
                self.changed += self.tokenizer.decode(ids[a : b - 1]) != text

    def finish(self) -> None:
        """End the last row group and complete the footer, which the writer takes as it closes the file."""
        if self.writer.pending:
            self.writer.cut()
        counts = [{"rows": group.rows, "tokens": group.tokens} for group in self.writer.groups]
        self.footer["row_groups"] = json.dumps(counts, separators=(",", ":"))

    def places(self) -> pa.Table:
        """Rows of the side table for the documents of the file."""
        return pa.Table.from_batches(self.parts, schema=PLACES)

    def _place(self, ids: pa.Array, urls: pa.Array, firsts: np.ndarray) -> None:
        """Add rows of the side table for documents: each under its id, and under its URL where it has one."""
        keys = [place_key(doc_id) for doc_id in ids.to_pylist()]
        named = np.flatnonzero(pc.fill_null(pc.not_equal(urls, ""), False).to_numpy(zero_copy_only=False))
        keys += [place_key(url) for url in urls.take(pa.array(named)).to_pylist()]
        which = np.concatenate([np.arange(len(ids)), named])
        columns = [
            pa.array(keys, pa.uint64()),
            ids.take(pa.array(which)),
            pa.array([self.name] * len(which), pa.string()),
            pa.array(self.rows + which),
            pa.array(firsts[which]),
        ]
        self.parts.append(pa.record_batch(columns, schema=PLACES))
        self.named += len(named)
        self.rows += len(ids)
