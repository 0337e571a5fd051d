"""`python -m tokenizer train|report|cat|export`: a corpus in; a model, a table, text or shards out."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from manifests.storage import StorageError, open_input, open_storage
from tokenizer.corpus import Root, documents, footer, shard_documents
from tokenizer.export import export
from tokenizer.opened import Encoder, open_tokenizer
from tokenizer.report import Line, measure, table
from tokenizer.sample import Sample, Shares, order_of, unseen
from tokenizer.train import train

PLACES = "roots of corpora, Parquet files of documents, or folders of them; local or s3://"


def parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    made = argparse.ArgumentParser(prog="python -m tokenizer", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", help="train a model")
    command.add_argument("corpus", nargs="+", help=PLACES)
    command.add_argument("--out", type=Path, required=True, help="model file to write")
    command.add_argument("--size", type=int, default=64_000, help="most pieces of the vocabulary")
    command.add_argument("--sample-bytes", type=int, default=256 << 20, help="text of each language")
    command.add_argument("--most-bytes", type=int, default=1 << 30, help="text of the whole sample")
    command.add_argument(
        "--weight",
        action="append",
        default=[],
        type=weight,
        metavar="PART=X",
        help="only parts that are named (zh, books/*, books/zh), with X times --sample-bytes",
    )
    command = commands.add_parser("report", help="how well tokenizers compress a corpus")
    command.add_argument("corpus", nargs="+", help=PLACES)
    command.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="SentencePiece models or tokenizer.json to show beside the root's",
    )
    command.add_argument(
        "--unseen", action="store_true", help="only documents that the root's model was not trained on"
    )
    command.add_argument("--share", type=float, default=1.0, help="share of the documents to read, chosen by their ids")
    command.add_argument("--json", action="store_true")
    command.add_argument("--plot", metavar="FILE", help="also draw it, as .png or .svg")
    command = commands.add_parser("cat", help="print the documents of a token shard, one JSON object a line")
    command.add_argument("shard", help="a file, or its s3:// address")
    command.add_argument("--decode", action="store_true", help="text instead of ids")
    command.add_argument("--model", help="the model, if it is not in the shard's corpus")
    command.add_argument("--limit", type=int, default=sys.maxsize, help="documents to print")
    command = commands.add_parser("export", help="write token shards in the format of another trainer")
    command.add_argument("root", help="root of a corpus, local or s3://")
    command.add_argument("--to", choices=("megatron", "hf"), required=True)
    command.add_argument("out", type=Path, help="a new folder")
    return made


def weight(text: str) -> tuple[str, float]:
    """A part of the corpus and its weight."""
    part, _, value = text.partition("=")
    if float(value) < 0:
        raise ValueError
    return part, float(value)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 for a mistake of the user."""
    given = parser().parse_args(arguments)
    run = {"train": train_command, "report": report_command, "cat": cat_command, "export": export_command}
    try:
        run[given.command](given)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, StorageError, pa.ArrowException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def train_command(given: argparse.Namespace) -> None:
    """Train a model on documents chosen by the hash of their ids."""
    sample = Sample(Shares(given.sample_bytes, tuple(sorted(given.weight)), given.most_bytes))
    for batch in documents(given.corpus):
        sample.add(batch)
    trained = train(sample.texts(), given.size)
    given.out.write_bytes(trained.model)
    model = open_tokenizer(trained.model)
    counters = sample.counters() + trained.counters
    print(json.dumps({"digest": model.digest, "pieces": model.size} | dict(sorted(counters.items()))))


