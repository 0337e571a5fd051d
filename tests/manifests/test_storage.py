"""Storage, the same tests in a folder and on S3 over HTTP; then what only one of the two can suffer."""

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import ranged, s3
from manifests.storage import OutOfDisk, Storage, StorageError, open_storage
from tests.manifests.faulty_s3 import Faults, FaultyS3

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


@pytest.fixture(scope="module")
def store() -> Iterator[FaultyS3]:
    with FaultyS3() as faulty:
        faulty.make_bucket("corpus")
        yield faulty


@pytest.fixture
def bucket(store: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyS3]:
    """The faulty store as this process's S3, free of faults until the test sets some."""
    from botocore.retries.standard import ExponentialBackoff

    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ranged, "FIRST_WAIT", 0.01)
    monkeypatch.setitem(ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, "throttling_base_scale", 0.02)
    store.requests.clear()
    store.injected.clear()
    yield store
    store.faults, store.ignores_conditions, store.hold_uploads, store.conflicts = Faults(), False, False, 0
    if store.injected:
        s3._client.cache_clear()  # adaptive retries remember that they were throttled


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "语料"))
    request.getfixturevalue("bucket")
    return open_storage(f"s3://corpus/{tmp_path.name}/语料")


def temp_file(storage: Storage, data: bytes) -> Path:
    path = storage.scratch() / "part.parquet"
    path.write_bytes(data)
    return path


def temp_files(storage: Storage) -> list[str]:
    return sorted(path.name for path in storage.scratch().rglob("*"))


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


class TestS3:
    def test_content_after_faults_equals_what_was_sent(
        self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_RETRY_MODE", "standard")
        storage = open_storage("s3://corpus/faults")
        bucket.faults = Faults(
            seed=8, slow_down=0.1, torn_upload=0.12, lost_reply=0.1, torn_download=0.15, slow_read=0.1
        )
        chance = random.Random(4)
        sent = {f"data/{number}.parquet": chance.randbytes(200_000 + number) for number in range(16)}
        for path, data in sent.items():
            storage.put_file(temp_file(storage, data), path)
            assert storage.get(path) == data
        for path, data in sent.items():
            with storage.open(path) as file:
                file.seek(50_000)
                assert file.read(100_000) == data[50_000:150_000]
                file.seek(0)
                assert file.read() == data
        assert all(storage.put_if_absent(f"done/{number}", b"%d" % number) for number in range(8))
        assert not any(storage.put_if_absent(f"done/{number}", b"again") for number in range(8))
        assert [entry.path for entry in storage.list("data")] == sorted(sent)
        assert set(bucket.injected) == {"slow_down", "torn_upload", "lost_reply", "torn_download", "slow_read"}
        bucket.faults = Faults()
        stored = bucket.behind().list_objects_v2(Bucket="corpus", Prefix="faults/data/")["Contents"]
        assert [found["Size"] for found in stored] == [len(sent[path]) for path in sorted(sent)]

    def test_default_retries_live_through_slow_down(self, bucket: FaultyS3) -> None:
        bucket.faults = Faults(slow_down=1.0)  # two in a row, then the request passes
        open_storage("s3://corpus/slow").put("x", b"1")
        assert bucket.injected["slow_down"] == 2

    def test_a_lost_reply_does_not_hide_who_created(self, bucket: FaultyS3) -> None:
        storage = open_storage("s3://corpus/lost")
        bucket.faults = Faults(lost_reply=1.0)
        assert storage.put_if_absent("t", b"1")
        assert not storage.put_if_absent("t", b"1")
        assert bucket.injected["lost_reply"] == 4

    def test_a_conflict_is_tried_again(self, bucket: FaultyS3) -> None:
        bucket.conflicts = 2
        assert open_storage("s3://corpus/conflict").put_if_absent("t", b"1")
        assert [asked.status for asked in bucket.requests] == [409, 409, 200]

    def test_a_torn_upload_is_not_visible(self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
        storage = open_storage("s3://corpus/torn")
        local = temp_file(storage, bytes(100_000))
        monkeypatch.setattr(s3, "MOST_ATTEMPTS", 1)
        s3._client.cache_clear()
        bucket.faults = Faults(torn_upload=1.0)
        with pytest.raises(StorageError, match="torn/x"):
            storage.put_file(local, "x")
        assert storage.list("") == []
        assert local.exists()

    def test_a_large_file_goes_in_parts(self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(s3, "MULTIPART_ABOVE", 6 << 20)
        monkeypatch.setattr(s3, "PART", 5 << 20)
        storage = open_storage("s3://corpus/large")
        bucket.faults = Faults(seed=1, torn_upload=0.5)
        data = random.Random(5).randbytes(12 << 20)
        storage.put_file(temp_file(storage, data), "x")
        assert bucket.injected["torn_upload"] > 0
        assert sum(asked.method == "PUT" for asked in bucket.requests) == 3
        bucket.requests.clear()
        bucket.faults = Faults()
        assert storage.open("x").read() == data
        assert sum(asked.method == "GET" for asked in bucket.requests) == 1  # one stream from start to end
        assert threading.active_count() < 20

    def test_a_store_that_ignores_the_condition_is_refused(self, bucket: FaultyS3) -> None:
        bucket.ignores_conditions = True
        with pytest.raises(StorageError, match="ignores 'If-None-Match"):
            open_storage("s3://corpus/ignores").probe()

    @pytest.mark.parametrize(
        ("variable", "value", "uri", "sentence"),
        [
            ("X", "", "s3://nobody/x", "bucket does not exist"),
            ("X", "", "s3://No Bucket/x", "Invalid bucket name"),
            ("AWS_ACCESS_KEY_ID", "other", "s3://corpus/x", "does not know this access key"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "s3://corpus/x", "127.0.0.1:1"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_sentence(
        self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, uri: str, sentence: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        monkeypatch.setattr(s3, "MOST_ATTEMPTS", 2)
        with pytest.raises(StorageError, match=sentence) as refused:
            open_storage(uri).probe()
        assert "\n" not in str(refused.value)

    def test_missing_credentials_are_named(self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
            open_storage("s3://corpus/x").probe()

    def test_our_endpoint_variable_wins(self, bucket: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GLASSPILE_S3_ENDPOINT", bucket.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        open_storage("s3://corpus/endpoint").put("x", b"1")

    def test_an_object_that_changes_while_it_is_read_is_an_error(self, bucket: FaultyS3) -> None:
        storage = open_storage("s3://corpus/changes")
        storage.put("x", bytes(2_000_000))
        with storage.open("x") as file:
            file.seek(10)
            file.read(10)
            storage.put("x", b"1" * 2_000_000)
            file.seek(1_500_000)
            with pytest.raises(StorageError, match="changed while it was read"):
                file.read(10)
