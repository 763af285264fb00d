"""Errors of JSON-RPC, with the codes and the phrases of geth that wallets and libraries look for.

Three kinds reach a client: what is wrong with its request (-32700 to -32600), what the chain says to a call that is
well formed (3 and -32000), and bounds of this node (-32005). Beside the phrase, `data` names the reason for programs;
that of a revert is the ABI encoding of Solidity's `Error(string)`, from which clients take the reason.
"""

from typing import Any, Final

from chain.primitives.abi import Function
from chain.primitives.rejection import Rejected, RejectionReason

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMETERS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
NOT_FOUND: Final = -32001
TIMED_OUT: Final = -32002
RESPONSE_TOO_LARGE: Final = -32003
LIMIT_EXCEEDED: Final = -32005
REVERTED: Final = 3

_REVERT: Final = Function("Error(string reason)")

# Where geth has a phrase of its own for what our rules say in other words.
_PHRASES: Final[dict[RejectionReason, str]] = {
    RejectionReason.ALREADY_KNOWN: "already known",
    RejectionReason.INSUFFICIENT_FUNDS: "insufficient funds for gas * price + value",
    RejectionReason.NONCE_TOO_LOW: "nonce too low",
    RejectionReason.NONCE_TOO_HIGH: "nonce too high",
    RejectionReason.TOO_MANY_REPLACEMENTS: "replacement transaction underpriced",
    RejectionReason.MEMPOOL_FULL: "txpool is full",
    RejectionReason.FEE_TOO_LOW: "max fee per gas less than block base fee",
    RejectionReason.WRONG_CHAIN_ID: "invalid chain id for signer",
    RejectionReason.UNPROTECTED_TRANSACTION: "only replay-protected (EIP-155) transactions allowed over RPC",
    RejectionReason.UNSUPPORTED_TRANSACTION_TYPE: "transaction type not supported",
    RejectionReason.TOO_LARGE: "oversized data",
}


class RpcError(Exception):
    """An error that a call is answered with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def refusal(rejected: Rejected) -> RpcError:
    """Why a transaction was not taken: geth's phrase first, then our sentence."""
    phrase, message = _PHRASES.get(rejected.reason), rejected.message
    if phrase is not None and message != phrase:
        # Our sentence may begin with the phrase, or with a part of it, already.
        message = message if message.startswith(phrase) else f"{phrase}: {message.removeprefix('insufficient funds: ')}"
    return RpcError(SERVER_ERROR, message, {"reason": rejected.reason.value})


def revert(rejected: Rejected) -> RpcError:
    """What a call that the rules refuse is answered with, as if a contract had reverted."""
    return RpcError(REVERTED, f"execution reverted: {rejected.message}", "0x" + revert_data(rejected.message).hex())


def revert_data(reason: str) -> bytes:
    """The ABI encoding of Solidity's `Error(string)`."""
    return _REVERT.encode(reason)
