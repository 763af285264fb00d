"""A lock that is given in the order in which it was asked for, so that nobody who waits is passed over for ever."""

import threading
from collections import deque
from types import TracebackType


class Turns:
    """One holder at a time; `with turns:` waits. Python's own lock may go back to the thread that just let it go."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_held = False

    def __enter__(self) -> None:
        with self._mutex:
            if not self._is_held:
                self._is_held = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # Held on, for whoever that is.
            else:
                self._is_held = False
