"""The training order as arithmetic: step numbers in, sequences of streams out, and back, without any state or file.

Sequences are dealt to streams in blocks of 1,024, by rounding cumulative shares; a keyed bijection orders each block.
Every map has an inverse, so a document leads to the steps that see it as directly as a step leads to its documents.
Only numpy and hashlib are needed, and the world size appears nowhere but in the choice of a batch's places.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from training.permute import Shuffle, permute, round_keys

BLOCK = 1024
DIGEST_BYTES = 16


class PlanError(ValueError):
    """A phase plan, a corpus and a machine that do not go together; the message is one sentence that says how to."""


@dataclass(frozen=True)
class Dealer:
    """Deals sequences to streams by integer weights.

    At every multiple of 1,024 a stream with a share of 1/1,024 or more has its share of the sequences to within one.
    Differences of rounded sums may shrink for smaller shares, so those are dealt as one and then halved down a tree,
    which keeps one or two such streams to within one, and each of more to within two.
    """

    label: tuple[str, ...]
    weights: tuple[int, ...]

    @cached_property
    def total(self) -> int:
        """Sum of the weights."""
        return sum(self.weights)

    @cached_property
    def small(self) -> list[int]:
        """Streams with less than one sequence in a block, the largest first."""
        mine = [s for s, weight in enumerate(self.weights) if weight * BLOCK < self.total]
        return sorted(mine, key=lambda s: (-self.weights[s], s))

    def counts(self, block: int) -> list[int]:
        """Sequences of each stream in the blocks before `block`."""
        counts = [0] * len(self.weights)
        cumulative = sum(self.weights[s] for s in self.small)
        edge = nearest(block * BLOCK * cumulative, self.total)
        if self.small:
            self._halve(self.small, edge, counts)
        for s, weight in enumerate(self.weights):
            if weight * BLOCK >= self.total:
                cumulative += weight
                before, edge = edge, nearest(block * BLOCK * cumulative, self.total)
                counts[s] = edge - before
        return counts

    def _halve(self, streams: list[int], n: int, counts: list[int]) -> None:
        """Split n sequences between streams: in two parts as equal in weight as can be, and so on."""
        if len(streams) == 1:
            counts[streams[0]] = n
            return
        total = sum(self.weights[s] for s in streams)
        sums = [sum(self.weights[s] for s in streams[:cut]) for cut in range(1, len(streams))]
        cut = min(range(len(sums)), key=lambda i: (abs(2 * sums[i] - total), i))
        part = nearest(n * sums[cut], total)
        self._halve(streams[: cut + 1], part, counts)
        self._halve(streams[cut + 1 :], n - part, counts)


def nearest(numerator: int, denominator: int) -> int:
    """The nearest whole number to a fraction, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


