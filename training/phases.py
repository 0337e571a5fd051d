"""A run before its first step: plan, corpora and order together, and what a trainer checks in its first second.

`python -m training.phases PLAN` prints what each phase takes from each stream, in tokens, sequences and epochs. The
identity of a run is kept in its checkpoints, so that a run which goes on can say what has changed.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manifests.show import table
from manifests.storage import StorageError
from training.corpus import Corpus, changes, open_corpus
from training.order import Order, PlanError
from training.plan import Phase, Plan, load_plan
from training.planner import Line, resolve


@dataclass(frozen=True)
class Run:
    """A plan with its corpora, one for each phase: what a trainer needs to know before its first step."""

    plan: Plan
    corpora: tuple[Corpus, ...]
    order: Order
    lines: tuple[tuple[Line, ...], ...]

    def corpus(self, phase: str) -> Corpus:
        """The corpus that a phase reads."""
        return next(c for p, c in zip(self.plan.phases, self.corpora, strict=True) if p.name == phase)

    def chunk(self, step: int) -> int:
        """Which of the equal chunks of its phase a step belongs to, from 0."""
        at = self.order.phase_at(step)
        phase = next(p for p in self.plan.phases if p.name == at.name)
        return (step - at.first_step) * phase.chunks // at.steps

    def identity(self) -> dict[str, Any]:
        """What a checkpoint keeps, for `check` to compare with; plain JSON values."""
        phases = [
            {"steps": order.steps, "plan": planned(phase), "corpus": corpus.identity()}
            for phase, order, corpus in zip(self.plan.phases, self.order.phases, self.corpora, strict=True)
        ]
        return {"seed": self.plan.seed, "window": self.plan.window, "phases": phases}

    def check(self, vocabulary: int, saved: dict[str, Any] | None = None, step: int = 0) -> None:
        """PlanError unless a model of so many ids fits all corpora and, where a run goes on at `step`, the phases that
        it has begun are those of the saved identity; later phases may change."""
        for phase, corpus in zip(self.plan.phases, self.corpora, strict=True):
            most = max([corpus.facts.vocabulary - 1, *(phase.fim.marks if phase.fim else ())])
            if most >= vocabulary:
                raise PlanError(
                    f"phase {phase.name}: the corpus holds token ids up to {most:,}, and the model has {vocabulary:,}; "
                    "give the model at least as many"
                )
        if saved is None:
            return
        now = self.identity()
        for key in ("seed", "window"):
            if saved[key] != now[key]:
                raise PlanError(f"the run was begun with {key} {saved[key]} and cannot go on with {now[key]}")
        first = 0
        for number, before in enumerate(saved["phases"]):
            if first < max(step, 1):
                check_phase(number, first, before, now["phases"], step)
            first += before["steps"]


def check_phase(number: int, first: int, before: dict[str, Any], phases: list[dict[str, Any]], step: int) -> None:
    """PlanError if a phase that has begun is not what it was; the one that is going on may become longer or shorter."""
    name = before["plan"]["name"]
    if number >= len(phases):
        raise PlanError(f"phase {name} has begun at step {first:,} and is no longer in the plan")
    now = phases[number]
    if found := changes(before["corpus"], now["corpus"]):
        raise PlanError(
            f"the corpus of phase {name} has changed since the run was begun: {'; '.join(found)}; "
            "restore it, or begin a new run"
        )
    differing = [key for key, value in before["plan"].items() if now["plan"].get(key) != value]
    wanted = [f"{key} was {before['plan'][key]} and is {now['plan'].get(key)}" for key in differing]
    done = first + before["steps"] <= step
    if now["steps"] != before["steps"] and (done or first + now["steps"] < step):
        wanted.append(f"it had {before['steps']:,} steps and has {now['steps']:,}")
    if wanted:
        what = "; ".join(wanted)
        raise PlanError(f"phase {name} has begun and cannot change: {what}; restore it, or begin a new run")


def planned(phase: Phase) -> dict[str, Any]:
    """The settings of a phase that decide its order and what it reads, as plain JSON values."""
    ignored = {"corpus", "data", "tokenizer", "chunks", "epochs", "steps", "tokens"}
    listed = {key: value for key, value in asdict(phase).items() if key not in ignored}
    return {key: jsonable(value) for key, value in listed.items()}


def jsonable(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    return [jsonable(item) for item in value] if isinstance(value, tuple) else value


def open_run(plan: Plan) -> Run:
    """A plan with its corpora opened, each root once."""
    opened: dict[str, Corpus] = {}
    for phase in plan.phases:
        if not phase.corpus:
            raise PlanError(f"phase {phase.name} names no corpus: add corpus = ROOT to the plan, or give --corpus ROOT")
        if phase.corpus not in opened:
            opened[phase.corpus] = open_corpus(phase.corpus)
    corpora = tuple(opened[phase.corpus] for phase in plan.phases)
    return run_of(plan, corpora)


def run_of(plan: Plan, corpora: Sequence[Corpus]) -> Run:
    """A plan with one corpus for each phase."""
    return Run(plan, tuple(corpora), *resolve(plan, corpora))


def show(run: Run) -> Iterator[str]:
    """The planner's tables."""
    for phase, corpus, order, lines in zip(run.plan.phases, run.corpora, run.order.phases, run.lines, strict=True):
        step = phase.sequence * phase.batch
        yield (
            f"phase {phase.name}: steps {order.first_step:,} to {order.end - 1:,}, each {phase.batch:,} sequences of "
            f"{phase.sequence:,} tokens; {order.steps * step:,} tokens"
        )
        yield f"data set {corpus.hash}, tokenizer {corpus.facts.tokenizer}"
        if phase.chunks > 1:
            yield f"{phase.chunks:,} chunks of {order.steps // phase.chunks:,} steps"
        if phase.fim:
            yield f"fill-in-the-middle: {phase.fim.rate:.0%} of the document pieces of {', '.join(phase.fim.streams)}"
        header = ["stream", "tokens", "share", "sequences", "tokens drawn", "from epoch", "to epoch", "allowed"]
        yield from table([header, *map(cells, lines)])
        for line in lines:
            if line.skipped:
                yield f"{line.stream}: {line.skipped:,} tokens are skipped, to go on at a window with another length"
            if line.restarted:
                yield f"{line.stream}: restarted, so documents of an earlier phase may be seen again"
        used = {line.stream for line in lines}
        unused = [f"{name} ({stream.tokens:,})" for name, stream in corpus.streams.items() if name not in used]
        if unused:
            yield f"not in the mixture: {', '.join(unused)}"
        yield ""
    total = sum(order.steps * order.batch * order.sequence for order in run.order.phases)
    yield f"{run.order.steps:,} steps, {total:,} tokens"


def cells(line: Line) -> list[str]:
    """One row of the table."""
    counts = [f"{value:,}" for value in (line.tokens, line.sequences, line.drawn)]
    epochs = [f"{line.since:.3f}", f"{line.until:.3f}", f"{line.allowed:g}"]
    return [line.stream, counts[0], f"{line.share:.2%}", *counts[1:], *epochs]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.phases", description="What a phase plan takes from what.")
    made.add_argument("plan", metavar="PLAN", help="a TOML file, or the name of a preset")
    made.add_argument("--corpus", default="", metavar="ROOT", help="root of the corpus, for phases that name none")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the plan; status 2, one sentence, where it is refused."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    try:
        print("\n".join(show(open_run(load_plan(chosen.plan, chosen.corpus)))))
    except (PlanError, StorageError) as error:
        print(f"training.phases: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