def report_command(given: argparse.Namespace) -> None:
    """Print the compression of some tokenizers over the same documents."""
    tokenizers: dict[str, Encoder] = {}
    counters: dict[str, int] = {}
    roots = [root for root in map(Root.at, given.corpus) if root]
    for root in roots[:1]:
        for row in root.models():
            tokenizers[row.stage] = open_tokenizer(root.storage.get(row.path or ""))
            counters = row.count()
    for text in given.model:
        name, address = named(text)
        tokenizers[name if name not in tokenizers else text] = opened(address)
    if not tokenizers:
        raise ValueError("no tokenizer: name some with --model, or a corpus that has one")
    if given.unseen and not any(name.endswith("/last") for name in counters):
        raise ValueError("--unseen is for the root of a corpus whose tokenizer was trained there")
    lines = measure(tokenizers, chosen(given, counters if given.unseen else None))
    if not lines:
        raise ValueError("no document is left to measure; the tokenizer was trained on all, or --share is too small")
    if given.plot:
        drawn(lines, given.plot)
    print(json.dumps([line.as_dict() for line in lines], indent=1) if given.json else table(lines))


def named(text: str) -> tuple[str, str]:
    """The name under which `NAME=FILE` or `FILE` is shown, and the file."""
    name, equals, address = text.partition("=")
    if equals and not Path(text).exists():
        return name, address
    path = Path(text)
    return (path.stem if path.stem != "tokenizer" else path.absolute().parent.name), text


def opened(address: str) -> Encoder:
    """The tokenizer in a file."""
    with open_input(address) as file:
        data = file.read()
    try:
        return open_tokenizer(data)
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from error


def chosen(given: argparse.Namespace, counters: dict[str, int] | None) -> Iterator[pa.RecordBatch]:
    """The documents to measure: a share of them from the end of the order of choice, or those behind a sample."""
    first = int((1 - min(1.0, given.share)) * 2.0**64)
    for batch in documents(given.corpus):
        ids, sources, langs = (batch[name].to_pylist() for name in ("doc_id", "source", "lang"))
        keep = [order_of(doc_id) >= first for doc_id in ids]
        if counters is not None:
            new = (unseen(s, n, i, counters) for i, s, n in zip(ids, sources, langs, strict=True))
            keep = [a and b for a, b in zip(keep, new, strict=True)]
        yield batch.filter(pa.array(keep, pa.bool_()))


def drawn(lines: list[Line], file: str) -> None:
    """Draw the report; ValueError where matplotlib is not there."""
    try:
        from tokenizer.plot import plot
    except ModuleNotFoundError as error:
        raise ValueError(
            "--plot needs matplotlib; install it with `pip install -c constraints.txt -e '.[plot]'`"
        ) from error
    plot(lines, file)


def cat_command(given: argparse.Namespace) -> None:
    """Print the documents of a token shard."""
    facts = footer(given.shard)
    tokenizer = opened(model_of(given, facts["tokenizer"])) if given.decode else None
    if tokenizer and tokenizer.digest != facts["tokenizer"]:
        raise ValueError(f"{given.shard} was written with the tokenizer {facts['tokenizer']}, not {tokenizer.digest}")
    left = given.limit
    for group in shard_documents([given.shard]):
        for row in group.slice(0, left).to_pylist():
            ids, row["doc_id"] = row.pop("tokens"), row["doc_id"].hex()
            row |= {"text": tokenizer.decode(ids)} if tokenizer else {"tokens": ids}
            print(json.dumps(row, ensure_ascii=False))
            left -= 1
        if left <= 0:
            return


def model_of(given: argparse.Namespace, digest: str) -> str:
    """The model of a token shard: the one given, or that of its corpus."""
    if given.model:
        return str(given.model)
    root = Root.at(open_storage(given.shard).uri.rsplit("/", 2)[0] or "/")
    found = [root.address(row) for row in root.models() if row.digest == digest] if root else []
    if not found:
        raise ValueError(f"the last run of the corpus of {given.shard} has no model {digest}; name it with --model")
    return found[0]


def export_command(given: argparse.Namespace) -> None:
    """Write the streams of a corpus and print what each holds."""
    root = Root.at(given.root)
    if not root:
        raise ValueError(f"{given.root} is not the root of a corpus: it has no manifests/run.parquet")
    for name, counts in export(root, given.to, given.out).items():
        print(f"{name}: {counts['documents']:,} documents, {counts['tokens']:,} tokens")


if __name__ == "__main__":
    sys.exit(main())
