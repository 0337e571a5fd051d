"""The file that is hashed while it is written, where the system takes less than it is given."""

import hashlib
import resource
from pathlib import Path

import pytest

from manifests.hashed_file import HashedFile


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    with HashedFile(tmp_path / "file") as file:
        for part in (b"words", b"", "汉字".encode(), memoryview(b"more")):
            assert file.write(part) == len(part)
    data = (tmp_path / "file").read_bytes()
    assert data == "words汉字more".encode()
    assert file.sha256.hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_write_that_takes_a_part_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """Up to the size limit of a process the system takes what fits and says how much; only the next call fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with HashedFile(tmp_path / "file") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                file.write(bytes(12_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "file").stat().st_size == 10_000
