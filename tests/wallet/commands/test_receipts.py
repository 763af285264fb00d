"""`aitbc wallet receipt`: the hash of a receipt, and what became of it. Verifying is in the tests of sending, too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from tests.wallet.running_node import ATTESTER, RunningNode

RunWallet = Callable[..., Any]


def test_the_hash_of_a_receipt(offline: RunWallet, answer_file: Path, tmp_path: Path) -> None:
    answer = json.loads(answer_file.read_text())
    assert offline("receipt", "hash", answer_file).stdout == answer["receipt_hash"] + "\n"
    # Spaces and the order of keys are none of its content.
    bare = json.dumps(dict(reversed(answer["receipt"].items())), indent=4)
    assert offline("receipt", "hash", "-", "--json", stdin=bare).json["receipt_hash"] == answer["receipt_hash"]
    for text in ("", "[]", "{}", "[" * 5000, bare.replace('"nonce-1"', '"nonce-2", "nonce": "x"')):
        ended = offline("receipt", "hash", "-", stdin=text)
        assert (ended.code, ended.stdout) == (1, "")


def test_what_became_of_a_receipt(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], answer_file: Path
) -> None:
    receipt_hash = json.loads(answer_file.read_text())["receipt_hash"]
    for which in (receipt_hash, answer_file):
        before = wallet("receipt", "status", which, "--json")
        assert (before.code, before.json["state"], before.json["height"]) == (6, "unused", None)
    minted = wallet("mint", answer_file, "--from", "bob", "--yes", "--json").json
    after = wallet("receipt", "status", answer_file, "--json")
    assert after.code == 0
    assert after.json == {
        "receipt_hash": receipt_hash,
        "state": "final",
        "height": minted["height"],
        "transaction_hash": minted["transaction_hash"],
        "amount_atoms": "1250000000000000000",
        "shares": [
            {"provider": to_checksum_address(people["alice"].address), "amount_atoms": "1250000000000000000"},
        ],
        "attesters": [to_checksum_address(ATTESTER.address)],
        "settled_from": None,
    }
    shown = wallet("receipt", "status", receipt_hash).stdout
    assert "1.25 AIT" in shown
    assert to_checksum_address(ATTESTER.address) in shown
    assert wallet("receipt", "status", "0x12").code == 2
    assert wallet("receipt", "status", "missing.json").code == 1
