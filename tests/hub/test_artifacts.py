"""Pictures in a folder."""

from pathlib import Path

from chain.primitives.hashing import sha256
from hub.artifacts import ArtifactFolder


def test_kept_once_by_their_hash(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    digits = folder.keep(b"picture")
    assert folder.keep(b"picture") == digits == sha256(b"picture").hex()
    assert folder.read(digits) == b"picture"
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [f"{digits}.png"]


def test_missing_picture(tmp_path: Path) -> None:
    assert ArtifactFolder(tmp_path).read("00" * 32) is None
