"""Submitting and following a transaction, against a real validator."""

import json
from pathlib import Path

import pytest

from chain.client import NodeClient, NodeRefused
from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, TOKEN, TOKEN_TRANSFER
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from tests.wallet.lying_node import serve_answer
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.commands.outcomes import report
from wallet.drafts import plan_transaction
from wallet.node_session import open_node
from wallet.options import Wait
from wallet.sending import find_receipt, look, submit, wait_until_final
from wallet.terminal import CommandError, ExitCode


def test_a_call_that_fails_is_final_and_says_so(
    node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    alice, bob = people["alice"].address, people["bob"].address
    too_much = TOKEN_TRANSFER.encode(bob, 2 * ATOMS_PER_AIT)
    with open_node(node.url, tmp_path, None) as (client, status):
        draft = plan_transaction(client, status, alice, "alice", to=TOKEN, call_data=too_much)
        submit(client, transaction := draft.sign(people["alice"]))
        outcome = wait_until_final(client, transaction.hash, timeout_s=60)
    assert (outcome.is_final, outcome.succeeded) == (True, False)
    with pytest.raises(CommandError, match="insufficient_funds") as failed:
        report(outcome, Wait.FINAL, True, draft.to_object())
    assert failed.value.code is ExitCode.TRANSACTION_FAILED
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


def test_the_same_bytes_again_are_harmless(node: RunningNode) -> None:
    key = PrivateKey.generate()
    node.fund(key, ATOMS_PER_AIT)
    payment = sign_transaction(key, chain_id=CHAIN_ID, nonce=1, to=Address(b"\x42" * 20), value=5)
    heard: list[str] = []
    with NodeClient(node.url) as client:
        submit(client, payment)
        submit(client, payment)
        outcome = wait_until_final(
            client, payment.hash, timeout_s=30, on_progress=lambda waited_s, state: heard.append(state)
        )
        assert outcome.succeeded
        submit(client, payment)
        assert client.account(key.address).nonce == 2


def test_somebody_elses_mint_of_the_receipt_counts(node: RunningNode) -> None:
    key = PrivateKey.generate()
    minted = node.fund(key, ATOMS_PER_AIT)
    never_sent = sign_transaction(PrivateKey.generate(), chain_id=CHAIN_ID, nonce=0, to=MINTER, data=minted.data)
    with NodeClient(node.url) as client:
        ignorant = wait_until_final(client, never_sent.hash, timeout_s=0.2)
        assert not ignorant.is_final
        assert ignorant.reason is not None
        assert "does not know it" in ignorant.reason
        receipt_hash = Hash32(MINT_WITH_RECEIPT.decode(minted.data)[2])
        outcome = wait_until_final(client, never_sent.hash, timeout_s=30, receipt_hash=receipt_hash)
    assert (outcome.succeeded, outcome.transaction_hash) == (True, to_hex(minted.hash))


def test_a_node_that_will_not_say_may_have_it() -> None:
    """Whoever is told that a transaction is unknown, or a receipt unused, might send again."""
    problem = json.dumps({"reason": "too_many_requests", "detail": "slow down"}).encode()
    wanted = Hash32(b"\x01" * 32)
    with serve_answer(problem, status=429) as url, NodeClient(url) as client:
        with pytest.raises(NodeRefused, match="slow down"):
            look(client, wanted)
        with pytest.raises(NodeRefused, match="slow down"):
            find_receipt(client, wanted)
        outcome = wait_until_final(client, wanted, timeout_s=0.3)
    assert (outcome.state, outcome.reason) == ("pending", "slow down")
