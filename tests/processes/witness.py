"""Whoever watches the chain: what one node has called final must be final everywhere and for ever."""

import threading
import time
from collections.abc import Sequence
from typing import Final, Self

from chain.answers import BlockView
from chain.client import NodeClient, NodeError
from tests.processes.cluster import NodeProcess

_POLL_S: Final = 0.15
_PAGE_BLOCKS: Final = 200


class Witness:
    """A thread per node that reads every final block, and compares it with what anybody has ever seen."""

    def __init__(self, nodes: Sequence[NodeProcess]) -> None:
        self._nodes = list(nodes)
        self._lock = threading.Lock()
        self.hashes: dict[int, str] = {}
        """By height: of what was final anywhere at any time."""
        self.violations: list[str] = []
        self.longest_stall_s = 0.0
        """The longest time without a new final block anywhere while `is_judging`."""
        self._is_judging = False
        self._newest = 0
        self._grew_at = time.monotonic()
        self._must_end = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(node,), name=node.name) for node in nodes]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._must_end.set()
        for thread in self._threads:
            thread.join()

    @property
    def height(self) -> int:
        """The newest final block that anybody has shown."""
        return self._newest

    def judge_stalls(self, is_judging: bool) -> None:
        """Whether the chain has to grow from now on: not while more validators are away than it can miss."""
        with self._lock:
            self._note_stall()
            self._is_judging = is_judging
            self._grew_at = time.monotonic()

    def _note_stall(self) -> None:
        if self._is_judging:
            self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - self._grew_at)

    def _watch(self, node: NodeProcess) -> None:
        seen = -1
        with NodeClient(node.url) as client:
            while not self._must_end.wait(_POLL_S):
                try:
                    seen = self._look(client, node.name, seen)
                except NodeError:
                    continue  # It is down, frozen or starting.

    def _look(self, client: NodeClient, name: str, seen: int) -> int:
        height = client.status().finalized.height
        if height < seen:
            self._accuse(f"{name} was at final height {seen} and is at {height}")
        cursor = None
        while seen < height:
            page = client.blocks(cursor=cursor, limit=max(1, min(height - seen, _PAGE_BLOCKS)))
            for block in page.items:
                self._compare(name, block)
            cursor = page.next_cursor
            if cursor is None or page.items[-1].height <= seen + 1:
                break
        return max(seen, height)

    def _compare(self, name: str, block: BlockView) -> None:
        with self._lock:
            known = self.hashes.setdefault(block.height, block.hash)
            if block.height > self._newest:
                self._note_stall()
                self._newest, self._grew_at = block.height, time.monotonic()
            parent = self.hashes.get(block.height - 1, block.parent_hash)
        if known != block.hash:
            self._accuse(f"{name} has {block.hash} final at height {block.height}, another node {known}")
        if parent != block.parent_hash:
            self._accuse(f"{name} has a block at height {block.height} whose parent is not the final one below it")

    def _accuse(self, violation: str) -> None:
        with self._lock:
            self.violations.append(violation)
