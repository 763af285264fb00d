"""Pictures in a folder and in a bucket of a real S3 server: whole or not at all, and only those that were kept."""

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.artifacts import Artifacts, ArtifactsUnavailable
from hub.errors import HubConfigurationError
from tests.s3 import S3Server

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.kill()


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    server: S3Server = request.getfixturevalue("s3")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.make_bucket(tmp_path.name.replace("_", "-").lower())
    return f"s3://{tmp_path.name.replace('_', '-').lower()}/some/prefix"


async def test_what_was_kept_is_read_again_by_any_process(location: str) -> None:
    mine, others = Artifacts(location), Artifacts(location)
    digests = await mine.keep([b"one", b"two", b"one"])
    assert digests == [hashlib.sha256(each).hexdigest() for each in (b"one", b"two", b"one")]
    assert await others.read_all(digests) == [b"one", b"two", b"one"]
    assert await others.keep([b"one"]) == digests[:1]
    assert await mine.prune(DAY_S) == 0


async def test_what_was_not_kept_or_was_removed_is_not_there(location: str) -> None:
    artifacts = Artifacts(location)
    (digits,) = await artifacts.keep([b"one"])
    assert await artifacts.read("0" * 64) is None
    await artifacts.remove(digits)
    await artifacts.remove(digits)
    assert await artifacts.read(digits) is None


async def test_what_is_old_is_forgotten(location: str) -> None:
    artifacts = Artifacts(location)
    assert await artifacts.prune(DAY_S) == 0
    digests = await artifacts.keep([b"one", b"two"])
    assert await artifacts.prune(-DAY_S) == 2  # As if a day had passed, and the limit were a moment.
    assert await artifacts.read_all(digests) == [None, None]


async def test_the_same_picture_again_is_new(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    old, fresh = await artifacts.keep([b"old", b"fresh"])
    for digits in (old, fresh):
        os.utime(tmp_path / digits[:2] / digits, (0, time.time() - 2 * DAY_S))
    await artifacts.keep([b"fresh"])
    assert await artifacts.prune(DAY_S) == 1
    assert await artifacts.read_all([old, fresh]) == [None, b"fresh"]


async def test_what_a_write_that_was_cut_off_has_left_goes_too(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    (digits,) = await artifacts.keep([b"one"])
    leftover = tmp_path / digits[:2] / f".{digits}.0123456789abcdef.new"
    leftover.write_bytes(b"on")
    await artifacts.prune(DAY_S)
    assert leftover.exists()  # Somebody may be writing it.
    os.utime(leftover, (0, 0))
    assert await artifacts.prune(DAY_S) == 0
    assert not leftover.exists()


async def test_a_damaged_file_is_none(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    (digits,) = await artifacts.keep([b"one"])
    (tmp_path / digits[:2] / digits).write_bytes(b"onf")
    assert await artifacts.read(digits) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63])
async def test_nothing_but_digests_reaches_the_disk(tmp_path: Path, name: str) -> None:
    with pytest.raises(AssertionError):
        await Artifacts(tmp_path).read(name)


@pytest.mark.parametrize("location", ["ftp://pictures", "s3://", "s3:///prefix"])
def test_a_location_that_can_never_work_is_refused(location: str) -> None:
    with pytest.raises(HubConfigurationError):
        Artifacts(location)


def test_a_bucket_that_is_not_there_is_said(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HubConfigurationError, match="no bucket nowhere"):
        Artifacts("s3://nowhere/p")


def test_a_store_that_has_gone_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dying = S3Server()
    for name, value in dying.environment.items():
        monkeypatch.setenv(name, value)
    dying.make_bucket("kept")
    artifacts = Artifacts("s3://kept/p")
    dying.kill()
    with pytest.raises(ArtifactsUnavailable):
        asyncio.run(artifacts.keep([b"one"]))
