"""What an operation is told about the call that it serves, and how operations are declared."""

from collections.abc import Callable
from typing import Any

import msgspec

from chain.primitives.abi import Event, Function
from chain.primitives.block import Log
from chain.primitives.keys import RecoverAddress
from chain.primitives.types import Address
from chain.rules.state import State


class BlockContext(msgspec.Struct, frozen=True):
    """The block that a transaction is in."""

    chain_id: int
    height: int
    time_ms: int
    recover: RecoverAddress


class Call:
    """One call of one operation: the state it may change, and the events that it emits."""

    __slots__ = ("block", "logs", "orders_seen", "sender", "state", "to")

    def __init__(self, state: State, block: BlockContext, sender: Address, to: Address) -> None:
        self.state = state
        self.block = block
        self.sender = sender
        self.to = to
        """The module or asset that is called: one table of operations serves all assets."""
        self.logs: list[Log] = []
        self.orders_seen = 0
        """Resting orders that it has met, named or closed, also where it fails at last."""

    @property
    def period(self) -> int:
        """Number of the period that the block's time lies in."""
        return self.block.time_ms // self.state.parameters().period_ms

    def emit(self, module: Address, event: Event, *values: Any) -> None:
        """Adds a log, as the EVM would."""
        topics, event_data = event.encode(*values)
        self.logs.append(Log(module, topics, event_data))

    @property
    def surplus_work(self) -> int:
        """Work beyond what any call may do: one for each resting order after the first. A signature's recovery costs
        about as much, so a block bounds both together: nobody has others walk through the book for nothing."""
        return max(0, self.orders_seen - 1)

    def acting_as(self, sender: Address, to: Address) -> "Call":
        """A call within this one, with another sender and the same log: governance executing a proposal."""
        nested = Call(self.state, self.block, sender, to)
        nested.logs = self.logs
        return nested


View = Callable[..., tuple[Any, ...]]
"""(call, *arguments) → what the function returns."""
ViewTable = dict[tuple[Address, Function], View]
"""Module, or `ANY_ASSET`, and function → view: whoever defines operations keeps such a table as `VIEWS` beside them."""


def _no_answer(_plan: Any) -> tuple[Any, ...]:
    return ()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A call that changes the state.

    `validate(call, *arguments)` raises Rejected or returns a plan; `apply(call, plan)` carries it out and cannot fail.
    """

    module: Address
    """Whose function it is; for what every asset answers, `ANY_ASSET`."""
    function: Function
    validate: Callable[..., Any]
    apply: Callable[[Call, Any], None]
    answer: Callable[[Any], tuple[Any, ...]] = _no_answer
    """What the function returns, by the plan: only who simulates a call gets to see it."""
    recoveries: int = 0
    """Signatures that judging a call recovers, beside those of attesters."""
    is_governed: bool = False
    """Takes effect only as an executed proposal."""
    uses_receipt: bool = False
    """Mints or settles the receipt of its argument `receiptHash`, which its last argument, attesters' signatures, is
    over. A newcomer may send it when it would succeed."""
    is_registration: bool = False
    """A newcomer may send it when it would succeed, within the network's quota."""
    is_open_to: Callable[..., bool] | None = None
    """(state, sender, *arguments) → whether this sender may send it even as a newcomer, when it would succeed: it gets
    back, or gets, what somebody with standing has put aside. So whoever put aside all that he held can still act."""
