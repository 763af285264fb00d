"""A draft shows what its bytes say, and signing changes none of them."""

from pathlib import Path

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN, TOKEN_TRANSFER
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.drafts import Draft, plan_transaction, try_draft
from wallet.node_session import open_node
from wallet.unsigned import decode_unsigned, draft_transaction, encode_unsigned

KEY = PrivateKey(b"\x05" * 32)
PAYEE = Address(b"\x42" * 20)


def test_what_is_shown_and_what_is_signed() -> None:
    transaction = draft_transaction(chain_id=7, nonce=3, to=PAYEE, value=ATOMS_PER_AIT, max_fee=2)
    draft = Draft(transaction, KEY.address, "alice", "test")
    assert draft.lines() == [
        ("action", "transfer"),
        ("from", f"alice {to_checksum_address(KEY.address)}"),
        ("to", to_checksum_address(PAYEE)),
        ("amount", "1 AIT (1000000000000000000 atoms)"),
        ("fee", "at most 0.000000000000042 AIT (42000 atoms)"),
        ("network", "test (chain id 7)"),
        ("nonce", "3"),
    ]
    assert draft.to_object()["max_fee_atoms"] == "42000"
    signed = draft.sign(KEY)
    assert signed.recover_sender() == KEY.address
    assert encode_unsigned(signed) == encode_unsigned(transaction)


def test_what_others_have_set_is_signed_as_it_is() -> None:
    """Such as a tip, which this wallet never offers."""
    ours = encode_unsigned(draft_transaction(chain_id=7, nonce=3, to=PAYEE, max_fee=2))
    with_tip = decode_unsigned(ours.replace(b"\x07\x03\x80\x02", b"\x07\x03\x01\x02"))
    assert with_tip.max_priority_fee == 1
    assert Draft(with_tip, KEY.address, "", "test").sign(KEY).max_priority_fee == 1


def test_only_the_senders_key_signs() -> None:
    draft = Draft(draft_transaction(chain_id=7, nonce=3, to=PAYEE), KEY.address, "alice", "test")
    with pytest.raises(AssertionError):
        draft.sign(PrivateKey(b"\x06" * 32))


def test_planned_with_a_node(node: RunningNode, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    node.fund(key, ATOMS_PER_AIT)
    with open_node(node.url, tmp_path, None) as (client, status):
        draft = plan_transaction(client, status, key.address, "", to=PAYEE, value=ATOMS_PER_AIT)
        assert (draft.transaction.nonce, draft.transaction.chain_id) == (1, CHAIN_ID)
        assert try_draft(client, draft).refusal is None
        with pytest.raises(Rejected, match=to_checksum_address(key.address)) as refused:
            plan_transaction(client, status, key.address, "", to=PAYEE, value=ATOMS_PER_AIT, max_fee=1)
        call = TOKEN_TRANSFER.encode(PAYEE, 2 * ATOMS_PER_AIT)
        failing = plan_transaction(client, status, key.address, "", to=TOKEN, call_data=call, nonce=9)
        assert failing.transaction.nonce == 9
        assert "insufficient" in (try_draft(client, failing).refusal or "")
    assert refused.value.reason is RejectionReason.INSUFFICIENT_FUNDS
