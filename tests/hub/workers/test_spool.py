"""Files as they come in: whatever the pieces, they are whole and as announced, or nothing stays."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.rejection import Rejected
from chain.primitives.worker_messages import attachment_of
from hub.workers.spool import IncomingFiles, Spool


@given(
    files=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 150), max_size=20),
)
def test_any_pieces_make_the_files_that_were_announced(
    tmp_path_factory: pytest.TempPathFactory, files: list[bytes], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    incoming = Spool(folder).receive([attachment_of(file) for file in files])
    rest = b"".join(files)
    for cut in cuts:
        if rest:
            incoming.take(rest[:cut])
            rest = rest[cut:]
    if rest:
        assert not incoming.is_complete
        incoming.take(rest)
    assert incoming.is_complete
    assert [file.path.read_bytes() for file in incoming.files] == files
    assert [file.sha256 for file in incoming.files] == [hashlib.sha256(file).hexdigest() for file in files]
    with pytest.raises(Rejected):
        incoming.take(b"more")
    incoming.discard()
    assert not list(folder.iterdir())


def test_files_that_were_taken_away_are_left_alone(tmp_path: Path) -> None:
    incoming = Spool(tmp_path / "spool").receive([attachment_of(b"picture")])
    incoming.take(b"picture")
    kept = incoming.files[0].path.rename(tmp_path / "kept")
    incoming.discard()
    assert kept.read_bytes() == b"picture"


def test_what_nobody_waits_for_is_counted_and_thrown_away(tmp_path: Path) -> None:
    incoming = IncomingFiles([attachment_of(b"picture")], None)
    incoming.take(b"pic")
    with pytest.raises(Rejected):
        incoming.take(b"turf")
    incoming.discard()
    assert not list(tmp_path.iterdir())


def test_what_an_earlier_process_left_is_removed(tmp_path: Path) -> None:
    Spool(tmp_path).receive([attachment_of(b"picture")]).take(b"pic")
    assert len(list(tmp_path.iterdir())) == 1
    Spool(tmp_path)
    assert not list(tmp_path.iterdir())
