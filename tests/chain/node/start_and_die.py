"""A process for the crash tests: accepts lost votes in copies of a folder, killed at one call after the other.

    python start_and_die.py DATA_DIR COPIES_DIR

Copy number n is what a kill in place of the n-th call to the operating system leaves; the last one was not killed.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from chain.node.folder import NodeFolder, open_journal


class CallCounter:
    """A profiler that sees every call from our modules to the operating system's, and dies at one."""

    def __init__(self, die_at: int) -> None:
        self._die_at = die_at
        self._count = 0

    def __call__(self, frame: FrameType, event: str, function: object) -> None:
        """Dies at the call."""
        callers = (frame, frame.f_back, frame.f_back and frame.f_back.f_back)  # pathlib may stand between.
        if event != "c_call" or getattr(function, "__module__", None) not in ("posix", "fcntl"):
            return
        self._count += any(caller and "/chain/" in caller.f_code.co_filename for caller in callers)
        if self._count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(source: Path, copies: Path) -> None:
    """Forks a child for each call."""
    for call in itertools.count(1):
        folder = NodeFolder(copies / str(call))
        shutil.copytree(source, folder.path)
        network = folder.read_network()
        child = os.fork()
        if child == 0:
            sys.setprofile(CallCounter(call))
            journal, _ = open_journal(folder, network, accept_lost_history=True, chain_height=0)
            journal.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
