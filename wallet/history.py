"""A transaction as a line of an account's history: what it did, and what it changed in the account."""

import msgspec

from chain.answers import TransactionView
from chain.primitives.hexadecimal import format_ait, parse_address, parse_hash, parse_hex
from chain.primitives.modules import TOKEN, TRANSFER_EVENT
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from wallet.actions import describe_action
from wallet.times import format_time_ms


class HistoryEntry(msgspec.Struct, frozen=True):
    """One transaction, seen from one account."""

    view: TransactionView
    action: str
    change_atoms: int
    """What the account has more or, negative, less since; the events of transfers and mints say so."""

    def to_object(self) -> dict[str, object]:
        """As `--json` shows it."""
        view = self.view
        return {
            "transaction_hash": view.hash,
            "status": view.status,
            "finalized": view.finalized,
            "height": view.height,
            "time_ms": view.time_ms,
            "action": self.action,
            "from": view.sender,
            "to": view.to,
            "nonce": view.nonce,
            "change_atoms": str(self.change_atoms),
            "reason": view.reason,
        }

    def row(self) -> list[str]:
        """As people see it: time, height, change, action, hash."""
        view = self.view
        sign = "+" if self.change_atoms > 0 else "-" if self.change_atoms < 0 else " "
        return [
            format_time_ms(view.time_ms),
            "pending" if view.height is None else str(view.height),
            f"{sign}{format_ait(abs(self.change_atoms))} AIT",
            self.action if view.status != "failed" else f"{self.action} (failed: {view.reason})",
            view.hash,
        ]


def describe_transaction(view: TransactionView, account: Address) -> HistoryEntry:
    """The entry of one transaction in the history of `account`."""
    action = describe_action(parse_address(view.to), view.value, parse_hex(view.data, field="data"))
    return HistoryEntry(view, action.name, _change(view, account))


def _change(view: TransactionView, account: Address) -> int:
    change = 0
    for log in view.logs:
        topics = [parse_hash(topic) for topic in log.topics]
        if parse_address(log.address) != TOKEN or len(topics) != 3 or topics[0] != TRANSFER_EVENT.topic:
            continue
        try:
            transfer = TRANSFER_EVENT.decode(topics, parse_hex(log.data))
        except Rejected:
            continue
        change += transfer["value"] * ((transfer["to"] == account) - (transfer["from"] == account))
    return change
