"""The visiting order cut into blocks: pairs of documents in, the block of each end out. What lets pairs be decided with
memory for one block, see `cluster`. Places and ids are fixed-width byte strings, which numpy sorts and compares."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from stages.sides import id_words
from stages.spill import Spill

BLOCK_EDGES = 2_000_000  # edges of a block, about 60 bytes each and as much again while it is decided
ID_BUCKETS = 64

PLACE_FIELDS = np.dtype([("rank", ">u2"), ("smaller", ">u4"), ("priority", ">u8"), ("id", "S16")])
PLACE = np.dtype("S30")  # snapshot rank, size downwards where it counts, priority, doc_id: sorts in visiting order
PAIR = np.dtype([("later", PLACE), ("earlier", PLACE), ("score", "f4"), ("home", "u8")])


class Blocks:
    """Ranges of the visiting order with about BLOCK_EDGES edges each, cut at places of a sample, some 4,000 a block."""

    def __init__(self, edges: Iterator[np.ndarray]) -> None:
        step, ends = max(1, BLOCK_EDGES >> 11), 0
        sample = [np.zeros(0, PLACE)]
        for pairs in edges:
            both = np.concatenate([pairs["later"], pairs["earlier"]])
            sample.append(both[::step])
            ends += len(both)
        found = np.sort(np.concatenate(sample))
        blocks = max(1, -(-ends // BLOCK_EDGES))
        self.borders = np.unique(found[np.arange(1, blocks) * len(found) // blocks])

    @property
    def count(self) -> int:
        return len(self.borders) + 1

    def of(self, ends: np.ndarray) -> np.ndarray:
        """The block of each place, int64[n]."""
        return np.searchsorted(self.borders, ends, "right")

    def spill(self, spill: Spill, pairs: np.ndarray) -> None:
        """A pair within a block is known to it; any other waits until the earlier document is decided."""
        later, earlier = self.of(pairs["later"]), self.of(pairs["earlier"])
        inside = later == earlier
        spill.append("known", later[inside], pairs[inside])
        spill.append("ahead", earlier[~inside], pairs[~inside])


def places(edges: pa.Table, end: str) -> np.ndarray:
    """Sort keys in visiting order of the documents at one end of EDGES, `later` or `earlier`, PLACE[n]."""
    rows = np.zeros(len(edges), PLACE_FIELDS)
    rows["rank"] = edges[f"{end}_rank"].to_numpy()
    rows["smaller"] = 0xFFFFFFFF - edges[f"{end}_size"].to_numpy().astype(np.int64)
    rows["priority"] = edges[f"{end}_priority"].to_numpy().view(np.uint64) ^ np.uint64(1 << 63)
    rows["id"] = id_bytes(edges[end])
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
