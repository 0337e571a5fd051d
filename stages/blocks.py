"""The visiting order cut into blocks: pairs of documents in, the block of each end out. What lets pairs be decided with
memory for one block, see `cluster`. Places and ids are fixed-width byte strings, which numpy sorts and compares."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from stages.sides import id_words
from stages.spill import Spill

BLOCK_EDGES = 2_000_000  # edges of a block, about 60 bytes each and as much again while it is decided
ID_BUCKETS = 64

PLACE_FIELDS = np.dtype([("rank", ">u2"), ("priority", ">u4"), ("id", "S16")])
PLACE = np.dtype("S22")  # snapshot rank, priority, doc_id: sorts in visiting order
PAIR = np.dtype([("later", PLACE), ("earlier", PLACE), ("score", "f4"), ("home", "u8")])


class Blocks:
    """Ranges of the visiting order with about BLOCK_EDGES edges each. Within one snapshot and priority documents come
    in the order of their ids, which are hashes, so equal ranges of ids hold equally many."""

    def __init__(self, edges: Iterator[np.ndarray]) -> None:
        counts: dict[bytes, int] = {}
        for pairs in edges:
            for end in ("later", "earlier"):
                groups, sizes = np.unique(pairs[end].astype("S6"), return_counts=True)
                for group, size in zip(groups.tolist(), sizes.tolist(), strict=True):
                    counts[group] = counts.get(group, 0) + size
        self.groups = np.array(sorted(counts), "S6")
        parts = [max(1, -(-counts[group] // BLOCK_EDGES)) for group in sorted(counts)]
        self.parts = np.array(parts, np.uint64)
        self.first = np.concatenate([[0], np.cumsum(parts)]).astype(np.int64)

    @property
    def count(self) -> int:
        return int(self.first[-1])

    def of(self, ends: np.ndarray) -> np.ndarray:
        """The block of each place, int64[n]."""
        group = np.searchsorted(self.groups, ends.astype("S6"))
        high = words_of(place_ids(ends))[:, 0] >> np.uint64(32)
        return self.first[group] + (high * self.parts[group] >> np.uint64(32)).astype(np.int64)

    def spill(self, spill: Spill, pairs: np.ndarray) -> None:
        """A pair within a block is known to it; any other waits until the earlier document is decided."""
        later, earlier = self.of(pairs["later"]), self.of(pairs["earlier"])
        inside = later == earlier
        spill.append("known", later[inside], pairs[inside])
        spill.append("ahead", earlier[~inside], pairs[~inside])


def places(rank: pa.ChunkedArray, priority: pa.ChunkedArray, ids: pa.ChunkedArray) -> np.ndarray:
    """Sort keys in visiting order, PLACE[n]."""
    rows = np.zeros(len(ids), PLACE_FIELDS)
    rows["rank"] = rank.to_numpy()
    rows["priority"] = priority.to_numpy().astype(np.int64) + (1 << 31)
    rows["id"] = id_bytes(ids)
    return rows.view(PLACE)


def place_ids(ends: np.ndarray) -> np.ndarray:
    """The ids within places, S16[n]."""
    return np.ascontiguousarray(fields(ends)["id"])


def place_ranks(ends: np.ndarray) -> np.ndarray:
    """The snapshot ranks within places."""
    return fields(ends)["rank"].astype(np.int64)


def fields(ends: np.ndarray) -> np.ndarray:
    """Places as records of their three parts."""
    return np.ascontiguousarray(ends).view(PLACE_FIELDS)


def id_bytes(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Ids as numpy strings, S16[n]; numpy compares them byte by byte, with zeros at the end as good as none."""
    return np.ascontiguousarray(id_words(column), ">u8").view("S16").ravel()


def words_of(ids: np.ndarray) -> np.ndarray:
    """S16[n] as words, see `id_words`."""
    return np.ascontiguousarray(ids).view(">u8").astype(np.uint64).reshape(-1, 2)


def id_bucket(ids: np.ndarray) -> np.ndarray:
    """Bucket of each id, by its first bits."""
    return (words_of(ids)[:, 0] >> np.uint64(58)).astype(np.int64)
