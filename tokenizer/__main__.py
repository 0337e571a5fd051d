"""`python -m tokenizer train|report|cat`: Parquet files of documents or tokens in, a model, a table or text out."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tokenizer.encode import Tokenizer
from tokenizer.model import read_model
from tokenizer.report import measure, table
from tokenizer.sample import Sample
from tokenizer.train import train

# Columns that tell files of documents from those of dropped documents and of tokens.
DOCUMENT = {"doc_id", "source", "lang", "text", "priority"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 for a mistake of the user."""
    parser = argparse.ArgumentParser(prog="python -m tokenizer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("train", "train a model"), ("report", "how well models compress a corpus")):
        command = commands.add_parser(name, help=text)
        command.add_argument("corpus", nargs="+", type=Path, help="Parquet files of documents, or folders of them")
        if name == "train":
            command.add_argument("--out", type=Path, required=True, help="model file to write")
            command.add_argument("--size", type=int, default=64_000, help="most pieces of the vocabulary")
            command.add_argument("--sample-bytes", type=int, default=256 << 20, help="text of each language")
        else:
            command.add_argument("--model", nargs="+", type=Path, required=True, help="SentencePiece models")
            command.add_argument("--json", action="store_true")
    cat = commands.add_parser("cat", help="print the documents of a token shard, one JSON object a line")
    cat.add_argument("shard", type=Path)
    cat.add_argument("--decode", action="store_true", help="text instead of ids")
    cat.add_argument("--model", type=Path, help="the model, if it is not in the shard's corpus")
    cat.add_argument("--limit", type=int, default=sys.maxsize, help="documents to print")
    given = parser.parse_args(arguments)
    try:
        {"train": train_command, "report": report_command, "cat": cat_command}[given.command](given)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, pa.ArrowException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def train_command(given: argparse.Namespace) -> None:
    """Train a model on documents chosen by the hash of their ids."""
    sample = Sample(lambda lang: given.sample_bytes)
    for batch in documents(given.corpus, ["doc_id", "lang", "text"]):
        sample.add(batch)
    trained = train(sample.texts(), given.size)
    given.out.write_bytes(trained.model)
    model = read_model(trained.model)
    counters = sample.counters() + trained.counters
    print(json.dumps({"digest": model.digest, "pieces": len(model.pieces)} | dict(sorted(counters.items()))))


def report_command(given: argparse.Namespace) -> None:
    """Print the compression of some models over the same documents."""
    tokenizers = {path.stem: Tokenizer(path.read_bytes()) for path in given.model}
    lines = measure(tokenizers, documents(given.corpus, ["source", "lang", "text"]))
    print(json.dumps([line.as_dict() for line in lines], indent=1) if given.json else table(lines))


def cat_command(given: argparse.Namespace) -> None:
    """Print the documents of a token shard."""
    with pq.ParquetFile(given.shard) as file:
        footer = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items() if k != b"ARROW:schema"}
        if "tokenizer" not in footer:
            raise ValueError(f"{given.shard} is not a token shard: its footer names no tokenizer")
        tokenizer = Tokenizer(model_of(given, footer["tokenizer"]).read_bytes()) if given.decode else None
        if tokenizer and tokenizer.digest != footer["tokenizer"]:
            raise ValueError(
                f"{given.shard} was written with the tokenizer {footer['tokenizer']}, not {tokenizer.digest}"
            )
        left = given.limit
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).slice(0, left).to_pylist():
                ids, row["doc_id"] = row.pop("tokens"), row["doc_id"].hex()
                row |= {"text": tokenizer.decode(ids)} if tokenizer else {"tokens": ids}
                print(json.dumps(row, ensure_ascii=False))
                left -= 1
            if left <= 0:
                return


def model_of(given: argparse.Namespace, digest: str) -> Path:
    """The model of a token shard: the one given, or that of its corpus."""
    if given.model:
        return given.model
    found = sorted(given.shard.resolve().parent.parent.glob(f"*/*.{digest}.model"))
    if not found:
        raise ValueError(f"no model {digest} lies in the corpus of {given.shard}; name it with --model")
    return found[0]


def documents(places: list[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the document files below some folders, in order of their names."""
    found = False
    for place in places:
        for path in sorted(place.rglob("*.parquet")) if place.is_dir() else [place]:
            with pq.ParquetFile(path) as file:
                if DOCUMENT <= set(file.schema_arrow.names):
                    found = True
                    yield from file.iter_batches(1024, columns=columns, use_threads=False)
    if not found:
        raise ValueError(f"no Parquet file of documents in {', '.join(map(str, places))}")


if __name__ == "__main__":
    sys.exit(main())
