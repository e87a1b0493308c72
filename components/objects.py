"""Objects under one root, a folder or an S3 bucket: written whole or not at all."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

from components.errors import LakeError, SettingsError, WriteOnceError

# Names of writes under way; never listed, never read.
UNDER_WAY = ".writing-"

# Larger bodies go up in parts; S3 shows the object only once all of them are there.
MULTIPART_FROM = 64 * 2**20

REMEDIES = {
    errno.ENOSPC: "The disk is full: free space, or set TREMOR_LAKE_URL to another place.",
    errno.EDQUOT: "The disk quota is used up: free space, or set TREMOR_LAKE_URL.",
    errno.EFBIG: "The file may not grow so large here: free space, or set TREMOR_LAKE_URL.",
    errno.EACCES: "Give this user the right to write there, or set TREMOR_LAKE_URL.",
    errno.EROFS: "The file system is read-only: set TREMOR_LAKE_URL to another place.",
}


def segment(text: str) -> str:
    """A text from outside as one harmless part of a key; ``text_of`` reads it back."""
    quoted = quote(text, safe="-_=^&+,@")
    # A name of dots alone would climb; a leading dot would hide.
    return quoted.replace(".", "%2E") if not quoted.strip(".") or quoted[0] == "." else quoted


def text_of(part: str) -> str:
    """The text that ``segment`` made a key's part of."""
    return unquote(part)


def check_key(key: str) -> str:
    """Refuse a key that could leave the root."""
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts) or "\\" in key or "\0" in key:
        raise LakeError(f"lake: {key[:80]!r} is no key. Nothing was written.")
    return key


class Objects(Protocol):
    """Bytes by key."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whole or not at all; an older one is replaced."""

    def put_once(self, key: str, body: bytes) -> None:
        """Write an object that never changes; ``WriteOnceError`` when it has other bytes."""

    def get(self, key: str) -> bytes:
        """Read an object; ``LakeError`` when it is absent."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine."""


def open_objects(root: str, timeout_s: float = 60) -> Objects:
    """Open a folder's path or an ``s3://bucket/prefix``, which has so long to answer."""
    if root.startswith("s3://"):
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        if not bucket:
            raise SettingsError("TREMOR_LAKE_URL names no bucket. Write s3://bucket/prefix.")
        return Bucket(bucket, prefix.strip("/"), timeout_s)
    if "://" in root:
        raise SettingsError("TREMOR_LAKE_URL is neither a folder nor s3://bucket/prefix.")
    return Folder(Path(root).expanduser())


class Folder:
    """Objects as files. A write goes beside its place, is flushed, and is then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, body: bytes) -> None:
        """Write, flush, rename; see ``Objects``."""
        path = self._path(key)
        with self._in_words("write", key), self._written(path, body) as beside:
            beside.replace(path)
            _flush(path.parent)

    def put_once(self, key: str, body: bytes) -> None:
        """Write, flush, link: a link fails where something is; see ``Objects``."""
        path = self._path(key)
        with self._in_words("write", key), self._written(path, body) as beside:
            try:
                os.link(beside, path)
            except FileExistsError:
                if path.read_bytes() != body:
                    raise _written_once(key) from None
            _flush(path.parent)

    def get(self, key: str) -> bytes:
        """Read a file; see ``Objects``."""
        with self._in_words("read", key):
            return self._path(key).read_bytes()

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        """The files below the prefix's folder whose key begins with it."""
        folder = self.root / prefix.rpartition("/")[0]
        with self._in_words("list", prefix):
            found = [
                str(Path(where, name).relative_to(self.root).as_posix())
                for where, _, names in os.walk(folder)
                for name in names
                if not name.startswith(UNDER_WAY)
            ]
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove a file; see ``Objects``."""
        with self._in_words("delete", key):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _written(self, path: Path, body: bytes) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=UNDER_WAY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)
                file.write(body)
                file.flush()
                os.fsync(descriptor)
            yield Path(name)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()

    @contextmanager
    def _in_words(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = REMEDIES.get(error.errno or 0, "Check TREMOR_LAKE_URL.")
            why = error.strerror or type(error).__name__
            raise LakeError(f"lake {self.root}: could not {verb} {key}: {why}. {remedy}") from error


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written_once(key: str) -> WriteOnceError:
    return WriteOnceError(f"lake: {key} is written once and exists with other bytes. Look at both.")


class Bucket:
    """Objects in S3, encrypted as the bucket says; ``AWS_ENDPOINT_URL`` names another server."""

    def __init__(self, bucket: str, prefix: str, timeout_s: float = 60) -> None:
        self.bucket, self.prefix, self.timeout_s = bucket, prefix, timeout_s
        self._opened: Any = None

    def put(self, key: str, body: bytes) -> None:
        """Put in one request, or in parts that appear together; see ``Objects``."""
        with self._in_words("write", key):
            self._put(key, body)

    def put_once(self, key: str, body: bytes) -> None:
        """Put on the condition that nothing is there; see ``Objects``."""
        from botocore.exceptions import ClientError

        with self._in_words("write", key):
            try:
                self._put(key, body, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("PreconditionFailed", "412"):
                    raise
                if hashlib.sha256(self.get(key)).digest() != hashlib.sha256(body).digest():
                    raise _written_once(key) from None

    def get(self, key: str) -> bytes:
        """Read an object; see ``Objects``."""
        with self._in_words("read", key):
            found = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            body: bytes = found["Body"].read()
            return body

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return key in self.list(key)

    def list(self, prefix: str) -> list[str]:
        """All pages of the listing; see ``Objects``."""
        with self._in_words("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._place(prefix)
            )
            cut = len(self._place(""))
            return sorted(each["Key"][cut:] for page in pages for each in page.get("Contents", ()))

    def delete(self, key: str) -> None:
        """Remove an object; see ``Objects``."""
        with self._in_words("delete", key):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def _put(self, key: str, body: bytes, **conditions: str) -> None:
        if len(body) < MULTIPART_FROM or conditions:
            self._client.put_object(Bucket=self.bucket, Key=self._key(key), Body=body, **conditions)
            return
        import io

        self._client.upload_fileobj(io.BytesIO(body), self.bucket, self._key(key))

    def _key(self, key: str) -> str:
        return self._place(check_key(key))

    def _place(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @property
    def _client(self) -> Any:
        if self._opened is None:
            import boto3
            from botocore.config import Config

            self._opened = boto3.client(
                "s3",
                config=Config(
                    connect_timeout=min(10, self.timeout_s),
                    read_timeout=self.timeout_s,
                    retries={"max_attempts": 4, "mode": "standard"},
                ),
            )
        return self._opened

    @contextmanager
    def _in_words(self, verb: str, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            why = f"{said.get('Code', 'error')} {said.get('Message', '')}".strip()
            raise self._error(verb, key, why) from error
        except (BotoCoreError, Boto3Error, OSError) as error:
            raise self._error(verb, key, type(error).__name__) from error
        except ValueError as error:
            # So the client refuses an endpoint that is no address, or a bucket that is no name.
            raise self._error(verb, key, "no such address") from error

    def _error(self, verb: str, key: str, why: str) -> LakeError:
        why = " ".join(why.split()).rstrip(".")[:200]
        return LakeError(
            f"lake s3://{self.bucket}: could not {verb} {key}: {why}. Check TREMOR_LAKE_URL, "
            "AWS_ENDPOINT_URL, the region and the credentials."
        )
