"""Where tokens went: a step in, its documents out; a document in, every step that sees it out; or an order as a file.

Nothing is logged to answer this. A step is computed from the plan and looked up in the shards; a document is looked up
in the side table `places` and taken back through the same arithmetic.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.storage import StorageError
from training.data import Reader, read_sequence
from training.find import Document, Place, find_documents, pieces
from training.order import Drawn, PlanError, check_world
from training.phases import Run, open_run
from training.plan import load_plan

ORDER = pa.schema(
    [
        ("step", pa.int64()),
        ("position", pa.int32()),
        ("stream", pa.dictionary(pa.int32(), pa.string())),
        ("epoch", pa.int32()),
        ("sequence", pa.int64()),
        ("first_token", pa.int64()),
    ]
)
ROWS = 1 << 20  # of a row group of an order


@dataclass(frozen=True)
class Seen:
    """One sequence of a step with its documents; `pushed_out`: tokens lost to fill-in-the-middle, by document."""

    drawn: Drawn
    rank: int
    tokens: int
    documents: tuple[Document, ...]
    pushed_out: tuple[int, ...]


@dataclass(frozen=True)
class Sighting:
    """One time that a document is seen: its tokens [start, end) at `at` of a sequence of a step."""

    phase: str
    step: int
    rank: int
    position: int
    epoch: int
    sequence: int
    at: int
    start: int
    end: int


def seen_at(run: Run, step: int, world: int = 1, rank: int | None = None) -> Iterator[Seen]:
    """The sequences of a step, or those of one rank, with their documents."""
    order = run.order.phase_at(step)
    phase = next(phase for phase in run.plan.phases if phase.name == order.name)
    corpus = run.corpus(order.name)
    reader = Reader(corpus)
    count = order.sequence + 1
    for position in range(rank or 0, order.batch, 1 if rank is None else world):
        drawn = order.locate((step - order.first_step) * order.batch + position)
        found = tuple(pieces(corpus, drawn.stream, drawn.first, count))
        read = read_sequence(reader, phase, order, drawn.stream, drawn.epoch, drawn.sequence)
        yield Seen(drawn, position % world, count, found, tuple(read.pushed_out.tolist()))
    reader.close()


def sightings(run: Run, place: Place, world: int = 1) -> Iterator[Sighting]:
    """Every time that a document is seen, by phase and step; a first token that is only a label counts too."""
    end = place.first + place.tokens
    for order in run.order.phases:
        if order.data != place.data:
            continue
        first = max(0, -(-(place.first - order.sequence) // order.sequence))
        for sequence in range(first, (end - 1) // order.sequence + 1):
            begin = sequence * order.sequence
            start, stop = max(place.first, begin), min(end, begin + order.sequence + 1)
            for drawn in order.find(place.stream, sequence):
                yield Sighting(
                    drawn.phase,
                    drawn.step,
                    drawn.position % world,
                    drawn.position,
                    drawn.epoch,
                    sequence,
                    start - begin,
                    start - place.first,
                    stop - place.first,
                )


def check_rank(run: Run, step: int, world: int, rank: int | None) -> None:
    """PlanError unless a step of the plan can be dealt to so many ranks, and the rank is one of them."""
    check_world([run.order.phase_at(step).batch], world)
    if rank is not None and not 0 <= rank < world:
        raise PlanError(f"there is no rank {rank} of {world}: give --world, the number of ranks")


def write_order(run: Run, name: str, out: str) -> str:
    """Write the order of a phase, one row for each sequence; gives the rolling digest at its end."""
    order = next((order for order in run.order.phases if order.name == name), None)
    if order is None:
        raise PlanError(f"no phase {name!r}; the plan has {', '.join(phase.name for phase in run.order.phases)}")
    before = run.order.rolling(order.first_step - 1) if order.first_step else ""
    names = pa.array([source.name for source in order.sources], pa.string())
    digest, tables, held = before, [], 0
    try:
        with pq.ParquetWriter(out, ORDER, compression="zstd") as writer:
            for step in range(order.first_step, order.end):
                draws = order.batch_at(step)
                columns = [
                    pa.array([step] * order.batch, pa.int64()),
                    pa.array(draws.positions, pa.int32()),
                    pa.DictionaryArray.from_arrays(pa.array(draws.streams, pa.int32()), names),
                    pa.array(draws.epochs, pa.int32()),
                    pa.array(draws.sequences),
                    pa.array(draws.sequences * order.sequence),
                ]
                tables.append(pa.record_batch(columns, schema=ORDER))
                held += order.batch
                digest = run.order.rolling(step, digest, since=step)
                if held >= ROWS or step == order.end - 1:
                    writer.write_table(pa.Table.from_batches(tables), row_group_size=ROWS)
                    tables, held = [], 0
            facts = {"data": order.data, "tokens": str(order.sequence), "before": before, "digest": digest}
            writer.add_key_value_metadata(facts)
    except OSError as error:
        raise PlanError(f"{out} cannot be written: {error.strerror or error}") from error
    return digest


def show_step(run: Run, step: int, world: int, rank: int | None) -> Iterator[str]:
    """The answer to `step` as lines."""
    phase = run.order.phase_at(step)
    where = f"rank {rank} of {world}" if rank is not None else f"{phase.batch:,} sequences"
    yield f"step {step:,} of phase {phase.name}, {where}; digest {run.order.digest(step)}"
    for seen in seen_at(run, step, world, rank):
        drawn = seen.drawn
        yield ""
        yield (
            f"position {drawn.position}, rank {seen.rank}: {drawn.stream} tokens {drawn.first:,} to "
            f"{drawn.first + seen.tokens:,}, epoch {drawn.epoch}"
        )
        for document, lost in zip(seen.documents, seen.pushed_out, strict=True):
            place = document.place
            out = f", of which {lost:,} pushed out" if lost else ""
            yield f"  {document.start:,} to {document.end:,} of {place.tokens:,}{out}  {place.url or place.source_id}"
            yield f"    {place.doc_id}  {place.archive} at {place.offset}"


def show_document(run: Run, name: str, world: int) -> Iterator[str]:
    """The answer to `doc` as lines; nothing where no document bears the name."""
    for place in find_documents(run.corpora, name):
        yield f"{place.doc_id}  {place.url or place.source_id}"
        last = place.first + place.tokens
        yield f"  {place.archive} at {place.offset}; {place.stream} tokens {place.first:,} to {last:,}"
        found = list(sightings(run, place, world))
        for s in found:
            what = f"tokens {s.start:,} to {s.end:,} of {place.tokens:,} at {s.at:,}"
            yield f"  {s.phase} step {s.step:,}, rank {s.rank}, position {s.position}, epoch {s.epoch}: {what}"
        if not found:
            yield "  no step of the plan sees it"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m training.where",
        description="`step N`: the documents of a step. `doc ID-OR-URL`: the steps that see a document.",
    )
    made.add_argument("question", nargs="?", choices=("step", "doc"))
    made.add_argument("name", nargs="?", metavar="N|ID|URL")
    made.add_argument("--plan", required=True, metavar="PLAN", help="a TOML file, or the name of a preset")
    made.add_argument("--corpus", default="", metavar="ROOT", help="root of the corpus, for phases that name none")
    made.add_argument("--world", type=int, default=1, metavar="W", help="number of ranks (1)")
    made.add_argument("--rank", type=int, metavar="R", help="only what this rank sees")
    made.add_argument("--order", metavar="FILE", help="write the order of a phase to a Parquet file")
    made.add_argument("--phase", metavar="NAME", help="the phase to write; the first if not given")
    made.add_argument("--json", action="store_true", help="one JSON object on each line")
    return made


def answer(chosen: argparse.Namespace) -> Iterator[str]:
    """The lines to print."""
    run = open_run(load_plan(chosen.plan, chosen.corpus))
    if chosen.order:
        digest = write_order(run, chosen.phase or run.order.phases[0].name, chosen.order)
        yield f"{chosen.order}: rolling digest {digest}"
    elif chosen.question is None or chosen.name is None:
        raise PlanError("ask `step N` or `doc ID-OR-URL`, or give --order FILE")
    elif chosen.question == "doc":
        check_world([phase.batch for phase in run.order.phases], chosen.world)
        if chosen.json:
            for place in find_documents(run.corpora, chosen.name):
                found = [asdict(sighting) for sighting in sightings(run, place, chosen.world)]
                yield json.dumps(asdict(place) | {"seen": found}, ensure_ascii=False)
        else:
            yield from show_document(run, chosen.name, chosen.world)
    elif not chosen.name.isdecimal():
        raise PlanError(f"{chosen.name} is no step: give a whole number")
    else:
        asked = (run, int(chosen.name), chosen.world, chosen.rank)
        check_rank(*asked)
        if chosen.json:
            yield from (json.dumps(asdict(seen), ensure_ascii=False) for seen in seen_at(*asked))
        else:
            yield from show_step(*asked)


def main(arguments: Iterable[str] | None = None) -> int:
    """Answer and print. Status: 0 answered, 1 no such document, 2 for a mistake of the user's."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    lines = 0
    try:
        for line in answer(chosen):
            print(line)
            lines += 1
        sys.stdout.flush()
    except (PlanError, StorageError) as error:
        print(f"training.where: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has enough; what Python flushes at exit must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not lines:
        print(f"{chosen.name}: no document of the token shards bears this URL or id")
    return 0 if lines else 1


if __name__ == "__main__":
    sys.exit(main())
