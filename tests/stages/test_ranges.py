"""Ranges of side rows in parts: sizes of row groups in, which of them are read together out."""

import numpy as np
import pytest

from manifests.local import LocalStorage
from manifests.shards import PARTITIONS
from stages import sides
from stages.base import Merged, Task
from stages.ranges import OPEN_BYTES, parts_of
from stages.sides import SideFile

MERGED = Merged("verify-0", "rows", ("1",), "")


def side(sizes: dict[int, int]) -> SideFile:
    """A side file with so many bytes in some of its row groups."""
    every = np.array([sizes.get(part, 0) for part in range(PARTITIONS)], np.int64)
    return SideFile("path", "1", every, every, 0)


@pytest.mark.parametrize(
    "files, span, least, size, expected",
    [
        ([{}], (0, 8), 10, 0, [((0, 8), False)]),
        ([{0: 4, 1: 6, 2: 1}], (0, 4), 10, 0, [((0, 2), False), ((2, 4), False)]),  # the limit is met exactly
        ([{0: 4, 2: 11, 3: 1}], (0, 4), 10, 0, [((0, 2), False), ((2, 3), True), ((3, 4), False)]),
        ([{0: 4}, {0: 4, 1: 4}], (0, 2), 10, 0, [((0, 1), False), ((1, 2), False)]),
        ([{1: 9, 5: 9, 9: 9}], (4, 8), 10, 0, [((4, 8), False)]),  # what lies outside does not count
        # Of many files more is read at once, but no more than a task is planned to hold.
        ([{0: 20, 1: 20}, {}], (0, 2), 10, 100, [((0, 2), False)]),
        ([{0: 20, 1: 20}, {}], (0, 2), 10, 30, [((0, 1), False), ((1, 2), False)]),
        ([{0: OPEN_BYTES, 1: 1}], (0, 2), 10, 1 << 40, [((0, 1), False), ((1, 2), False)]),
        ([{0: OPEN_BYTES, 1: 1}, {}], (0, 2), 10, 1 << 40, [((0, 2), False)]),
    ],
)
def test_parts_hold_what_may_be_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
    files: list[dict[int, int]],
    span: tuple[int, int],
    least: int,
    size: int,
    expected: list[tuple[tuple[int, int], bool]],
) -> None:
    monkeypatch.setattr(sides, "side_files", lambda root, merged: tuple(map(side, files)))
    task = Task("key", merged=(MERGED,), parts=span, size=size)
    assert parts_of(LocalStorage("/root"), task, "rows", least) == expected
    assert parts_of(LocalStorage("/root"), task, "others", least) == [(span, False)]
