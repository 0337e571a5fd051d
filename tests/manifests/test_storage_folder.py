"""What only a folder can suffer: full disks, other file systems, links, and other users."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from manifests.storage import OutOfDisk, StorageError, open_storage
from tests.manifests.conftest import temp_file, temp_files


class TestFolder:
    def test_a_full_disk_has_its_own_error_and_leaves_no_temp_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(handle: int) -> NoReturn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        storage = open_storage(str(tmp_path))
        local = temp_file(storage, b"1")
        (tmp_path / "a").mkdir()
        monkeypatch.setattr("os.fsync", full)
        for action in (storage.put, storage.put_if_absent):
            with pytest.raises(OutOfDisk, match="a/x: the disk is full"):
                action("a/x", b"1")
        with pytest.raises(OutOfDisk):
            storage.put_file(local, "a/x")
        assert storage.list("") == []
        assert temp_files(storage) == ["part.parquet"]  # it is the caller's until put_file succeeds

    def test_a_file_from_another_file_system_is_copied_first(self, tmp_path: Path) -> None:
        other = Path("/dev/shm")
        if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second file system")
        local = other / f"glasspile-{os.getpid()}"
        local.write_bytes(b"1")
        storage = open_storage(str(tmp_path))
        storage.put_file(local, "a/x")
        assert storage.get("a/x") == b"1"
        assert not local.exists()
        assert temp_files(storage) == []

    def test_what_can_be_no_root_is_refused_by_the_probe(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match="file"):
            open_storage(str(tmp_path / "file" / "root")).probe()

    def test_a_file_system_without_hard_links_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_links(source: Path, target: Path) -> NoReturn:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr("os.link", no_links)
        with pytest.raises(StorageError, match="makes no hard links"):
            open_storage(str(tmp_path)).probe()

    def test_other_users_may_read_what_the_umask_lets_them(self, tmp_path: Path) -> None:
        storage = open_storage(str(tmp_path))
        storage.put("a", b"1")
        (tmp_path / "b").write_bytes(b"1")
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode

    def test_links_to_folders_are_followed_but_not_in_circles(self, tmp_path: Path) -> None:
        storage = open_storage(str(tmp_path / "root"))
        storage.put("a/x", b"1")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "y").write_bytes(b"2")
        (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
        assert [entry.path for entry in storage.list("")] == ["a/x", "b/y"]

    @pytest.mark.parametrize(
        "uri", ["hdfs://host/x", "gs://b/x", "https://host/x", "s3:/b/x", "s3://", "file://host/x"]
    )
    def test_an_unknown_address_is_refused(self, uri: str) -> None:
        with pytest.raises(StorageError):
            open_storage(uri)

    def test_addresses_of_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for uri in ("a b", "./c/../a b/", f"file://{tmp_path}/a%20b", f"{tmp_path}/a b"):
            assert open_storage(uri).uri == f"{tmp_path}/a b"

    def test_local_users_do_not_pay_for_boto3_and_no_thread_stays(self, tmp_path: Path) -> None:
        code = (
            "import sys, threading; from manifests.storage import *; s = open_storage(sys.argv[1]); s.probe();"
            "print(sorted({'boto3', 'pyarrow'} & set(sys.modules)), threading.active_count())"
        )
        told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert told.stdout == "[] 1\n"
