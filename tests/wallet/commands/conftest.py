"""What the tests of the wallet's commands share: a hub's answer to a job."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, sign_receipt
from tests.wallet.running_node import ATTESTER, CHAIN_ID

MakeReceipt = Callable[..., Receipt]


@pytest.fixture
def answer_file(tmp_path: Path, people: dict[str, PrivateKey], make_receipt: MakeReceipt) -> Path:
    """A hub's answer to a job that alice has served, attested."""
    alice = people["alice"]
    receipt = make_receipt(provider=alice.address, chain_id=CHAIN_ID)
    digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
    path = tmp_path / "answer.json"
    path.write_text(
        json.dumps(
            {
                "receipt": receipt.to_object(),
                "receipt_hash": to_hex(receipt.hash),
                "provider_signature": to_hex(sign_receipt(alice, receipt)),
                "attestation": to_hex(ATTESTER.sign(digest)),
            }
        )
    )
    return path
