"""The training order once more, as plainly as it can be said: what docs/order.md describes, without numpy or caches."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b

BLOCK, M1, M2, U64 = 1024, 0x9E3779B97F4A7C15, 0x3C79AC492BA7B653, 2**64 - 1


def permuted(x: int, n: int, *label: object) -> int:
    """Image of x under the bijection of [0, n) that a label names."""
    keys = struct.unpack("<8Q", blake2b("\t".join(map(str, label)).encode()).digest())
    half = 0
    while 4**half < n:
        half += 1
    while True:
        left, right = divmod(x, 2**half)
        for key in keys:
            z = ((right ^ key) * M1) & U64
            z = ((z ^ (z >> 32)) * M2) & U64
            left, right = right, left ^ ((z >> 32) % 2**half)
        x = left * 2**half + right
        if x < n:
            return x


def rounded(value: Fraction) -> int:
    """The nearest whole number, halves up."""
    return int(value + Fraction(1, 2))


def halved(names: list[str], n: int, shares: dict[str, Fraction]) -> dict[str, int]:
    """n sequences for streams with small shares: cut where both parts weigh most alike, and so on."""
    if len(names) < 2:
        return dict.fromkeys(names, n)
    total = sum((shares[name] for name in names), Fraction(0))
    weights = [sum((shares[name] for name in names[:cut]), Fraction(0)) for cut in range(1, len(names))]
    cut = min(range(len(weights)), key=lambda i: abs(weights[i] - total / 2))
    part = rounded(n * weights[cut] / total)
    return halved(names[: cut + 1], part, shares) | halved(names[cut + 1 :], n - part, shares)


def dealt(n: int, shares: dict[str, Fraction]) -> dict[str, int]:
    """Sequences of each stream among the first n of a phase, where n is a multiple of 1,024."""
    small = sorted((name for name in shares if shares[name] * BLOCK < 1), key=lambda name: (-shares[name], name))
    sum_before = sum((shares[name] for name in small), Fraction(0))
    counts = halved(small, rounded(n * sum_before), shares)
    for name in sorted(set(shares) - set(small)):
        counts[name] = rounded(n * (sum_before + shares[name])) - rounded(n * sum_before)
        sum_before += shares[name]
    return counts


def sequence(draw: int, tokens: int, size: int, window: int, *label: object) -> tuple[int, int]:
    """Epoch and sequence of a stream's draw."""
    count, windows = (tokens - 1) // size, -(-(tokens - 1) // window)
    epoch, k = divmod(draw, count)
    for place in range(windows):
        w = permuted(place, windows, *label, epoch)
        inside = min(count - w * (window // size), window // size)
        if k < inside:
            return epoch, w * (window // size) + permuted(k, inside, *label, epoch, w)
        k -= inside
    raise AssertionError("unreachable")


def order(
    shares: dict[str, Fraction], tokens: dict[str, int], size: int, window: int, seed: int, data: str, phase: str
) -> Iterator[tuple[str, int, int]]:
    """Stream, epoch and sequence of each place of a phase that begins all its streams, without an end."""
    drawn = dict.fromkeys(shares, 0)
    block = 0
    while True:
        before, after = dealt(block * BLOCK, shares), dealt((block + 1) * BLOCK, shares)
        slots = [name for name in sorted(shares) for _ in range(after[name] - before[name])]
        for place in range(BLOCK):
            name = slots[permuted(place, BLOCK, seed, data, "deal", phase, block)]
            yield name, *sequence(drawn[name], tokens[name], size, window, seed, data, name, phase)
            drawn[name] += 1
        block += 1
