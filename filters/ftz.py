"""Reads a quantised fastText classifier (`.ftz` of the shape of lid.176): the bytes of a model come in, its labels and
the arrays for `filters.ngrams` go out. The surprise: no fastText is involved. Its builds give other last digits on
other machines; rows that are dequantised here, by plain multiplication, are the same everywhere."""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.ngrams import BASIS, DIM, PRIME, Tables

LABEL_PREFIX = "__label__"

MAGIC, VERSION = 793712314, 12
ARGUMENTS = "dim ws epoch minCount neg wordNgrams loss model bucket minn maxn lrUpdateRate".split()
SHAPE = {"dim": DIM, "wordNgrams": 1, "loss": 1, "minn": 2, "maxn": 4}  # loss 1 is hierarchical softmax
CENTROIDS = 256  # of each subspace of a quantised matrix
INNER = 10**15  # count of a tree node that is not made yet

SLOTS_PER_WORD = 4  # nearly every look-up ends at its first slot


@dataclass(frozen=True)
class Model:
    """A classifier; its labels are without fastText's prefix, the most frequent first."""

    labels: tuple[str, ...]
    tables: Tables = field(repr=False)


def read_model(data: bytes) -> Model:
    """The model in the bytes of an .ftz file; ValueError when they are damaged or of another shape than lid.176."""
    try:
        return _read(_Cursor(data))
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"the fastText model is damaged or cut short: {error}") from error


def _read(file: "_Cursor") -> Model:
    if file.numbers("ii") != (MAGIC, VERSION):
        raise ValueError("this is not a fastText model of file version 12")
    arguments = dict(zip(ARGUMENTS, file.numbers("12i"), strict=True))
    if {name: arguments[name] for name in SHAPE} != SHAPE:
        raise ValueError(f"only fastText models of the shape of lid.176 are read, {SHAPE}; this one has {arguments}")
    file.numbers("d")  # threshold of the sampling in training
    entries, words, labels, _, buckets_kept = file.numbers("iiiqq")
    names, counts = [], []
    for _ in range(entries):
        names.append(file.string())
        counts.append(file.numbers("qb")[0])
    kept = file.array("<i4", 2 * max(buckets_kept, 0)).reshape(-1, 2)
    quantised = bool(file.numbers("?")[0])
    if not quantised or buckets_kept < 0 or words + buckets_kept > np.iinfo(np.uint16).max:
        raise ValueError("only quantised fastText models with a pruned dictionary are read (.ftz)")
    rows = file.quantised_matrix(words + buckets_kept)
    if file.numbers("?")[0]:
        raise ValueError("fastText models with a quantised output layer are not read")
    height, width = file.numbers("qq")
    if (height, width) != (labels, DIM):
        raise ValueError(f"the fastText model is damaged: {height} x {width} outputs for {labels} labels")
    nodes = file.array("<f4", height * width).reshape(height, width)[: labels - 1]

    bucket_rows = np.zeros(arguments["bucket"], np.uint16)
    bucket_rows[kept[:, 0]] = words + kept[:, 1]
    bits = np.packbits(bucket_rows > 0, bitorder="little")
    bucket_bits = np.concatenate((bits, np.zeros(-len(bits) % 4, np.uint8))).view("<u4")
    word_hashes, word_rows = _word_table(names[:words])
    left, right = _tree(counts[words:])
    tables = Tables(word_hashes, word_rows, bucket_bits, bucket_rows, rows, nodes, left, right)
    return Model(tuple(name.decode().removeprefix(LABEL_PREFIX) for name in names[words:]), tables)


def _word_table(words: list[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Open-addressing table of the words after the first, which is the end of a text."""
    slots = 1 << (SLOTS_PER_WORD * len(words)).bit_length()
    hashes, rows = np.zeros(slots, np.uint32), np.zeros(slots, np.uint32)
    for row, word in enumerate(words[1:], 1):
        key = int(BASIS)
        for byte in word:
            key = (key ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * int(PRIME) & 0xFFFFFFFF
        slot = key % slots
        while rows[slot]:
            slot = (slot + 1) % slots
        hashes[slot], rows[slot] = key, row
    return hashes, rows


def _tree(counts: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Children of each inner node of the Huffman tree over labels with these counts, in descending order; root last."""
    labels = len(counts)
    size = counts + [INNER] * (labels - 1)
    children = np.zeros((2, labels - 1), np.int32)
    leaf, node = labels - 1, labels
    for parent in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and size[leaf] < size[node]:
                children[side, parent - labels] = leaf
                leaf -= 1
            else:
                children[side, parent - labels] = node
                node += 1
        size[parent] = sum(size[child] for child in children[:, parent - labels])
    return children[0], children[1]


class _Cursor:
    """Little-endian values one after another; struct.error where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        if self.at + count * np.dtype(dtype).itemsize > len(self.data):
            raise struct.error(f"{count} values are missing at byte {self.at}")
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def string(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise struct.error(f"a word at byte {self.at} does not end")
        value, self.at = self.data[self.at : end], end + 1
        return value

    def quantised_matrix(self, height: int) -> NDArray[np.float32]:
        """float32[height, DIM]: centroids by code and subspace, times the norm of the row where the file has it."""
        has_norms, rows, columns, codes = self.numbers("?qqi")
        if (rows, columns) != (height, DIM):
            raise ValueError(f"the fastText model is damaged: {rows} x {columns} values for {height} rows")
        code = self.array("u1", codes)
        _, subspaces, width, last_width = self.numbers("iiii")
        centroids = self.array("<f4", DIM * CENTROIDS)
        if codes != rows * subspaces or subspaces * width != DIM or last_width != width:
            raise ValueError(f"the fastText model is damaged: {subspaces} subspaces of {width} in {DIM} dimensions")
        picked = centroids.reshape(subspaces, CENTROIDS, width)[np.arange(subspaces), code.reshape(rows, subspaces)]
        matrix = picked.reshape(rows, DIM).astype(np.float32)
        if has_norms:
            norm_codes = self.array("u1", rows)
            self.numbers("iiii")
            matrix *= self.array("<f4", CENTROIDS)[norm_codes][:, None]
        return matrix
