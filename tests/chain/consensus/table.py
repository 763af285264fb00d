"""All validators at one table: the least that makes engines talk to each other. Faults are the simulator's to make."""

from __future__ import annotations

from collections.abc import Sequence

from chain.consensus.effects import Ask, BuildBlock, Send
from chain.consensus.messages import BlockMessage, GetBlock
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import Cast


class Table:
    """All validators of a cast but the dead ones; what one says the others hear, in order, and nothing is lost."""

    def __init__(self, size: int, *, dead: Sequence[int] = ()) -> None:
        self.cast = Cast(size)
        self.benches = {index: Bench(self.cast, index) for index in range(size) if index not in dead}
        self.run()

    def run(self) -> None:
        """Until nobody has anything to say. Blocks are built at once; timers run out when the test says so."""
        is_quiet = False
        while not is_quiet:
            is_quiet = True
            for index, bench in self.benches.items():
                sends, builds = list(bench.sends), bench.wanted(BuildBlock)
                bench.clear()
                is_quiet = is_quiet and not sends and not builds
                for send in sends:
                    self._deliver(index, send)
                if builds:
                    bench.tasks += builds
                    bench.build()
                    bench.tasks = [task for task in bench.tasks if task not in builds]

    def _deliver(self, sender: int, send: Send | Ask) -> None:
        for index, bench in self.benches.items():
            if index == sender or (send.peer is not None and send.peer != f"n{index}"):
                continue
            if isinstance(send.message, GetBlock):
                block = bench.engine.block(send.message.block_hash)
                if block is not None:
                    self.benches[sender].hear(BlockMessage(block), f"n{index}")
            else:
                bench.hear(send.message, f"n{sender}")

    def fire(self, name: str) -> None:
        """This timer of everybody who has set it."""
        for bench in self.benches.values():
            if name in bench.timers:
                bench.fire(name)
        self.run()

    def wait_for(self, is_waiting: bool = True) -> None:
        """Everybody knows a transaction, or none."""
        for bench in self.benches.values():
            bench.wait_for(is_waiting)
        self.run()
