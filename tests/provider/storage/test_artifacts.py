"""Recent pictures: named by their digest, checked, and bounded in number, bytes and age."""

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provider.errors import ConfigurationError
from provider.storage.artifacts import ArtifactLimits, Artifacts


def artifacts(folder: Path, **limits: Any) -> Artifacts:
    return Artifacts(str(folder), ArtifactLimits(**limits))


def test_a_picture_is_found_by_its_digest(tmp_path: Path) -> None:
    kept = artifacts(tmp_path)
    name = kept.put(b"picture", "webp")
    assert name == hashlib.sha256(b"picture").hexdigest() + ".webp" == kept.name_of(b"picture", "webp")
    assert kept.get(name) == b"picture"
    assert kept.get(name.replace(".webp", ".png")) is None
    assert kept.usage() == (1, 7)


@pytest.mark.parametrize("name", ["../outbox.sqlite3", "a.png", "/etc/passwd", "0" * 64, "0" * 64 + ".exe", ""])
def test_only_names_of_pictures_are_looked_for(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pictures"
    kept = artifacts(folder)
    kept.check()
    (tmp_path / "outbox.sqlite3").write_bytes(b"secret")
    (folder / "a.png").write_bytes(b"not ours")
    assert kept.get(name) is None
    assert kept.link(name, 60) is None


def test_the_newest_are_kept(tmp_path: Path) -> None:
    kept = artifacts(tmp_path, max_count=2)
    names = [kept.put(b"picture %d" % number) for number in range(4)]
    assert [kept.get(name) for name in names] == [None, None, b"picture 2", b"picture 3"]
    assert kept.put(b"picture 2") == names[2]
    kept.put(b"picture 4")
    assert [kept.get(name) is None for name in names] == [True, True, False, True]


def test_bytes_are_bounded_but_the_newest_always_stays(tmp_path: Path) -> None:
    kept = artifacts(tmp_path, max_bytes=10)
    first, second = kept.put(b"123456"), kept.put(b"abcdef")
    assert (kept.get(first), kept.get(second)) == (None, b"abcdef")
    large = kept.put(b"x" * 100)
    assert kept.get(large) == b"x" * 100
    assert kept.usage() == (1, 100)


def test_old_ones_go_with_time(tmp_path: Path) -> None:
    kept = artifacts(tmp_path, max_age_s=100)
    old = kept.put(b"old")
    now_s = time.time()
    assert kept.prune(now_s + 50) == 0
    assert kept.prune(now_s + 200) == 1
    assert kept.get(old) is None
    assert kept.usage() == (0, 0)


def test_a_restart_knows_what_is_there_and_which_is_oldest(tmp_path: Path) -> None:
    before = artifacts(tmp_path, max_count=10)
    names = [before.put(b"picture %d" % number) for number in range(3)]
    for age_s, name in enumerate(reversed(names)):
        os.utime(tmp_path / name, (1000 - age_s, 1000 - age_s))
    (tmp_path / "note.txt").write_bytes(b"mine")
    after = artifacts(tmp_path, max_count=2, max_age_s=10**12)
    after.check()
    assert after.usage() == (3, 27)
    assert after.prune(time.time()) == 1
    assert [after.get(name) is None for name in names] == [True, False, False]
    assert (tmp_path / "note.txt").exists()


def test_damaged_pictures_are_not_given_out(tmp_path: Path) -> None:
    kept = artifacts(tmp_path)
    name = kept.put(b"picture")
    (tmp_path / name).write_bytes(b"pict")
    assert kept.get(name) is None


def test_keeping_none_writes_nothing(tmp_path: Path) -> None:
    kept = artifacts(tmp_path / "pictures", max_count=0)
    assert kept.get(kept.put(b"picture")) is None
    assert not (tmp_path / "pictures").exists() or list((tmp_path / "pictures").iterdir()) == []


def test_keeping_none_any_more_removes_what_was_kept(tmp_path: Path) -> None:
    artifacts(tmp_path).put(b"picture")
    assert artifacts(tmp_path, max_count=0).prune(time.time()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file/pictures"):
        artifacts(tmp_path / "file" / "pictures").check()


def test_what_could_not_be_removed_is_still_counted_and_goes_later(tmp_path: Path) -> None:
    kept = artifacts(tmp_path, max_count=2)
    names = [kept.put(b"picture %d" % number) for number in range(2)]
    stuck = tmp_path / names[0]
    stuck.unlink()
    stuck.mkdir()  # What is no file cannot be removed as one.
    unfinished = tmp_path / "0123.part"
    unfinished.write_bytes(b"of another thread that writes just now")
    kept.put(b"picture 2")
    assert kept.usage() == (3, 27)
    kept.put(b"picture 3")
    assert kept.usage() == (4, 36)
    assert unfinished.exists()
    stuck.rmdir()
    assert kept.prune(time.time()) == 2
    assert kept.usage() == (2, 18)
    assert kept.get(names[1]) is None


def test_the_same_bounds_hold_in_a_bucket(s3_environment: Any) -> None:
    s3_environment.make_bucket("bounded")
    kept = Artifacts("s3://bounded/p", ArtifactLimits(max_count=2))
    kept.check()
    names = [kept.put(b"picture %d" % number) for number in range(3)]
    assert [kept.get(name) for name in names] == [None, b"picture 1", b"picture 2"]
    again = Artifacts("s3://bounded/p", ArtifactLimits(max_count=2))
    again.check()
    assert again.usage() == (2, 18)
    with pytest.raises(ConfigurationError, match="no bucket"):
        Artifacts("s3://elsewhere/p", ArtifactLimits()).check()


def test_figures_need_not_wait_for_a_store_that_does_not_answer(
    start_s3: Callable[[], Any], s3_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_s3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    server.make_bucket("silent")
    kept = Artifacts("s3://silent/p", ArtifactLimits())
    server.pause()
    with ThreadPoolExecutor(1) as pool:
        try:
            listing = pool.submit(kept.prune, time.time())
            time.sleep(0.5)
            assert kept.usage() == (0, 0)
            assert not listing.done()
        finally:
            server.go_on()
        assert listing.result(120) == 0
