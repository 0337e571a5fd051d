"""A corpus root in an S3 bucket, or in any store that speaks its protocol and honours `If-None-Match: *`.

boto3 is imported at first use (0.4 s that local users do not pay) and retries adaptively by itself; what it cannot
retry, a body that breaks while it is read, is retried here. The surprising thing is a lost reply: the store created
the object, the connection broke, and the repeated request is told that the object exists. Each creation therefore
carries a token, by which a writer knows its own object. The endpoint comes from GLASSPILE_S3_ENDPOINT, then from
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; credentials and region from where boto3 looks for them. AWS_RETRY_MODE may
say `standard`: adaptive retries also slow a process down to a few requests a second for a while after each 503.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from manifests.entries import (
    SCRATCH,
    Entries,
    Entry,
    StorageError,
    absent,
    below_folder,
    checked,
    disk_errors,
    scratch_free,
    visible,
)
from manifests.ranged import Broken, Stream, open_ranged, retried

MULTIPART_ABOVE = 64 << 20
PART = 16 << 20
MOST_PARTS = 10_000
MOST_ATTEMPTS = 10
READ_TIMEOUT = 60.0  # seconds without a byte
T = TypeVar("T")
SENTENCES = {
    "NoSuchBucket": "the bucket does not exist; create it or correct its name",
    "InvalidAccessKeyId": "the store does not know this access key; check AWS_ACCESS_KEY_ID or AWS_PROFILE",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    "ExpiredToken": "the credentials have expired; renew them and run again",
    "AccessDenied": "access denied; these credentials lack a permission on this bucket",
    "403": "access denied; check the credentials and their permissions on this bucket",
    "PreconditionFailed": "the object changed while it was read; list the inputs again",
}


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise StorageError(f"{uri!r} names no bucket; write s3://bucket/prefix")
    return bucket, key


def connect() -> Any:
    """This process's client for what the environment says now; it is safe to share among threads."""
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "GLASSPILE_S3_"))))
    return _client(os.getpid(), settings, READ_TIMEOUT)


