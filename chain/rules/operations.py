"""Which call data is which operation: one table over all modules."""

from typing import Any, Final

import msgspec

from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.modules import is_reserved
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import Hash32
from chain.rules import authorization, governance, mint, registry, token
from chain.rules.call import Call, Operation

_OPERATIONS: Final = {
    operation.module + operation.function.selector: operation
    for operation in (
        *token.OPERATIONS,
        *authorization.OPERATIONS,
        *mint.OPERATIONS,
        *registry.OPERATIONS,
        *governance.OPERATIONS,
    )
}


class ModuleCall(msgspec.Struct, frozen=True, gc=False):
    """A decoded module call."""

    operation: Operation
    arguments: tuple[Any, ...]

    @property
    def recoveries(self) -> int:
        """Signatures that judging this call recovers, beside the transaction's own."""
        return len(self.arguments[-1]) // SIGNATURE_BYTES if self.operation.is_mint else self.operation.recoveries

    @property
    def receipt_hash(self) -> Hash32 | None:
        """What a mint asks to use up."""
        return Hash32(self.arguments[2 if len(self.arguments) == 4 else 1]) if self.operation.is_mint else None

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
    operation = _OPERATIONS.get(transaction.to + transaction.data[:4])
    if operation is None:
        raise Rejected(
            RejectionReason.UNKNOWN_CALL,
            f"module 0x{transaction.to.hex()} defines no operation 0x{transaction.data[:4].hex()}",
        )
    return ModuleCall(operation, operation.function.decode(transaction.data))
