"""Storage, the same tests in a folder and on S3 over HTTP."""

import os
import pickle
import random
import signal
import subprocess
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.storage import Storage, StorageError, open_storage
from tests.manifests.conftest import temp_file, temp_files
from tests.manifests.faulty_s3 import FaultyS3

NAMES = ["filter-en/a.parquet", "网页-过滤/甲 乙.parquet", "plain"]
WRITER = """
import os, sys, time
from pathlib import Path
from manifests.storage import open_storage

def stuck(handle):
    print("writing", flush=True)
    time.sleep(60)

if sys.argv[3] == "stuck":
    os.fsync = stuck
open_storage(sys.argv[1]).put_file(Path(sys.argv[2]), "data/x.parquet")
"""


class TestStorage:
    @pytest.mark.parametrize("path", NAMES)
    def test_an_object_comes_back_until_it_is_deleted(self, storage: Storage, path: str) -> None:
        storage.put(path, b"one")
        storage.put(path, b"two")
        assert storage.get(path) == b"two"
        assert storage.open(path).read() == b"two"
        storage.delete(path)
        storage.delete(path)
        for read in (storage.get, storage.open):
            with pytest.raises(FileNotFoundError):
                read(path)
        assert temp_files(storage) == []

    def test_an_absent_object_is_a_missing_file_in_every_way(self, storage: Storage) -> None:
        storage.put("a/b", b"1")
        for path in ("a/c", "a", "a/b/c", "x/y"):
            with pytest.raises(FileNotFoundError):
                storage.get(path)
        storage.delete("a/b/c")

    @pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../x", "a//b", "a/", "."])
    def test_no_path_leaves_the_root(self, storage: Storage, path: str) -> None:
        for action in (storage.get, storage.open, storage.delete):
            with pytest.raises(StorageError):
                action(path)
        with pytest.raises(StorageError):
            storage.put(path, b"")

    def test_a_listing_is_recursive_sorted_and_by_folder(self, storage: Storage) -> None:
        for path in ("b/2", "b/1", "b-c/1", "b/zh/数据", "a"):
            storage.put(path, path.encode())
        storage.put("b/.hidden", b"")
        storage.put(".tmp/x", b"")
        everything = ["a", "b-c/1", "b/1", "b/2", "b/zh/数据"]
        for prefix, expected in [
            ("", everything),
            ("b", everything[2:]),
            ("b/", everything[2:]),
            ("b/zh", everything[4:]),
            ("b/1", []),
            ("none", []),
            (".tmp", []),
        ]:
            entries = storage.list(prefix)
            assert [entry.path for entry in entries] == expected, prefix
            assert [entry.size for entry in entries] == [len(path.encode()) for path in expected]
            assert all(entry.mtime for entry in entries)

    def test_create_if_absent_never_changes_what_is_there(self, storage: Storage) -> None:
        assert storage.put_if_absent("t/manifest", b"first")
        assert not storage.put_if_absent("t/manifest", b"second")
        assert not storage.put_if_absent("t/manifest", b"first")
        assert storage.get("t/manifest") == b"first"
        assert temp_files(storage) == []

    def test_one_of_eight_writers_creates(self, storage: Storage) -> None:
        created: list[int] = []
        start = threading.Barrier(8)

        def write(number: int) -> None:
            start.wait()
            if storage.put_if_absent("t/manifest", b"%d" % number):
                created.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(created) == 1
        assert storage.get("t/manifest") == b"%d" % created[0]

    def test_a_finished_file_is_taken_over(self, storage: Storage) -> None:
        for data in (b"old", b"", random.Random(1).randbytes(300_000)):
            local = temp_file(storage, data)
            storage.put_file(local, "data/key.digest.parquet")
            assert storage.get("data/key.digest.parquet") == data
            assert not local.exists()
        with pytest.raises(FileNotFoundError):
            storage.put_file(storage.scratch() / "none", "data/x")

    def test_a_killed_writer_leaves_no_object(self, storage: Storage, request: pytest.FixtureRequest) -> None:
        local = temp_file(storage, bytes(500_000))
        faulty: FaultyS3 | None = None
        if storage.uri.startswith("s3://"):
            faulty = request.getfixturevalue("bucket")
            faulty.hold_uploads = True
            faulty.upload_held.clear()
        command = [sys.executable, "-c", WRITER, storage.uri, str(local), "go" if faulty else "stuck"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        if faulty:
            assert faulty.upload_held.wait(20)
        else:
            assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert storage.list("") == []
        with pytest.raises(FileNotFoundError):
            storage.get("data/x.parquet")
        if faulty:
            faulty.hold_uploads = False
        storage.put_file(local, "data/x.parquet")
        assert storage.get("data/x.parquet") == bytes(500_000)

    def test_any_range_reads_as_from_a_file(self, storage: Storage) -> None:
        chance = random.Random(2)
        data = chance.randbytes(3_000_000)
        storage.put("x", data)
        with storage.open("x") as file:
            assert file.seekable()
            at = 0
            for _ in range(20):
                if chance.random() < 0.6:
                    at = chance.randrange(len(data) + 10)
                    file.seek(at)
                count = chance.choice([1, 100, 70_000, 1_500_000])
                assert file.read(count) == data[at : at + count]
                at = min(at + count, max(at, len(data)))
                assert file.tell() == at
            file.seek(-5, os.SEEK_END)
            assert file.read() == data[-5:]
            file.seek(0)
            assert file.read() == data

    def test_parquet_reads_one_row_group_and_not_the_whole_object(
        self, storage: Storage, request: pytest.FixtureRequest
    ) -> None:
        chance = random.Random(3)
        table = pa.table({"文": [chance.randbytes(500) for _ in range(16_000)], "n": range(16_000)})
        local = storage.scratch() / "t.parquet"
        pq.write_table(table, local, row_group_size=2_000)
        size = local.stat().st_size
        storage.put_file(local, "t.parquet")
        with storage.open("t.parquet") as source, pq.ParquetFile(source) as file:
            assert file.num_row_groups == 8
            assert file.read_row_group(5).equals(table.slice(10_000, 2_000))
        if storage.uri.startswith("s3://"):
            served = [asked for asked in request.getfixturevalue("bucket").requests if asked.method == "GET"]
            assert size / 8 < sum(asked.sent for asked in served) < size / 4
            assert len(served) <= 5

    def test_a_storage_is_its_address(self, storage: Storage) -> None:
        storage.put("a", b"1")
        assert len(pickle.dumps(storage)) < 500
        for same in (pickle.loads(pickle.dumps(storage)), open_storage(storage.uri)):
            assert same.uri == storage.uri
            assert same.get("a") == b"1"

    def test_a_good_store_passes_the_probe_and_keeps_no_trace(self, storage: Storage) -> None:
        storage.probe()
        assert storage.list("") == []
        assert temp_files(storage) == []
        assert (storage.free_bytes() or 0) > 1_000_000
