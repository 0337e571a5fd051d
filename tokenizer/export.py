"""Token shards for other trainers: the streams of a corpus in; Megatron's `.bin` and `.idx`, or Parquet for the library
`datasets`, out. Documents keep the order in which our own training reads them, and their end-of-document tokens.

Everything is written beside its place and moved there at the end, so that half an export never looks like a whole one.
"""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tokenizer.corpus import Root, footer, shard_documents

# Megatron-Core's indexed data sets: magic, version, and its numbers for the types that token ids fit in.
MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
MEGATRON_TYPES: dict[str, tuple[int, np.dtype]] = {"uint16": (8, np.dtype("<u2")), "uint32": (4, np.dtype("<i4"))}
PROVENANCE = ["source", "lang", "source_id", "url", "archive", "offset"]
HF_SCHEMA = pa.schema(
    [("input_ids", pa.list_(pa.int32())), ("doc_id", pa.string())]
    + [(name, pa.int64() if name == "offset" else pa.string()) for name in PROVENANCE]
)


def export(root: Root, to: str, out: Path) -> dict[str, dict[str, int]]:
    """Write all streams of a root to a local folder; gives documents and tokens of each."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already; name a new folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write = {"megatron": megatron, "hf": parquet}[to]
    counts = {}
    for (source, lang), rows in root.streams().items():
        found = write(list(map(root.address, rows)), part, f"{source}/{lang}")
        stated = {"documents": sum(row.rows for row in rows), "tokens": sum(row.tokens or 0 for row in rows)}
        if found != stated:
            raise ValueError(
                f"{source}/{lang}: the shards hold {found}, their manifest says {stated}; verify {root.storage.uri}"
            )
        counts[f"{source}/{lang}"] = found
    (part / "README.md").write_text(card(root, to, counts), encoding="utf-8")
    for model in root.models():
        (part / f"tokenizer{Path(model.path or '').suffix}").write_bytes(root.storage.get(model.path or ""))
    if out.exists():
        out.rmdir()
    part.rename(out)
    return counts


def megatron(paths: list[str], out: Path, stream: str) -> dict[str, int]:
    """One stream as `{source}/{lang}.bin`, the tokens end to end, and `.idx`, a sequence for each document."""
    code, dtype = MEGATRON_TYPES[footer(paths[0])["dtype"]]
    place = out / stream
    place.parent.mkdir(parents=True, exist_ok=True)
    sizes = []
    with open(f"{place}.bin", "wb") as file:
        for tokens, lengths in token_lists(paths):
            file.write(tokens.astype(dtype).data)
            sizes.append(lengths.astype("<i4"))
    lengths = np.concatenate([np.zeros(0, "<i4"), *sizes])
    ends = np.cumsum(lengths, dtype="<i8")
    with open(f"{place}.idx", "wb") as file:
        # The list of documents has one entry more than there are: the first sequence of each, and the end.
        file.write(MAGIC + struct.pack("<QBQQ", VERSION, code, len(lengths), len(lengths) + 1))
        file.write(lengths.data)
        file.write(((ends - lengths) * dtype.itemsize).astype("<i8").data)
        file.write(np.arange(len(lengths) + 1, dtype="<i8").data)
    return {"documents": len(lengths), "tokens": int(lengths.sum(dtype=np.int64))}


def parquet(paths: list[str], out: Path, stream: str) -> dict[str, int]:
    """One stream as `data/{source}/{lang}/NNNNN.parquet`, a file for each shard."""
    folder = out / "data" / stream
    folder.mkdir(parents=True)
    counts = {"documents": 0, "tokens": 0}
    for number, path in enumerate(paths):
        with pq.ParquetWriter(folder / f"{number:05d}.parquet", HF_SCHEMA, compression="zstd") as writer:
            for table in shard_documents([path], ["tokens", "doc_id", *PROVENANCE]):
                ids = pa.array([doc_id.hex() for doc_id in table["doc_id"].to_pylist()], pa.string())
                columns = [table["tokens"].cast(HF_SCHEMA.field(0).type), ids, *(table[name] for name in PROVENANCE)]
                writer.write_table(pa.table(columns, schema=HF_SCHEMA), row_group_size=max(1, table.num_rows))
                counts["documents"] += table.num_rows
                counts["tokens"] += sum(len(chunk.flatten()) for chunk in table["tokens"].chunks)
    return counts


def token_lists(paths: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens of each row group, end to end, and the length of each document."""
    for table in shard_documents(paths, ["tokens"]):
        lists = table["tokens"].combine_chunks()
        yield lists.flatten().to_numpy(), np.diff(lists.offsets.to_numpy())


def card(root: Root, to: str, counts: dict[str, dict[str, int]]) -> str:
    """What lies in the export, in words; for `datasets` with the table that names each stream."""
    first = next(iter(root.streams().values()))[0]
    facts = footer(root.address(first))
    head = ""
    if to == "hf":
        split = "  data_files:\n  - split: train\n    path: data/"
        names = (f"- config_name: {name.replace('/', '-')}\n{split}{name}/*.parquet\n" for name in counts)
        head = f"---\nconfigs:\n{''.join(names)}---\n\n"
    lines = [f"| {name} | {count['documents']:,} | {count['tokens']:,} |" for name, count in counts.items()]
    return (
        f"{head}Token ids of one document in each row or sequence, its end-of-document token {facts['eod']} last. "
        f"Vocabulary {facts['vocabulary']}, tokenizer {facts['tokenizer']}.\n\n"
        "| stream | documents | tokens |\n|---|---|---|\n" + "\n".join(lines) + "\n"
    )
