"""Pictures in a folder: whole or not at all, once, and only those that were kept."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from hub.artifacts import ArtifactFolder


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    digests = folder.keep_now([b"one", b"two", b"one"])
    assert digests == [hashlib.sha256(each).hexdigest() for each in (b"one", b"two", b"one")]
    assert [folder.read_now(each) for each in digests] == [b"one", b"two", b"one"]
    assert len([path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]) == 2
    assert asyncio.run(ArtifactFolder(tmp_path / "artifacts").read(digests[1])) == b"two"


def test_what_was_not_kept_or_was_removed_is_not_there(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    (digits,) = folder.keep_now([b"one"])
    assert folder.read_now("0" * 64) is None
    assert folder.remove(digits)
    assert not folder.remove(digits)
    assert folder.read_now(digits) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63])
def test_nothing_but_digests_reaches_the_disk(tmp_path: Path, name: str) -> None:
    with pytest.raises(AssertionError):
        ArtifactFolder(tmp_path).read_now(name)
