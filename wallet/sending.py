"""A signed transaction on its way: submit it, and follow it until it is final."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from chain.answers import ReceiptView
from chain.client import NodeClient, NodeRefused, NodeUnavailable
from chain.primitives.hexadecimal import to_hex
from chain.primitives.transaction import Transaction
from chain.primitives.types import Hash32

_SUBMISSION_ATTEMPTS: Final = 3
_RETRY_PAUSE_S: Final = 0.5
_FIRST_POLL_S: Final = 0.1
_SLOWEST_POLL_S: Final = 1.0
_NOT_FOUND: Final = "not_found"
"""Why a node refuses to show what it does not have; where the reason is another, such as its load, it may have it."""


class Outcome(msgspec.Struct, frozen=True):
    """How far a transaction has come. In no block yet: `height` and `succeeded` are None."""

    transaction_hash: str
    height: int | None = None
    succeeded: bool | None = None
    reason: str | None = None
    """Why a failed one failed, or what is known of one that is in no block."""
    is_final: bool = False
    """Whether nothing can change it any more."""
    is_known: bool = True
    """Whether the node that was asked has it."""

    @property
    def state(self) -> str:
        """`final`, `included`, `pending` or `unknown`"""
        if self.is_final:
            return "final"
        if self.height is not None:
            return "included"
        return "pending" if self.is_known else "unknown"


def submit(client: NodeClient, transaction: Transaction) -> None:
    """Hands the transaction in; raises NodeRefused, or NodeUnavailable where it is unknown whether it arrived.

    The same bytes may be handed in any number of times, so a lost answer is no reason to give up.
    """
    for attempt in range(1, _SUBMISSION_ATTEMPTS + 1):
        try:
            client.send_transaction(transaction.raw)
            return
        except NodeRefused:
            # Perhaps an earlier attempt arrived, and is in a block by now: then its nonce is used.
            if attempt > 1 and _is_known(client, transaction.hash):
                return
            raise
        except NodeUnavailable:
            if attempt == _SUBMISSION_ATTEMPTS:
                raise
        time.sleep(_RETRY_PAUSE_S)


def _is_known(client: NodeClient, transaction_hash: Hash32) -> bool:
    try:
        client.transaction(transaction_hash)
    except NodeRefused:
        return False
    return True


def wait_until_final(
    client: NodeClient,
    transaction_hash: Hash32,
    *,
    timeout_s: float,
    receipt_hash: Hash32 | None = None,
    included_suffices: bool = False,
    on_progress: Callable[[float, str], None] = lambda waited_s, state: None,
) -> Outcome:
    """Asks until the transaction is final or the time is up. `on_progress` gets seconds waited and what was heard.

    With `receipt_hash`, somebody else's mint of the same receipt counts as well: then ours will never be in a block.
    """
    started = time.monotonic()
    pause_s = _FIRST_POLL_S
    outcome = Outcome(to_hex(transaction_hash), reason="not asked yet")
    while (waited_s := time.monotonic() - started) < timeout_s:
        try:
            outcome = look(client, transaction_hash, receipt_hash)
        except (NodeRefused, NodeUnavailable) as error:
            outcome = msgspec.structs.replace(outcome, reason=str(error))
        if outcome.is_final or (included_suffices and outcome.height is not None):
            return outcome
        on_progress(waited_s, outcome.reason or outcome.state)
        time.sleep(min(pause_s, max(0.0, timeout_s - waited_s)))
        pause_s = min(pause_s * 1.3, _SLOWEST_POLL_S)
    return outcome


def look(client: NodeClient, transaction_hash: Hash32, receipt_hash: Hash32 | None = None) -> Outcome:
    """How far a transaction has come by now, asked once; raises NodeUnavailable, NodeRefused where it will not say."""
    try:
        view = client.transaction(transaction_hash)
    except NodeRefused as refusal:
        if refusal.reason != _NOT_FOUND:
            raise
        if receipt_hash is not None and (outcome := find_mint(client, receipt_hash)):
            return outcome
        reason = f"the node does not know it: {refusal.message}"
        return Outcome(to_hex(transaction_hash), reason=reason, is_known=False)
    if view.height is None or view.status == "pending":
        return Outcome(view.hash, reason="pending")
    return Outcome(view.hash, view.height, view.status == "success", view.reason, view.finalized)


def find_mint(client: NodeClient, receipt_hash: Hash32) -> Outcome | None:
    """The final mint of a receipt, if there is one."""
    view = find_receipt(client, receipt_hash)
    if view is None or not view.finalized:
        return None
    return Outcome(view.transaction_hash, view.height, True, is_final=True)


def find_receipt(client: NodeClient, receipt_hash: Hash32) -> ReceiptView | None:
    """How a receipt was used; None while it was not. Raises NodeUnavailable, NodeRefused where the node won't say."""
    try:
        return client.receipt(receipt_hash)
    except NodeRefused as refusal:
        if refusal.reason != _NOT_FOUND:
            raise
        return None
