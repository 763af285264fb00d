"""A transaction as a line of an account's history. Whole histories are in the tests of `aitbc wallet send`."""

from typing import Any

import pytest

from chain.answers import Atoms, LogView, TransactionView
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINTER, TOKEN, TRANSFER_EVENT
from chain.primitives.types import Address, BlockHeight
from wallet.history import describe_transaction

ALICE, BOB = PrivateKey(b"\x01" * 32).address, PrivateKey(b"\x02" * 32).address


def _transfer(sender: Address, recipient: Address, atoms: int, *, module: Address = TOKEN) -> LogView:
    topics, data = TRANSFER_EVENT.encode(sender, recipient, atoms)
    return LogView(address=to_checksum_address(module), topics=[to_hex(topic) for topic in topics], data=to_hex(data))


def _view(**changes: Any) -> TransactionView:
    fields: dict[str, Any] = {
        "hash": "0x" + "11" * 32,
        "status": "success",
        "finalized": True,
        "height": BlockHeight(5),
        "index": 0,
        "time_ms": 1_760_000_000_000,
        "sender": to_checksum_address(ALICE),
        "to": to_checksum_address(BOB),
        "value": Atoms(7),
        "nonce": 0,
        "type": 2,
        "data": "0x",
        "reason": None,
        "logs": [_transfer(ALICE, BOB, 7)],
    }
    return TransactionView(**fields | changes)


@pytest.mark.parametrize(
    ("logs", "change"),
    [
        ([_transfer(ALICE, BOB, 7)], -7),
        ([_transfer(BOB, ALICE, 7), _transfer(BOB, ALICE, 2)], 9),
        ([_transfer(ALICE, ALICE, 7)], 0),
        ([_transfer(BOB, BOB, 7)], 0),
        ([_transfer(BOB, ALICE, 7, module=MINTER)], 0),
        ([LogView(address=to_checksum_address(TOKEN), topics=[], data="0x")], 0),
        ([LogView(address=to_checksum_address(TOKEN), topics=["0x" + "22" * 32] * 3, data="0x")], 0),
        ([LogView(address=to_checksum_address(TOKEN), topics=[to_hex(TRANSFER_EVENT.topic)] * 3, data="0x01")], 0),
        ([], 0),
    ],
)
def test_events_say_what_has_changed(logs: list[LogView], change: int) -> None:
    assert describe_transaction(_view(logs=logs), ALICE).change_atoms == change


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [(1_760_000_000_000, "2025-10-09 08:53:20"), (0, "1970-01-01 00:00:00"), (None, "-"), (-1, "-"), (10**30, "-")],
)
def test_any_time_can_be_shown(time_ms: int | None, shown: str) -> None:
    row = describe_transaction(_view(time_ms=time_ms), ALICE).row()
    assert row == [shown, "5", "-0.000000000000000007 AIT", "transfer", "0x" + "11" * 32]


def test_a_failed_one_and_one_that_waits() -> None:
    failed = describe_transaction(_view(status="failed", reason="insufficient_funds", logs=[]), ALICE).row()
    assert failed[2:4] == [" 0 AIT", "transfer (failed: insufficient_funds)"]
    assert describe_transaction(_view(status="pending", height=None, logs=[]), ALICE).row()[1] == "pending"