# Keyed by process, since a forked child must not share its parent's connections.
@lru_cache(maxsize=8)
def _client(process: int, settings: tuple[tuple[str, str], ...], read_timeout: float) -> Any:
    import boto3
    from botocore.config import Config

    endpoint = dict(settings).get("GLASSPILE_S3_ENDPOINT")
    config = Config(
        retries={"mode": dict(settings).get("AWS_RETRY_MODE", "adaptive"), "total_max_attempts": MOST_ATTEMPTS},
        connect_timeout=10,
        read_timeout=read_timeout,
        max_pool_connections=16,
    )
    with explained(endpoint or "s3://"):
        return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns boto3's errors into FileNotFoundError or a StorageError of one sentence, and a reply that breaks off, which
    botocore neither repeats nor explains, into Broken."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "NotFound", "404"):
            raise absent(uri) from error
        raise StorageError(f"{uri}: {SENTENCES.get(code, error)}") from error
    except HTTPError as error:
        raise Broken(str(error)) from error
    except NoCredentialsError as error:
        raise StorageError(
            f"{uri}: no S3 credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (BotoCoreError, Boto3Error, ValueError) as error:
        raise StorageError(f"{uri}: {' '.join(str(error).split())}") from error


def body_errors() -> tuple[type[Exception], ...]:
    """What reading a response's body raises when the connection breaks or its checksum is wrong."""
    from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError

    return (HTTPClientError, IncompleteReadError, FlexibleChecksumError, OSError)


def patiently(uri: str, call: Callable[[], T]) -> T:
    """The result of a call that may be repeated."""

    def attempt() -> T:
        with explained(uri):
            return call()

    return retried(uri, attempt)


def objects(bucket: str, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Key and listing entry of every object whose key begins with the prefix, without folder markers."""

    def pages() -> list[dict[str, Any]]:
        return list(connect().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))

    listed = (found for page in patiently(f"s3://{bucket}/{prefix}", pages) for found in page.get("Contents", []))
    return [(found["Key"], found) for found in listed if not found["Key"].endswith("/")]


def open_object(uri: str) -> io.BufferedReader:
    """A seekable file over an object, pinned to the version that it has now."""
    bucket, key = split(uri)
    head = patiently(uri, lambda: connect().head_object(Bucket=bucket, Key=key))
    return open_ranged(S3Object(uri, head["ContentLength"], head["ETag"], body_errors()))


@dataclass(frozen=True)
class S3Object:
    """One version of an object, as a RangeSource."""

    uri: str
    size: int
    etag: str
    transient: tuple[type[Exception], ...]

    def open_range(self, start: int, stop: int) -> Stream:
        bucket, key = split(self.uri)
        with explained(self.uri):
            reply = connect().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", IfMatch=self.etag)
        return reply["Body"]


@dataclass(frozen=True)
class S3Storage:
    """Storage below an s3:// address; it holds nothing but that, so it travels to workers as it is."""

    uri: str

    def get(self, path: str) -> bytes:
        bucket, key = self._place(path)
        broken = body_errors()

        def attempt() -> bytes:
            with explained(self._uri(path)):
                body = connect().get_object(Bucket=bucket, Key=key)["Body"]
            try:
                return body.read()
            except broken as error:
                raise Broken(str(error)) from error

        return retried(self._uri(path), attempt)

    def open(self, path: str) -> BinaryIO:
        return open_object(self._uri(path))

    def put_file(self, local: Path, path: str) -> None:
        bucket, key = self._place(path)

        def upload() -> None:
            size = local.stat().st_size
            if size > MULTIPART_ABOVE:
                from boto3.s3.transfer import TransferConfig

                # One part after the other: the run has many workers already, and no thread outlives the call.
                part = max(PART, -(-size // MOST_PARTS))
                config = TransferConfig(multipart_threshold=part, multipart_chunksize=part, use_threads=False)
                connect().upload_file(str(local), bucket, key, Config=config)
            else:
                with open(local, "rb") as body:
                    connect().put_object(Bucket=bucket, Key=key, Body=body)

        with disk_errors(local):
            patiently(self._uri(path), upload)
            local.unlink()

    def put(self, path: str, data: bytes) -> None:
        bucket, key = self._place(path)
        patiently(self._uri(path), lambda: connect().put_object(Bucket=bucket, Key=key, Body=data))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        bucket, key = self._place(path)
        token = uuid4().hex

        def attempt() -> bool:
            with explained(self._uri(path)):
                try:
                    connect().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={"writer": token})
                    return True
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == 409:
                        raise Broken("another writer is at this object") from error
                    if status != 412:
                        raise
            try:
                with explained(self._uri(path)):
                    head = connect().head_object(Bucket=bucket, Key=key)
            except FileNotFoundError as error:
                raise Broken("the object was there and went") from error
            return head["Metadata"].get("writer") == token

        return retried(self._uri(path), attempt)

    def list(self, prefix: str) -> Entries:
        bucket, root = self._place("")
        found = [
            Entry(key[len(root) :], entry["Size"], entry["LastModified"].timestamp(), entry["ETag"].strip('"'))
            for key, entry in objects(bucket, root + below_folder(prefix))
        ]
        return sorted((entry for entry in found if visible(entry.path)), key=lambda entry: entry.path)

    def delete(self, path: str) -> None:
        bucket, key = self._place(path)
        patiently(self._uri(path), lambda: connect().delete_object(Bucket=bucket, Key=key))

    def scratch(self) -> Path:
        folder = Path(tempfile.gettempdir()) / f"glasspile-{os.getuid()}"
        with disk_errors(f"{folder} (set TMPDIR to a disk with room)"):
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def free_bytes(self) -> int | None:
        return scratch_free(self.scratch())

    def probe(self) -> None:
        name = f"{SCRATCH}/probe-{uuid4().hex}"
        first, second = self.put_if_absent(name, b"1"), self.put_if_absent(name, b"2")
        self.delete(name)
        if (first, second) != (True, False):
            raise StorageError(
                f"{self.uri}: this store ignores 'If-None-Match: *', so two workers could commit the same task; "
                "upgrade it, or use a store that creates objects only if absent"
            )

    def _place(self, path: str) -> tuple[str, str]:
        bucket, root = split(self.uri)
        return bucket, (f"{root}/" if root else "") + (checked(path) if path else "")

    def _uri(self, path: str) -> str:
        return f"{self.uri}/{checked(path)}"
