"""Records by bucket: what is put in comes out in order, whether it waits in memory or went to files."""

import random
from pathlib import Path

import numpy as np
import pytest

from manifests.local import LocalStorage
from manifests.storage import OutOfDisk
from stages import spill
from stages.spill import Spill

KIND = np.dtype([("id", "S4"), ("n", "<u4")])


@pytest.mark.parametrize("held", [0, 200, 700, 1 << 20])
@pytest.mark.parametrize("seed", range(5))
def test_each_bucket_gives_its_records_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, seed: int
) -> None:
    monkeypatch.setattr(spill, "HELD_BYTES", held)
    rng = random.Random(seed)
    expected: dict[tuple[str, int], list[tuple]] = {}
    with Spill(LocalStorage(str(tmp_path))) as records:
        for _ in range(rng.randint(1, 8)):
            name = rng.choice("ab")
            buckets = np.array([rng.randrange(3) for _ in range(rng.randint(0, 9))], np.int64)
            rows = np.array([(b"%d" % rng.randrange(999), rng.getrandbits(32)) for _ in buckets], KIND)
            records.append(name, buckets, rows)
            for bucket, row in zip(buckets.tolist(), rows.tolist(), strict=True):
                expected.setdefault((name, bucket), []).append(row)
            assert records.size <= held
            looked_at = rng.choice("ab"), rng.randrange(3)
            assert records.read(*looked_at, KIND).tolist() == expected.get(looked_at, [])
        for name in "ab":
            for bucket in range(3):
                rows = expected.get((name, bucket), [])
                assert records.read(name, bucket, KIND).tolist() == rows
                chunks = [chunk.tolist() for chunk in records.chunks(name, bucket, KIND, 2)]
                assert chunks == [rows[i : i + 2] for i in range(0, len(rows), 2)]
                file = records.file(name, bucket)
                assert (np.fromfile(file, KIND).tolist() if file else []) == rows
        assert records.size == 0
    assert not records.folder.exists()


@pytest.mark.parametrize("count", [1, 1 << 20])
def test_a_full_disk_is_an_error_and_no_loss(tmp_path: Path, count: int) -> None:
    with Spill(LocalStorage(str(tmp_path))) as records:
        (records.folder / "a-0").symlink_to("/dev/full")
        records.append("a", np.zeros(count, np.int64), np.zeros(count, "u8"))
        with pytest.raises(OutOfDisk, match="a-0"):
            records.file("a", 0)


def test_a_few_records_make_no_file(tmp_path: Path) -> None:
    with Spill(LocalStorage(str(tmp_path))) as records:
        records.append("a", np.array([0, 1]), np.array([7, 8], "u8"))
        assert records.read("a", 1, np.dtype("u8")).tolist() == [8]
        assert not list(records.folder.iterdir())
        assert records.file("b", 0) is None
