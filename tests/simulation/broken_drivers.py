"""Drivers that do not do what effects.py demands."""

import msgspec

from chain.consensus.effects import Record, Recovered
from tests.simulation.node import SimulatedNode


class SendsBeforeSync(SimulatedNode):
    """What the sync would have made safe is in the network already."""

    def _carry_out(self) -> None:
        for effects in self._pending:
            for send in effects.sends:
                self.send(send)
        super()._carry_out()


class IgnoresJournal(SimulatedNode):
    """Starts as if nothing had been voted."""

    def recovered(self) -> Recovered:
        return msgspec.structs.replace(super().recovered(), records=())


class NeverSyncs(SimulatedNode):
    """Trusts the page cache."""

    def _record(self, records: tuple[Record, ...]) -> bool:
        self.journal.append(records)
        self.point()
        return False
