"""What only S3 can suffer: faults on the way, conditions that are ignored, and wrong addresses or credentials."""

import random
import threading
from pathlib import Path

import pytest

from manifests import s3
from manifests.storage import StorageError, open_storage
from tests.manifests.conftest import temp_file
from tests.manifests.faulty_s3 import Faults, FaultyS3


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
