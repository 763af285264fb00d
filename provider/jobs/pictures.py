"""The store of pictures as the event loop asks it: in threads of its own.

A store elsewhere may take a minute to fail, and nobody else shall wait meanwhile: not the database, which shares the
loop's usual threads with all that is quick, and not those who store a picture for those who look at one.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from provider.jobs.answers import FinishedAnswer, restore_answer
from provider.storage.artifacts import Artifacts
from provider.storage.rows import JobRecord

T = TypeVar("T")

_THREADS: Final = 8
"""For each of writing and reading. They mostly wait, and more jobs than these do not end in one moment."""


class KeptPictures:
    """Writes and reads pictures. Everything raises StorageError while the store cannot be used."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._writing = ThreadPoolExecutor(_THREADS, "pictures-write")
        self._reading = ThreadPoolExecutor(_THREADS, "pictures-read")

    async def keep(self, pictures: Sequence[bytes], output_format: str) -> tuple[str, ...]:
        """The names under which they are kept now, in the same order."""

        def write() -> tuple[str, ...]:
            return tuple(self._artifacts.put(picture, output_format) for picture in pictures)

        return await _run(self._writing, write)

    async def get(self, name: str) -> bytes | None:
        """A picture's bytes; None where it is not kept any more."""
        return await _run(self._reading, lambda: self._artifacts.get(name))

    async def restore(self, record: JobRecord) -> FinishedAnswer:
        """What a finished job was answered with; raises ArtifactGone too."""
        return await _run(self._reading, lambda: restore_answer(record, self._artifacts))

    def close(self) -> None:
        """Takes nothing more on; what a store that does not answer holds up is not waited for."""
        for threads in (self._writing, self._reading):
            threads.shutdown(wait=False, cancel_futures=True)


async def _run(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)
