"""Keyed bijections: a number, a range and a label in, another number of the range out, and back.

A stream is shuffled in two levels, its windows and the sequences inside each, so that what is read together lies
together. Nothing is stored: every place is computed from its label. Only numpy and hashlib are needed.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np

U64 = (1 << 64) - 1
# Odd numbers with mixed bits: 2^64 divided by the golden ratio, and one of Evensen's "moremur".
M1, M2 = 0x9E3779B97F4A7C15, 0x3C79AC492BA7B653
Ints = TypeVar("Ints", int, np.ndarray)  # plain integers, or uint64 arrays


@lru_cache(maxsize=1 << 16)
def round_keys(*label: object) -> tuple[int, ...]:
    """Eight 64-bit keys: BLAKE2b of the label's parts joined by tabs, read as little-endian numbers."""
    return struct.unpack("<8Q", hashlib.blake2b("\t".join(map(str, label)).encode()).digest())


def permute(x: Ints, n: int, keys: Sequence[int]) -> Ints:
    """Image of x under a bijection of [0, n): a Feistel network over the next power of four, walked back into range."""
    bits = (n - 1).bit_length() + 1 >> 1
    y = _feistel(x, bits, keys)
    if isinstance(y, int):
        while y >= n:
            y = _feistel(y, bits, keys)
        return y
    while (out := y >= n).any():
        y[out] = _feistel(y[out], bits, keys)
    return y


def unpermute(y: int, n: int, keys: Sequence[int]) -> int:
    """The x that `permute` takes to y: the network with its keys reversed, between two swaps of the halves."""
    bits = (n - 1).bit_length() + 1 >> 1
    x = _swap(_feistel(_swap(y, bits), bits, keys[::-1]), bits)
    while x >= n:
        x = _swap(_feistel(_swap(x, bits), bits, keys[::-1]), bits)
    return x


def _feistel(x: Ints, bits: int, keys: Sequence[int]) -> Ints:
    mask = (1 << bits) - 1
    left, right = x >> bits, x & mask
    for key in keys:
        mixed = ((right ^ key) * M1) & U64
        mixed = ((mixed ^ (mixed >> 32)) * M2) & U64
        left, right = right, left ^ ((mixed >> 32) & mask)
    return (left << bits) | right


def _swap(x: int, bits: int) -> int:
    return ((x & ((1 << bits) - 1)) << bits) | (x >> bits)


@dataclass(frozen=True)
class Shuffle:
    """The order in which a stream of `tokens` tokens gives its sequences: windows are shuffled, and each inside.

    Sequence q is tokens [q*S, q*S + S + 1). A draw is counted from 0 over all epochs. The order of windows does not
    depend on the sequence length, so that a phase with another length can go on after the windows that were used.
    """

    label: tuple[str, ...]  # what the keys are made of: seed, data-set hash, stream, the phase that began to draw
    tokens: int
    sequence: int
    window: int  # tokens, a multiple of `sequence`

    @cached_property
    def count(self) -> int:
        """Sequences in an epoch."""
        return max(0, self.tokens - 1) // self.sequence

    @cached_property
    def windows(self) -> int:
        """Windows in an epoch; the last may be short."""
        return max(1, -(-(self.tokens - 1) // self.window))

    @cached_property
    def full(self) -> int:
        """Sequences in a window."""
        return self.window // self.sequence

    @cached_property
    def last(self) -> int:
        """Sequences in the stream's last window."""
        return self.count - (self.windows - 1) * self.full

    def at(self, draw: int) -> tuple[int, int]:
        """Epoch and sequence of a draw."""
        epoch, k = divmod(draw, self.count)
        place, offset = divmod(self._slot(epoch, k), self.full)
        window, size, keys = self._window(epoch, place)
        return epoch, window * self.full + permute(offset, size, keys)

    def many(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and sequences of draws, int64[n] each."""
        epochs, ks = np.divmod(draws, self.count)
        found = np.empty_like(draws)
        for epoch in np.unique(epochs).tolist():
            mine = np.flatnonzero(epochs == epoch)
            places, offsets = np.divmod(self._slot(epoch, ks[mine]), self.full)
            for place in np.unique(places).tolist():
                here = places == place
                window, size, keys = self._window(epoch, place)
                inside = permute(offsets[here].astype(np.uint64), size, keys)
                found[mine[here]] = window * self.full + inside.astype(np.int64)
        return epochs, found

    def draw(self, epoch: int, sequence: int) -> int:
        """The draw that gives a sequence in an epoch: the inverse of `at`."""
        window, inside = divmod(sequence, self.full)
        place = unpermute(window, self.windows, round_keys(*self.label, epoch))
        _, size, keys = self._window(epoch, place)
        return self.start(epoch, place) + unpermute(inside, size, keys)

    def start(self, epoch: int, place: int) -> int:
        """The first draw of the window that is the `place`-th of an epoch."""
        short = self.full - self.last if place > self._last_place(epoch) else 0
        return epoch * self.count + place * self.full - short

    def next_window(self, draw: int) -> tuple[int, int]:
        """Epoch and place of the first window of which no draw before `draw` was taken."""
        epoch, k = divmod(draw, self.count)
        place = self._slot(epoch, k) // self.full
        if self.start(epoch, place) < draw:
            place += 1
        return (epoch, place) if place < self.windows else (epoch + 1, 0)

    def _slot(self, epoch: int, k: Ints) -> Ints:
        """Place of an epoch's k-th draw as if the last window were full."""
        after = k >= self._last_place(epoch) * self.full + self.last
        return k + after * (self.full - self.last)

    def _last_place(self, epoch: int) -> int:
        return unpermute(self.windows - 1, self.windows, round_keys(*self.label, epoch))

    def _window(self, epoch: int, place: int) -> tuple[int, int, tuple[int, ...]]:
        """Number, sequences and keys of the window that is the `place`-th of an epoch."""
        window = permute(place, self.windows, round_keys(*self.label, epoch))
        size = self.last if window == self.windows - 1 else self.full
        return window, size, round_keys(*self.label, epoch, window)
