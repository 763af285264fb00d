"""From an intention to a final transaction: plan, show, sign, submit, wait.

What is shown is taken from the bytes that will be signed, and signing makes sure that they are the same.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from chain.answers import StatusView
from chain.client import NodeClient, NodeRefused, NodeUnavailable
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address, Hash32
from wallet.actions import Action, describe_action, describe_amount

_SUBMISSION_ATTEMPTS: Final = 3
_RETRY_PAUSE_S: Final = 0.5
_FIRST_POLL_S: Final = 0.1
_SLOWEST_POLL_S: Final = 1.0
# Signs drafts, which only serve to be looked at. Its address owns nothing.
_DRAFT_KEY: Final = PrivateKey(bytes(31) + b"\x01")


class Draft(msgspec.Struct, frozen=True):
    """A transaction before the user has agreed to it."""

    transaction: Transaction
    sender: Address
    sender_name: str
    network_name: str
    fee_atoms: int
    """The most that it can cost, in atoms."""

    @property
    def action(self) -> Action:
        """What it does."""
        return describe_action(self.transaction.to, self.transaction.value, self.transaction.data)

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of everything that the signature will say."""
        return [
            ("action", self.action.name),
            ("from", f"{self.sender_name} {to_checksum_address(self.sender)}"),
            *self.action.details,
            ("fee", f"at most {describe_amount(self.fee_atoms)}" if self.fee_atoms else "none"),
            ("network", f"{self.network_name} (chain id {self.transaction.chain_id})"),
            ("nonce", str(self.transaction.nonce)),
        ]

    def sign(self, key: PrivateKey) -> Transaction:
        """The draft, signed by its sender's key."""
        draft = self.transaction
        signed = sign_transaction(
            key,
            chain_id=draft.chain_id,
            nonce=draft.nonce,
            to=draft.to,
            value=draft.value,
            data=draft.data,
            gas_limit=draft.gas_limit,
            max_fee=draft.max_fee,
        )
        assert signed.signing_hash == draft.signing_hash
        assert key.address == self.sender
        return signed


class Outcome(msgspec.Struct, frozen=True):
    """How far a transaction has come. Not final: `height` and `succeeded` are None."""

    transaction_hash: str
    height: int | None = None
    succeeded: bool | None = None
    reason: str | None = None
    """Why a failed one failed, or why nothing is known of one that is not final."""

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more."""
        return self.height is not None


def plan_transaction(
    client: NodeClient,
    status: StatusView,
    sender: Address,
    sender_name: str,
    *,
    to: Address,
    value: int = 0,
    call_data: bytes = b"",
    nonce: int | None = None,
) -> Draft:
    """A draft with the sender's next nonce and the network's fee; raises Rejected where the balance is too low."""
    account = client.account(sender)
    # 0 on most networks: then a fee need not even be offered.
    fee_per_gas = client.parameters().parameters.get("base_fee_atoms", 0)
    transaction = sign_transaction(
        _DRAFT_KEY,
        chain_id=status.chain_id,
        nonce=account.pending_nonce if nonce is None else nonce,
        to=to,
        value=value,
        data=call_data,
        max_fee=fee_per_gas,
    )
    fee = transaction.gas_used * fee_per_gas
    # A mint needs no funds: newcomers pay no fee.
    if value and value + fee > account.balance:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            f"{sender_name} has {describe_amount(account.balance)}; this needs {describe_amount(value + fee)}",
            field="amount",
        )
    return Draft(transaction, sender, sender_name, status.network, fee)


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
    transaction: Transaction,
    *,
    timeout_s: float,
    receipt_hash: Hash32 | None = None,
    on_progress: Callable[[float, str], None] = lambda waited_s, state: None,
) -> Outcome:
    """Asks until the transaction is final or the time is up. `on_progress` gets seconds waited and what was heard.

    With `receipt_hash`, somebody else's mint of the same receipt counts as well: then ours will never be in a block.
    """
    started = time.monotonic()
    pause_s = _FIRST_POLL_S
    heard = "not asked yet"
    while (waited_s := time.monotonic() - started) < timeout_s:
        try:
            outcome, heard = _look(client, transaction.hash, receipt_hash)
            if outcome is not None:
                return outcome
        except NodeUnavailable as error:
            heard = str(error)
        on_progress(waited_s, heard)
        time.sleep(min(pause_s, max(0.0, timeout_s - waited_s)))
        pause_s = min(pause_s * 1.3, _SLOWEST_POLL_S)
    return Outcome(to_hex(transaction.hash), reason=heard)


def _look(client: NodeClient, transaction_hash: Hash32, receipt_hash: Hash32 | None) -> tuple[Outcome | None, str]:
    try:
        view = client.transaction(transaction_hash)
    except NodeRefused as refusal:
        if receipt_hash is not None and (outcome := find_mint(client, receipt_hash)):
            return outcome, "minted"
        return None, f"the node does not know it: {refusal.message}"
    if view.finalized and view.height is not None and view.status != "pending":
        return Outcome(view.hash, view.height, view.status == "success", view.reason), view.status
    return None, view.status


def find_mint(client: NodeClient, receipt_hash: Hash32) -> Outcome | None:
    """The final mint of a receipt, if there is one."""
    try:
        view = client.receipt(receipt_hash)
    except NodeRefused:
        return None
    return Outcome(view.transaction_hash, view.height, True) if view.finalized else None
