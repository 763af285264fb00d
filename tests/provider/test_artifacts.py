"""Recent pictures on disk."""

import hashlib
import os
from pathlib import Path

from provider.artifacts import Artifacts


def test_the_newest_are_kept(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, keep_count=2)
    digests = []
    for number in range(4):
        digests.append(artifacts.put(b"picture %d" % number))
        os.utime(tmp_path / f"{digests[-1]}.png", (number, number))
    assert digests[0] == hashlib.sha256(b"picture 0").hexdigest()
    assert [artifacts.get(digest) for digest in digests] == [None, None, b"picture 2", b"picture 3"]


def test_damaged_pictures_are_not_given_out(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, keep_count=2)
    digest = artifacts.put(b"picture")
    (tmp_path / f"{digest}.png").write_bytes(b"pict")
    assert artifacts.get(digest) is None


def test_half_written_files_are_removed_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "abc.part").write_bytes(b"half")
    (tmp_path / "note.txt").write_bytes(b"mine")
    Artifacts(tmp_path, keep_count=0)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_keeping_none_writes_nothing(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, keep_count=0)
    assert artifacts.get(artifacts.put(b"picture")) is None
    assert list(tmp_path.iterdir()) == []
