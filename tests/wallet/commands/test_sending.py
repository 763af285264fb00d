"""`aitbc wallet send` and `mint` against a real validator."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.client import NodeClient, NodeRefused
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, combined_artifact_sha256, mint_split_digest
from chain.primitives.shards import Shard
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.running_node import ATTESTER, CHAIN_ID, RunningNode

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]
MakeReceipt = Callable[..., Receipt]


def test_from_a_receipt_to_a_balance(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], answer_file: Path
) -> None:
    alice = people["alice"]
    before = wallet("receipt", "verify", answer_file, "--json")
    assert {check["name"]: check["passed"] for check in before.json["checks"]} == {
        "receipt": True,
        "receipt_hash": True,
        "provider_signature": True,
        "attestation": None,
        "chain_id": True,
        "mint": None,
        "attesters": True,
    }
    minted = wallet("mint", answer_file, "--from", "alice", "--yes", "--json")
    assert minted.code == 0
    assert minted.json["state"] == "final"
    assert minted.json["status"] == "success"
    assert minted.json["action"] == "mintWithReceipt"
    assert minted.json["amount_atoms"] == "1250000000000000000"
    assert "1.25 AIT" in minted.stderr
    assert f"{node.network.name} (chain id {CHAIN_ID})" in minted.stderr
    shown = wallet("balance", "alice", "--json").json["accounts"]
    assert [(each["name"], each["balance_atoms"], each["nonce"]) for each in shown] == [
        ("alice", "1250000000000000000", 1)
    ]
    after = wallet("receipt", "verify", answer_file, "--json")
    assert after.code == 0
    assert {check["name"]: check["passed"] for check in after.json["checks"]}["mint"] is True
    # Twice is once, whoever tries.
    again = wallet("mint", answer_file, "--from", "bob", "--yes", "--json")
    assert again.code == 0
    assert "minted before" in again.stderr
    assert again.json["transaction_hash"] == minted.json["transaction_hash"]
    assert node.balance(alice.address) == 125 * 10**16


def test_anyone_may_send_the_mint(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], answer_file: Path
) -> None:
    minted = wallet("mint", answer_file, "--from", "bob", "--yes", "--json")
    assert (minted.code, minted.json["status"]) == (0, "success")
    assert node.balance(people["alice"].address) == 125 * 10**16
    assert node.balance(people["bob"].address) == 0


def test_a_split_jobs_mint_pays_all_who_worked(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], make_receipt: MakeReceipt, tmp_path: Path
) -> None:
    makers = [PrivateKey.generate() for _ in range(2)]
    shards = tuple(
        Shard(provider=key.address, micro_units=units, artifact_sha256=digits * 32)
        for key, units, digits in zip(makers, (750_000, 500_000), ("01", "05"), strict=True)
    )
    digests = [bytes.fromhex(shard.artifact_sha256) for shard in shards]
    receipt = make_receipt(
        provider=makers[0].address,
        chain_id=CHAIN_ID,
        shards=shards,
        artifact_sha256=combined_artifact_sha256(digests),
        job_id=f"split-{makers[0].address.hex()}",
    )
    providers, amounts = zip(*receipt.payouts(), strict=True)
    attestation = ATTESTER.sign(mint_split_digest(CHAIN_ID, providers, amounts, receipt.hash))
    path = tmp_path / "split.json"
    answer = {"receipt": receipt.to_object(), "attestation": to_hex(attestation), "mint": {"form": "mint_split"}}
    path.write_text(json.dumps(answer))
    before = wallet("receipt", "verify", path, "--json")
    assert {check["name"]: check["passed"] for check in before.json["checks"]}["attesters"] is True
    minted = wallet("mint", path, "--from", "bob", "--yes", "--json")
    assert (minted.code, minted.json["action"], minted.json["status"]) == (0, "mintSplit", "success")
    assert [node.balance(key.address) for key in makers] == [75 * 10**16, 50 * 10**16]
    after = wallet("receipt", "verify", path, "--json")
    assert (after.code, after.json["verified"]) == (0, True)
    path.write_text(json.dumps(answer | {"mint": {"form": "settle"}}))
    assert "the client's deposit pays" in wallet("mint", path, "--from", "bob", "--yes").stderr


def test_send_and_history(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    alice, bob = people["alice"], people["bob"]
    node.fund(alice, 2 * ATOMS_PER_AIT)
    sent = wallet("send", "bob", "0.5", "--from", "alice", "--yes", "--json")
    assert sent.code == 0
    assert sent.json["to"] == to_checksum_address(bob.address)
    assert sent.json["amount_atoms"] == str(ATOMS_PER_AIT // 2)
    assert (sent.json["state"], sent.json["status"], sent.json["max_fee_atoms"]) == ("final", "success", "0")
    bob_text = to_checksum_address(bob.address)
    in_atoms = wallet("send", bob_text, "7", "--atoms", "--from", to_checksum_address(alice.address), "--yes")
    assert in_atoms.code == 0
    assert "final in block" in in_atoms.stdout
    assert node.balance(bob.address) == ATOMS_PER_AIT // 2 + 7

    history = wallet("history", "alice", "--json").json
    entries = [(entry["action"], entry["change_atoms"], entry["status"]) for entry in history["transactions"]]
    assert entries == [
        ("transfer", "-7", "success"),
        ("transfer", str(-ATOMS_PER_AIT // 2), "success"),
        ("mintWithReceipt", str(2 * ATOMS_PER_AIT), "success"),
    ]
    first = wallet("history", "alice", "--limit", "2", "--json").json
    rest = wallet("history", "alice", "--cursor", first["next_cursor"], "--json").json
    assert first["transactions"] + rest["transactions"] == history["transactions"]
    assert "+0.5 AIT" in wallet("history", "bob").stdout
    everybody = wallet("balance").stdout
    assert "alice" in everybody
    assert "1.499999999999999993 AIT" in everybody


def test_to_the_last_atom_and_not_beyond(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    node.fund(people["alice"], 10**12)
    send = ("send", "bob", "--from", "alice", "--yes", "--atoms")
    too_much = wallet(*send, str(10**12 + 1))
    assert (too_much.code, too_much.stdout) == (5, "")
    assert "alice has 0.000001 AIT" in too_much.stderr
    assert node.balance(people["bob"].address) == 0
    assert wallet(*send, str(10**12)).code == 0
    assert node.balance(people["alice"].address) == 0
    newcomer = wallet(*send, "0")
    assert newcomer.code == 5
    assert "newcomer_call" in newcomer.stderr


def test_wait_none_and_no_time(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    send = ("send", "bob", "0.1", "--from", "alice", "--yes", "--json")
    handed_in = wallet(*send, "--wait", "none")
    assert (handed_in.code, handed_in.json["state"], handed_in.json["status"]) == (0, "pending", None)
    impatient = wallet(*send, "--timeout-s", "0")
    assert (impatient.code, impatient.json["state"]) == (6, "pending")
    with NodeClient(node.url) as client:
        for sent in (handed_in, impatient):
            assert client.wait_for_transaction(sent.json["transaction_hash"]).status == "success"


def test_wrong_nonces_are_refused(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    used = wallet("send", "bob", "0.1", "--from", "alice", "--yes", "--nonce", "0")
    assert (used.code, used.stdout) == (5, "")
    assert "nonce_too_low" in used.stderr
    assert node.balance(people["bob"].address) == 0


def test_a_mint_that_no_attester_signed(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], answer_file: Path
) -> None:
    answer = json.loads(answer_file.read_text())
    receipt = Receipt.from_object(answer["receipt"])
    forged = people["bob"].sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))
    attempt = ("mint", answer_file, "--from", "alice", "--yes", "--attestation", to_hex(forged))
    refused = wallet(*attempt)
    assert refused.code == 5
    assert "not_an_attester" in refused.stderr
    # Who holds AIT could be in a block with a call that fails, but not with a mint.
    node.fund(people["alice"], ATOMS_PER_AIT)
    assert wallet(*attempt).code == 5
    assert node.balance(people["alice"].address) == ATOMS_PER_AIT
    verified = wallet("receipt", "verify", answer_file, "--attestation", to_hex(forged), "--json")
    assert verified.code == 8
    assert "attesters" in verified.stderr
    assert wallet("mint", answer_file, "--yes", "--from", "alice", "--attestation", "0x1234").code == 1
    with NodeClient(node.url) as client, pytest.raises(NodeRefused):
        client.receipt(receipt.hash)


def test_a_receipt_of_another_chain(
    wallet: RunWallet, tmp_path: Path, people: dict[str, PrivateKey], make_receipt: MakeReceipt
) -> None:
    receipt = make_receipt(chain_id=CHAIN_ID + 1)
    path = tmp_path / "other.json"
    path.write_bytes(receipt.canonical_bytes())
    attestation = ATTESTER.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))
    assert wallet("mint", path, "--from", "alice", "--yes", "--attestation", to_hex(attestation)).code == 10
    assert wallet("mint", path, "--from", "alice", "--yes").code == 2
    assert wallet("receipt", "verify", path).code == 8


def test_nothing_is_signed_without_consent_or_password(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    send = ("send", "bob", "0.25", "--from", "alice")
    unconfirmed = wallet(*send)
    assert (unconfirmed.code, unconfirmed.stdout) == (9, "")
    for shown in ("transfer", "0.25 AIT (250000000000000000 atoms)", "fee", f"chain id {CHAIN_ID}", "nonce"):
        assert shown in unconfirmed.stderr
    assert wallet(*send, "--yes", AITBC_PASSWORD="wrong").code == 3
    with NodeClient(node.url) as client:
        assert client.account(people["alice"].address).pending_nonce == 1


def test_a_person_says_yes_or_no(run_at_terminal: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    send = ("send", "bob", "0.25", "--from", "alice", "--node-url", node.url, "--json")
    refused = run_at_terminal(*send, answers=[("[y/N] ", "n")])
    assert (refused.code, refused.stdout) == (9, "")
    agreed = run_at_terminal(*send, answers=[("[y/N] ", "y"), ("Password for the account alice: ", PASSWORD)])
    assert agreed.code == 0
    assert agreed.json["status"] == "success"
    assert PASSWORD not in agreed.stderr
    assert node.balance(people["bob"].address) == ATOMS_PER_AIT // 4


def test_two_commands_at_once_do_not_replace_each_other(
    run_process: RunWallet, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    codes: list[int] = []

    def send() -> None:
        ended = run_process(
            "send", "bob", "0.1", "--from", "alice", "--yes", AITBC_NODE_URL=node.url, AITBC_PASSWORD=PASSWORD
        )
        codes.append(ended.code)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert codes == [0, 0]
    assert node.balance(people["bob"].address) == 2 * ATOMS_PER_AIT // 10


def test_a_dry_run_signs_nothing_and_asks_the_rules(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], answer_file: Path
) -> None:
    dry = ("--from", "alice", "--dry-run", "--json", "--password-file", "/nowhere")
    mint = wallet("mint", answer_file, *dry)
    assert (mint.code, mint.json["would_succeed"], mint.json["action"]) == (0, True, "mintWithReceipt")
    newcomer = wallet("send", "bob", "0", *dry)
    assert (newcomer.code, newcomer.json["would_succeed"]) == (5, False)
    assert "may only mint" in newcomer.json["reason"]
    node.fund(people["alice"], ATOMS_PER_AIT)
    send = wallet("send", "bob", "0.5", *dry)
    assert (send.code, send.json["would_succeed"], send.json["gas"]) == (0, True, 21_000)
    assert send.json["amount_atoms"] == str(ATOMS_PER_AIT // 2)
    assert wallet("send", "bob", "1.5", *dry).code == 5
    assert "Nothing was signed; it would succeed now" in wallet("send", "bob", "1", *dry[:-3]).stdout
    assert node.balance(people["alice"].address) == ATOMS_PER_AIT
    assert wallet("nonce", "alice").stdout == "1\n"


def test_in_a_block_is_final_here(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    sent = wallet("send", "bob", "0.5", "--asset", "AIT", "--from", "alice", "--yes", "--wait", "included", "--json")
    assert (sent.code, sent.json["state"], sent.json["asset"]) == (0, "final", "AIT")
    other = wallet("send", "bob", "0.5", "--asset", "GOLD", "--from", "alice", "--yes")
    assert (other.code, other.stdout) == (1, "")
    assert wallet("send", "bob", "0.5", "--wait", "soon").code == 2
