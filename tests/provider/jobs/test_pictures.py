"""The store of pictures from the event loop: what was kept comes back, and a silent store holds up nobody else."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provider.errors import StorageError
from provider.jobs.pictures import KeptPictures
from provider.storage.artifacts import ArtifactLimits, Artifacts


async def test_pictures_come_back_by_their_names_in_order(tmp_path: Path) -> None:
    pictures = KeptPictures(Artifacts(str(tmp_path), ArtifactLimits()))
    names = await pictures.keep([b"one", b"two"], "webp")
    assert [await pictures.get(name) for name in names] == [b"one", b"two"]
    assert await pictures.get("0" * 64 + ".png") is None
    pictures.close()


async def test_who_reads_and_who_writes_do_not_wait_for_each_other(
    start_s3: Callable[[], Any], s3_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = start_s3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    store.make_bucket("pictures")
    pictures = KeptPictures(Artifacts("s3://pictures/p", ArtifactLimits()))
    (name,) = await pictures.keep([b"one"], "png")
    store.pause()
    reading = [asyncio.create_task(pictures.get(name)) for _ in range(40)]
    writing = [asyncio.create_task(pictures.keep([b"two"], "png")) for _ in range(40)]
    await asyncio.sleep(0.2)
    assert await asyncio.gather(*(asyncio.to_thread(abs, -number) for number in range(20))) == list(range(20))
    assert not any(task.done() for task in (*reading, *writing))
    store.go_on()
    assert set(await asyncio.gather(*reading)) == {b"one"}
    assert len(set(await asyncio.gather(*writing))) == 1
    store.kill()
    with pytest.raises(StorageError):
        await pictures.get(name)
    pictures.close()
