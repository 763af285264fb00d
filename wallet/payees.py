"""To whom a wallet sends nothing."""

from chain.primitives.modules import is_reserved
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address


def check_payee(address: Address) -> None:
    """Raises Rejected for addresses that no key can belong to: what is sent there could never be moved again."""
    if address == ZERO_ADDRESS or is_reserved(address):
        raise Rejected(
            RejectionReason.INVALID_RECIPIENT,
            "nobody has a key for this address (the zero address, or a module of the chain): nothing is sent to it",
            field="to",
        )
