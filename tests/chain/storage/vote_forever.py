"""A process for the crash tests: appends votes and prunes them, and says so only after each call has returned.

    python vote_forever.py PATH JOURNAL_ID_HEX|new [LAST_VIEW [DIE_AT_CALL [LARGEST_FILE_BYTES]]]

What it appends for a view depends on the view alone. With DIE_AT_CALL it counts the journal's calls of the operating
system and kills itself in place of that one; 0 lets it print them instead.
"""

import os
import random
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from chain.storage.errors import StorageError
from chain.storage.journal import VoteJournal

GENESIS = b"\x07" * 32
KEPT_VIEWS = 3
NO_LAST_VIEW = -1


class Entry(NamedTuple):
    """A record as the engine makes them."""

    epoch: int
    view: int
    encoded: bytes
    is_vote: bool


def record_at(view: int) -> bytes:
    """What is appended for a view."""
    draw = random.Random(view)
    return b"%d " % view + draw.randbytes(draw.choice((3, 90, 2_000)))


class CallCounter:
    """A profiler that sees every call from the journal's modules to the operating system's."""

    def __init__(self, die_at: int) -> None:
        self._die_at = die_at
        self._count = 0

    def __call__(self, frame: FrameType, event: str, function: object) -> None:
        """Dies at the call, or prints it."""
        callers = (frame, frame.f_back, frame.f_back and frame.f_back.f_back)  # pathlib may stand between.
        if not any(caller and "chain/storage/journal" in caller.f_code.co_filename for caller in callers):
            return
        if event != "c_call" or getattr(function, "__module__", None) not in ("posix", "fcntl"):
            return
        self._count += 1
        if self._count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._die_at == 0:
            print("call", getattr(function, "__name__", ""), flush=True)


def main(path: Path, journal_id: str, last_view: int) -> None:
    """Appends until the last view, NO_LAST_VIEW: without end."""
    known = None if journal_id == "new" else bytes.fromhex(journal_id)
    with VoteJournal.open(path, genesis_hash=GENESIS, journal_id=known, rewrite_bytes=1_000) as journal:
        print("id", journal.journal_id.hex(), flush=True)
        view = max((int(record.split()[0]) for record in journal.records), default=0)
        while view != last_view:
            view += 1
            certificate = Entry(0, view, record_at(view) + b" certificate", False)
            journal.append([certificate, Entry(0, view, record_at(view), True)], sync=True)
            print("voted", view, flush=True)
            journal.prune(0, view - KEPT_VIEWS)
            print("pruned", view - KEPT_VIEWS, flush=True)
    print("closed", flush=True)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[3:]]
    if len(numbers) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (numbers[2], numbers[2]))
    if len(numbers) > 1:
        sys.setprofile(CallCounter(numbers[1]))
    try:
        main(Path(sys.argv[1]), sys.argv[2], numbers[0] if numbers else NO_LAST_VIEW)
    except StorageError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)
