"""A transaction before its user has agreed to it: planned with a node's help, or read from `wallet.unsigned` bytes.

What is shown is taken from the bytes that will be signed, and signing makes sure that they are the same.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import Signer
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address
from wallet.actions import Action, describe_action, describe_amount
from wallet.unsigned import draft_transaction

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.calls import GasEstimate
    from chain.client import NodeClient


class Draft(msgspec.Struct, frozen=True):
    """A transaction whose signature stands for none yet, and whose signature it will be."""

    transaction: Transaction
    sender: Address
    sender_name: str
    network_name: str

    @property
    def action(self) -> Action:
        """What it does."""
        return describe_action(self.transaction.to, self.transaction.value, self.transaction.data)

    @property
    def fee_atoms(self) -> int:
        """The most that it can cost beside its value."""
        return highest_fee(self.transaction)

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of everything that the signature will say."""
        sender = f"{self.sender_name} {to_checksum_address(self.sender)}".lstrip()
        return describe_lines(self.transaction, sender, self.network_name)

    def to_object(self) -> dict[str, Any]:
        """The same as `--json` shows it."""
        return describe_fields(self.transaction, self.sender)

    def sign(self, key: Signer) -> Transaction:
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
            max_priority_fee=draft.max_priority_fee,
        )
        assert signed.signing_hash == draft.signing_hash
        assert key.address == self.sender
        return signed


def describe_lines(transaction: Transaction, sender: str, network_name: str) -> list[tuple[str, str]]:
    """Label and text of what a transaction says, for people."""
    action = describe_action(transaction.to, transaction.value, transaction.data)
    fee = highest_fee(transaction)
    return [
        ("action", action.name),
        ("from", sender),
        *action.details,
        ("fee", f"at most {describe_amount(fee)}" if fee else "none"),
        ("network", f"{network_name} (chain id {transaction.chain_id})"),
        ("nonce", str(transaction.nonce)),
    ]


def describe_fields(transaction: Transaction, sender: Address | None) -> dict[str, Any]:
    """The same as `--json` shows it; `sender` is None for an unsigned one that names none."""
    return {
        "action": describe_action(transaction.to, transaction.value, transaction.data).name,
        "from": None if sender is None else to_checksum_address(sender),
        "to": to_checksum_address(transaction.to),
        "value_atoms": str(transaction.value),
        "nonce": transaction.nonce,
        "chain_id": transaction.chain_id,
        "max_fee_atoms": str(highest_fee(transaction)),
    }


def highest_fee(transaction: Transaction) -> int:
    """The most that a transaction can cost beside its value, in atoms: the gas that it uses is known beforehand."""
    return transaction.gas_used * transaction.max_fee


def plan_transaction(
    client: "NodeClient",
    status: "StatusView",
    sender: Address,
    sender_name: str,
    *,
    to: Address,
    value: int = 0,
    call_data: bytes = b"",
    nonce: int | None = None,
    max_fee: int | None = None,
) -> Draft:
    """A draft with the sender's next nonce and the network's fee; raises Rejected where the balance is too low."""
    account = client.account(sender)
    if max_fee is None:
        # 0 on most networks: then a fee need not even be offered.
        max_fee = client.parameters().parameters.get("base_fee_atoms", 0)
    transaction = draft_transaction(
        chain_id=status.chain_id,
        nonce=account.pending_nonce if nonce is None else nonce,
        to=to,
        value=value,
        data=call_data,
        max_fee=max_fee,
    )
    draft = Draft(transaction, sender, sender_name, status.network)
    # A mint needs no funds: newcomers pay no fee.
    if value and value + draft.fee_atoms > account.balance:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            f"{sender_name or to_checksum_address(sender)} has {describe_amount(account.balance)}; "
            f"this needs {describe_amount(value + draft.fee_atoms)}",
            field="amount",
        )
    return draft


def try_draft(client: "NodeClient", draft: Draft) -> "GasEstimate":
    """What the node says would become of the draft now: it runs the chain's own rules on it, and changes nothing."""
    transaction = draft.transaction
    return client.estimate_gas(draft.sender, transaction.to, transaction.value, transaction.data)
