"""A prefix in an S3-compatible bucket, through s3fs: whole objects or none, by name. Needs the extra `s3`.

Credentials and endpoint come from the environment, as for any S3 tool: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, AWS_REGION, or a profile in ~/.aws.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 20
_ATTEMPTS: Final = 3


class BucketUnavailable(Exception):
    """The store does not answer, or refuses; it may be tried again."""


class BucketMisconfigured(Exception):
    """It can never work: no bucket in the URL, or the extra `s3` is not installed."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a store, and when it was written (Unix seconds)."""

    name: str
    size_bytes: int
    stored_s: float


class Bucket:
    """Flat: names right below the prefix. Every method blocks and is safe in any thread."""

    def __init__(self, location: str) -> None:
        """Of `s3://bucket/prefix`. Connects to nothing yet; raises what `misconfigured` makes."""
        try:
            import s3fs
        except ImportError:
            raise self.misconfigured("keeping pictures in S3 needs the extra s3: pip install 'aitbc[s3]'") from None
        self._root = location.removeprefix("s3://").rstrip("/")
        self._location = f"s3://{self._root}"
        if not self._root.partition("/")[0]:
            raise self.misconfigured(f"{location} names no bucket: s3://bucket/prefix")
        timeouts = {"connect_timeout": _CONNECT_TIMEOUT_S, "read_timeout": _READ_TIMEOUT_S}
        self._bucket: Any = s3fs.S3FileSystem(
            use_listings_cache=False,
            skip_instance_cache=True,
            config_kwargs={**timeouts, "retries": {"max_attempts": 1, "mode": "standard"}},
        )
        # Its own retries, of whole calls: a client waits for its picture meanwhile.
        self._bucket.retries = _ATTEMPTS

    def unavailable(self, message: str) -> Exception:
        """What is raised where the store cannot be used now; a subclass may have an error of its own."""
        return BucketUnavailable(message)

    def misconfigured(self, message: str) -> Exception:
        """What is raised where it can never be used."""
        return BucketMisconfigured(message)

    def prepare(self) -> None:
        """Asks whether the bucket is there."""
        bucket = self._root.partition("/")[0]
        with self._clear_errors():
            if not self._bucket.exists(bucket):
                raise FileNotFoundError(f"there is no bucket {bucket}")

    def files(self) -> list[StoredFile]:
        """Every object right below the prefix."""
        with self._clear_errors():
            try:
                found = self._bucket.ls(self._root, detail=True)
            except FileNotFoundError:
                return []  # A prefix without objects.
        return [
            StoredFile(entry["name"].rpartition("/")[2], entry["size"], _unix_s(entry["LastModified"]))
            for entry in found
            if entry["type"] == "file"
        ]

    def write(self, name: str, content: bytes, media_type: str) -> None:
        """One PUT: the object is there whole or not at all."""
        with self._clear_errors():
            self._bucket.pipe_file(f"{self._root}/{name}", content, ContentType=media_type)

    def read(self, name: str) -> bytes | None:
        """The object's bytes, or None."""
        with self._clear_errors():
            try:
                content: bytes = self._bucket.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
        return content

    def delete(self, name: str) -> None:
        """Removes it."""
        with self._clear_errors(), contextlib.suppress(FileNotFoundError):
            self._bucket.rm_file(f"{self._root}/{name}")

    def link(self, name: str, expires_s: int) -> str | None:
        """A presigned URL; nothing is asked of the store."""
        with self._clear_errors():
            url: str = self._bucket.sign(f"{self._root}/{name}", expiration=expires_s)
        return url

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        import aiohttp
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            yield
        # The last two are what s3fs raises in the end for a body that is cut off, and for one that is no answer of S3.
        except (OSError, BotoCoreError, ClientError, aiohttp.ClientError, ResponseParserError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self.unavailable(f"the store of pictures {self._location} cannot be used: {reason}") from error


def _unix_s(moment: datetime) -> float:
    return moment.timestamp()
