"""Planning: a phase plan and its corpora in, the order of the run out, and what each phase takes from each stream.

What the plan does not declare is refused here, before step 0: repetition, another corpus, another tokenizer. A stream
goes on where the phase before left it; with another sequence length that is at the next whole window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from training.corpus import Corpus
from training.order import Order, PhaseOrder, PlanError, Source
from training.permute import Shuffle
from training.plan import Phase, Plan, matches


@dataclass(frozen=True)
class Line:
    """What a phase takes from a stream; epochs are counted since the stream was last restarted."""

    stream: str
    tokens: int
    share: float
    sequences: int
    drawn: int  # tokens
    skipped: int  # tokens left unseen, since another sequence length goes on at the next window
    restarted: bool  # an earlier phase drew from it, so that documents may be seen again
    since: float
    until: float
    allowed: float


def resolve(plan: Plan, corpora: Sequence[Corpus]) -> tuple[Order, tuple[tuple[Line, ...], ...]]:
    """The order of a plan over one corpus for each phase, and what it takes; PlanError for what was not declared."""
    phases: list[PhaseOrder] = []
    lines: list[tuple[Line, ...]] = []
    begun: dict[str, tuple[Shuffle, int]] = {}  # how each stream was drawn last, and its next draw
    before: Corpus | None = None
    for phase, corpus in zip(plan.phases, corpora, strict=True):
        check_pins(phase, corpus, before)
        shares = mixture(phase, corpus)
        sources: list[Source] = []
        skipped: list[int] = []
        scale = math.lcm(*(share.denominator for share in shares.values()))
        for name, share in shares.items():
            label = (str(plan.seed), corpus.hash, name, phase.name)
            fresh = Shuffle(label, corpus.streams[name].tokens, phase.sequence, plan.window)
            if not fresh.count:
                raise PlanError(
                    f"phase {phase.name}: stream {name} has {fresh.tokens:,} tokens, less than one sequence of "
                    f"{phase.sequence:,}; leave it out of the mixture"
                )
            shuffle, start, left = fresh, 0, 0
            if name in begun and not phase.restarts(name):
                shuffle, start, left = go_on(phase, name, corpus.hash, fresh, *begun[name])
            sources.append(Source(name, int(share * scale), start, shuffle))
            skipped.append(left)
        steps, first = phase_steps(phase), phases[-1].end if phases else 0
        order = PhaseOrder(
            phase.name, corpus.hash, plan.seed, first, steps, phase.batch, phase.sequence, tuple(sources)
        )
        drawn = order.drawn(steps * phase.batch)
        taken = zip(sources, shares.values(), drawn, skipped, strict=True)
        lines.append(tuple(take(phase, *each, each[0].name in begun) for each in taken))
        begun |= {s.name: (s.shuffle, s.start + n) for s, n in zip(sources, drawn, strict=True)}
        phases.append(order)
        before = corpus
    return Order(tuple(phases)), tuple(lines)


def check_pins(phase: Phase, corpus: Corpus, before: Corpus | None) -> None:
    """PlanError unless the corpus is the one that the phase asks for; a new tokenizer has to be asked for."""
    if phase.data and phase.data != corpus.hash:
        raise PlanError(f"phase {phase.name} asks for data set {phase.data}, and {phase.corpus} is {corpus.hash}")
    if phase.tokenizer and phase.tokenizer != corpus.facts.tokenizer:
        raise PlanError(
            f"phase {phase.name} asks for tokenizer {phase.tokenizer}, and {phase.corpus} was made with "
            f"{corpus.facts.tokenizer}"
        )
    if before and not phase.tokenizer and before.facts != corpus.facts:
        raise PlanError(
            f"phase {phase.name} reads tokens of tokenizer {corpus.facts.tokenizer}, the phase before it those of "
            f'{before.facts.tokenizer}; if that is meant, write tokenizer = "{corpus.facts.tokenizer}"'
        )
    if phase.fim and max(phase.fim.marks) > (0xFFFF if corpus.facts.dtype == "uint16" else 0xFFFFFFFF):
        raise PlanError(f"phase {phase.name}: fim: an id does not fit {corpus.facts.dtype}, the type of the tokens")


def mixture(phase: Phase, corpus: Corpus) -> dict[str, Fraction]:
    """The share of each stream: a pattern's weight is split by tokens between the streams that it matches, and weights
    add up; with budgets by language that is done within each language."""
    weights: dict[str, Fraction] = {}
    for pattern, weight in phase.mixture:
        found = [stream for name, stream in corpus.streams.items() if matches(name, [pattern])]
        if not found:
            known = ", ".join(corpus.streams)
            raise PlanError(f"phase {phase.name}: no stream matches {pattern!r}; {phase.corpus or 'it'} has {known}")
        total = sum(stream.tokens for stream in found)
        for stream in found:
            part = Fraction(str(weight)) * stream.tokens / total
            weights[stream.name] = weights.get(stream.name, Fraction(0)) + part
    if not phase.language_tokens:
        total_weight = sum(weights.values())
        return {name: weights[name] / total_weight for name in sorted(weights)}
    budget = sum(int(tokens) for _, tokens in phase.language_tokens)
    shares: dict[str, Fraction] = {}
    for lang, tokens in phase.language_tokens:
        mine = {name: weight for name, weight in weights.items() if name.rpartition("/")[2] == lang}
        if not mine:
            raise PlanError(f"phase {phase.name} has a budget for {lang}, and no stream of its mixture is in {lang}")
        for name in mine:
            shares[name] = Fraction(int(tokens), budget) * mine[name] / sum(mine.values())
    return {name: shares[name] for name in sorted(shares)}


def phase_steps(phase: Phase) -> int:
    """Steps of a phase: its budget in whole batches."""
    tokens = phase.tokens or sum(int(tokens) for _, tokens in phase.language_tokens)
    steps = phase.steps or tokens // (phase.sequence * phase.batch)
    if not steps:
        step = phase.sequence * phase.batch
        raise PlanError(f"phase {phase.name}: {tokens:,} tokens are less than one step of {step:,}")
    if steps % phase.chunks:
        raise PlanError(
            f"phase {phase.name}: {steps:,} steps are not {phase.chunks:,} equal chunks; "
            f"write steps = {steps // phase.chunks * phase.chunks or phase.chunks}"
        )
    return steps


def go_on(phase: Phase, name: str, data: str, fresh: Shuffle, shuffle: Shuffle, draw: int) -> tuple[Shuffle, int, int]:
    """How a phase goes on with a stream: its shuffle, the next draw, and the tokens skipped on the way."""
    if shuffle.label[1] != data:
        raise PlanError(
            f"phase {phase.name} would go on with stream {name}, but its data set {data} is not {shuffle.label[1]}, "
            f'from which the stream was drawn before; write restart = ["{name}"], or name the same corpus'
        )
    other = Shuffle(shuffle.label, shuffle.tokens, phase.sequence, shuffle.window)
    if other == shuffle:
        return shuffle, draw, 0
    epoch, place = shuffle.next_window(draw)
    return other, other.start(epoch, place), (shuffle.start(epoch, place) - draw) * shuffle.sequence


def take(phase: Phase, source: Source, share: Fraction, sequences: int, skipped: int, before: bool) -> Line:
    """What a phase takes from a source; PlanError where that is more epochs than the plan declares."""
    count, allowed = source.shuffle.count, phase.epochs_of(source.name)
    until = source.start + sequences
    if until > Fraction(str(allowed)) * count:
        raise PlanError(
            f"phase {phase.name} would reach {until / count:.3f} epochs of stream {source.name} "
            f"({source.shuffle.tokens:,} tokens), and {allowed:g} is declared; lower its budget or its weight, "
            f'or write epochs = {{ "{source.name}" = {-(-until // count)} }}'
        )
    return Line(
        source.name,
        source.shuffle.tokens,
        float(share),
        sequences,
        sequences * source.shuffle.sequence,
        skipped,
        before and phase.restarts(source.name),
        source.start / count,
        until / count,
        allowed,
    )