@lru_cache(maxsize=256)
def block_of(dealer: Dealer, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Stream and draw of each place of a block, int64[1024] each; the draws of a stream rise with the place."""
    before, after = np.array([dealer.counts(number), dealer.counts(number + 1)])
    counts = after - before
    slots = permute(np.arange(BLOCK, dtype=np.uint64), BLOCK, round_keys(*dealer.label, number)).astype(np.int64)
    ends = np.cumsum(counts)
    streams = np.searchsorted(ends, slots, "right")
    draws = np.empty(BLOCK, np.int64)
    draws[np.argsort(streams, kind="stable")] = np.arange(BLOCK) + np.repeat(before - ends + counts, counts)
    return streams, draws


@dataclass(frozen=True)
class Draws:
    """Sequences of one step, in the order of their places in the batch, int64[n] each; `streams` are indices."""

    positions: np.ndarray
    streams: np.ndarray
    epochs: np.ndarray
    sequences: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """One sequence of one step, in words: tokens [first, first + S + 1) of a stream."""

    phase: str
    step: int
    position: int
    stream: str
    epoch: int
    sequence: int
    first: int


@dataclass(frozen=True)
class Source:
    """A stream as a phase draws from it, from draw `start` on."""

    name: str
    weight: int
    start: int
    shuffle: Shuffle


@dataclass(frozen=True)
class PhaseOrder:
    """The order of one phase: steps [first_step, first_step + steps) of `batch` sequences of `sequence` tokens."""

    name: str
    data: str  # data-set hash
    seed: int
    first_step: int
    steps: int
    batch: int
    sequence: int
    sources: tuple[Source, ...]

    @property
    def end(self) -> int:
        """The step after the last."""
        return self.first_step + self.steps

    @cached_property
    def dealer(self) -> Dealer:
        """Which stream each sequence of the phase is from."""
        return Dealer((str(self.seed), self.data, "deal", self.name), tuple(source.weight for source in self.sources))

    def drawn(self, n: int) -> list[int]:
        """Sequences that each source has given after n sequences of the phase."""
        block, places = divmod(n, BLOCK)
        inside = np.bincount(block_of(self.dealer, block)[0][:places], minlength=len(self.sources))
        return [count + int(more) for count, more in zip(self.dealer.counts(block), inside, strict=True)]

    def locate(self, n: int) -> Drawn:
        """The n-th sequence of the phase."""
        block, place = divmod(n, BLOCK)
        streams, draws = block_of(self.dealer, block)
        source = self.sources[streams[place]]
        epoch, sequence = source.shuffle.at(source.start + int(draws[place]))
        step, position = divmod(n, self.batch)
        first = sequence * self.sequence
        return Drawn(self.name, self.first_step + step, position, source.name, epoch, sequence, first)

    def batch_at(self, step: int, rank: int = 0, world: int = 1) -> Draws:
        """The sequences of a step that a rank takes: those at places i with i mod world = rank."""
        positions = np.arange(rank, self.batch, world)
        numbers = (step - self.first_step) * self.batch + positions
        first, last = int(numbers[0]) // BLOCK, int(numbers[-1]) // BLOCK
        blocks = [block_of(self.dealer, number) for number in range(first, last + 1)]
        inside = numbers - first * BLOCK
        streams = np.concatenate([streams for streams, _ in blocks])[inside]
        draws = np.concatenate([draws for _, draws in blocks])[inside]
        epochs, sequences = np.empty_like(draws), np.empty_like(draws)
        for s in np.unique(streams).tolist():
            mine = streams == s
            epochs[mine], sequences[mine] = self.sources[s].shuffle.many(self.sources[s].start + draws[mine])
        return Draws(positions, streams, epochs, sequences)

    def find(self, stream: str, sequence: int) -> Iterator[Drawn]:
        """Every time that the phase sees a sequence of a stream, in order."""
        drawn = self.drawn(self.steps * self.batch)
        for s, source in enumerate(self.sources):
            if source.name != stream or not 0 <= sequence < source.shuffle.count:
                continue
            first, last = source.start, source.start + drawn[s]
            for epoch in range(first // source.shuffle.count, -(-last // source.shuffle.count)):
                if first <= (draw := source.shuffle.draw(epoch, sequence)) < last:
                    yield self.locate(self._number(s, draw - first))

    def _number(self, s: int, draw: int) -> int:
        """Which sequence of the phase is a draw of its s-th source."""
        blocks = range(self.steps * self.batch // BLOCK + 1)
        block = bisect_right(blocks, draw, key=lambda b: self.dealer.counts(b)[s]) - 1
        streams, draws = block_of(self.dealer, block)
        return block * BLOCK + int(np.flatnonzero((streams == s) & (draws == draw))[0])


@dataclass(frozen=True)
class Order:
    """The order of a whole run: its phases, one after the other. The state of a run is the number of its next step."""

    phases: tuple[PhaseOrder, ...]

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return self.phases[-1].end

    def tokens(self, step: int) -> int:
        """Tokens in the steps before a step."""
        return sum(min(max(step - p.first_step, 0), p.steps) * p.batch * p.sequence for p in self.phases)

    def phase_at(self, step: int) -> PhaseOrder:
        """The phase that a step belongs to."""
        if not 0 <= step < self.steps:
            raise PlanError(f"there is no step {step:,}: the plan has steps 0 to {self.steps - 1:,}")
        return self.phases[bisect_right(self.phases, step, key=lambda phase: phase.end)]

    def digest(self, step: int) -> str:
        """Digest of what a step sees; docs/order.md says how to compute it without this program."""
        phase = self.phase_at(step)
        draws = phase.batch_at(step)
        names = [source.name for source in phase.sources]
        lines = [f"{phase.data}\t{phase.sequence}\n"]
        firsts = (draws.sequences * phase.sequence).tolist()
        for position, (s, first) in enumerate(zip(draws.streams.tolist(), firsts, strict=True)):
            lines.append(f"{step}\t{position}\t{names[s]}\t{first}\n")
        return hexdigest("".join(lines))

    def rolling(self, step: int, digest: str = "", since: int = 0) -> str:
        """Rolling digest after a step; `digest` is that before step `since`, where it is known."""
        for number in range(since, step + 1):
            digest = roll(digest, self.digest(number))
        return digest


def roll(digest: str, step_digest: str) -> str:
    """The rolling digest after one more step; "" stands before step 0."""
    return hexdigest(digest + step_digest)


def hexdigest(text: str) -> str:
    """128-bit BLAKE2b of a text in UTF-8, as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def check_world(batches: Sequence[int], world: int, microbatch: int = 1) -> None:
    """PlanError where some batch cannot be dealt to so many ranks in whole microbatches."""
    if world < 1 or microbatch < 1:
        raise PlanError(f"{world} ranks with microbatches of {microbatch}: both must be at least 1")
    fits = [w for w in range(1, min(batches) + 1) if all(batch % (w * microbatch) == 0 for batch in batches)]
    if world not in fits:
        batch = next(batch for batch in batches if batch % (world * microbatch))
        raise PlanError(
            f"a batch of {batch:,} sequences cannot be dealt to {world} ranks in microbatches of {microbatch}; "
            + (f"world sizes that fit: {', '.join(map(str, fits))}" if fits else f"no world size fits {microbatch}")
        )
