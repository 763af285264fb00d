"""Which call data is which operation: one table over all modules."""

from typing import Any, Final

import msgspec

from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.market import ANY_ASSET, is_asset_address
from chain.primitives.modules import is_reserved
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address, Hash32
from chain.rules import authorization, compliance, governance, mint, registry, reputation, swaps, token
from chain.rules.assets import issuing, tokens, treasury
from chain.rules.call import Call, Operation
from chain.rules.escrow import deposits, settling
from chain.rules.market import closing, markets, orders
from chain.rules.state import State

_OPERATIONS: Final = {
    operation.module + operation.function.selector: operation
    for operation in (
        *token.OPERATIONS,
        *authorization.OPERATIONS,
        *mint.OPERATIONS,
        *deposits.OPERATIONS,
        *settling.OPERATIONS,
        *registry.OPERATIONS,
        *reputation.OPERATIONS,
        *swaps.OPERATIONS,
        *tokens.OPERATIONS,
        *issuing.OPERATIONS,
        *treasury.OPERATIONS,
        *compliance.OPERATIONS,
        *orders.OPERATIONS,
        *closing.OPERATIONS,
        *markets.OPERATIONS,
        *governance.OPERATIONS,
    )
}


class ModuleCall(msgspec.Struct, frozen=True, gc=False):
    """A decoded module call."""

    operation: Operation
    to: Address
    """The called module or asset."""
    arguments: tuple[Any, ...]

    @property
    def recoveries(self) -> int:
        """Signatures that judging this call may recover, beside the transaction's own."""
        return self.operation.recoveries + self._attester_signatures

    def recoveries_within(self, threshold: int) -> int:
        """The same; what has more attesters' signatures than the threshold is refused before any is looked at."""
        return self.operation.recoveries + min(self._attester_signatures, threshold)

    @property
    def _attester_signatures(self) -> int:
        return len(self.arguments[-1]) // SIGNATURE_BYTES if self.operation.uses_receipt else 0

    @property
    def receipt_hash(self) -> Hash32 | None:
        """What a mint or a settlement asks to use up."""
        return Hash32(self.arguments[-2]) if self.operation.uses_receipt else None

    def is_open_to(self, state: State, sender: Address) -> bool:
        """Whether it takes out what was put aside for this sender, which needs no standing."""
        question = self.operation.is_open_to
        return question is not None and question(state, sender, *self.arguments)

    def validate(self, call: Call) -> Any:
        """The plan that the operation's `apply` carries out; raises Rejected where the call would fail."""
        if self.operation.is_governed:
            raise Rejected(RejectionReason.NOT_GOVERNANCE, "this call takes effect only as an executed proposal")
        return self.operation.validate(call, *self.arguments)


def decode_call(transaction: Transaction) -> ModuleCall | None:
    """The call that a transaction makes, or None for a plain transfer.

    Raises Rejected for a selector that the module does not define as an operation, and for loose ABI encoding.
    """
    if not is_reserved(transaction.to):
        return None
    owner = ANY_ASSET if is_asset_address(transaction.to) else transaction.to
    operation = _OPERATIONS.get(owner + transaction.data[:4])
    if operation is None:
        raise Rejected(
            RejectionReason.UNKNOWN_CALL,
            f"module 0x{transaction.to.hex()} defines no operation 0x{transaction.data[:4].hex()}",
        )
    return ModuleCall(operation, transaction.to, operation.function.decode(transaction.data))
