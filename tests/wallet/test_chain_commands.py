"""`aitbc wallet` against a validator that runs as a process of its own: mint, send, balance, history, verify."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chain.client import NodeClient, NodeRefused
from chain.node.cli import app as node_app
from chain.node.folder import write_key_file
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, TOKEN, TOKEN_TRANSFER
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.receipt import Receipt, attestation_digest, sign_receipt
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from wallet.chain_commands import _report
from wallet.keystore import LIGHT_SCRYPT_N, save_key
from wallet.node_session import open_node
from wallet.options import Wait
from wallet.sending import plan_transaction, submit, wait_until_final
from wallet.terminal import CommandError, ExitCode

CHAIN_ID = 1_414_213_562
VALIDATOR, ATTESTER = PrivateKey(b"\x0a" * 32), PrivateKey(b"\x0b" * 32)
PASSWORD = "correct horse battery staple"
START_TIMEOUT_S = 60
RunWallet = Callable[..., Any]
MakeReceipt = Callable[..., Receipt]


class RunningNode:
    """A validator alone in its network, as `aitbc node run` starts it."""

    def __init__(self, folder: Path, *, name: str = "wallet-test") -> None:
        self.network = Network(
            chain_id=CHAIN_ID,
            name=name,
            validators=(Validator(VALIDATOR.address, VALIDATOR.public_key),),
            attesters=(AttesterAllowance(ATTESTER.address, 10**6 * ATOMS_PER_AIT, 10**6),),
            block_interval_ms=20,
        )
        folder.mkdir()
        (folder / "network.toml").write_text(network_to_toml(self.network))
        write_key_file(folder / "validator.key", VALIDATOR)
        files = ["--network", str(folder / "network.toml"), "--key-file", str(folder / "validator.key")]
        assert CliRunner().invoke(node_app, ["init", *files, "--data-dir", str(folder / "data")]).exit_code == 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "node", "run", "--data-dir", folder / "data", "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
        )
        urls: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read_log, args=(urls,), daemon=True).start()
        self.url = urls.get(timeout=START_TIMEOUT_S)

    def _read_log(self, urls: "queue.Queue[str]") -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event = json.loads(line)
            if event["event"] == "serving":
                urls.put(event["url"])

    def stop(self) -> None:
        """Ends the process as an operator would."""
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0

    def fund(self, key: PrivateKey, atoms: int) -> Transaction:
        """Mints for a receipt hash that nobody has seen, sent by whom it is for."""
        with NodeClient(self.url) as client:
            nonce = client.account(key.address).nonce
            receipt_hash = keccak256(key.address + nonce.to_bytes(8, "big"))
            attestation = ATTESTER.sign(attestation_digest(key.address, atoms, receipt_hash))
            call = MINT_WITH_RECEIPT.encode(key.address, atoms, receipt_hash, attestation)
            mint = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
            client.send_transaction(mint.raw)
            assert client.wait_for_transaction(mint.hash).status == "success"
            return mint

    def balance(self, address: Address) -> int:
        """Final atoms."""
        with NodeClient(self.url) as client:
            return int(client.account(address).balance)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for all tests here; each test has accounts of its own."""
    running = RunningNode(tmp_path_factory.mktemp("node") / "main")
    yield running
    running.stop()


@pytest.fixture
def wallet(run: RunWallet, node: RunningNode) -> RunWallet:
    """The wallet with the node and the password set."""

    def run_with_node(*arguments: str | Path, **environment: str) -> Any:
        return run(*arguments, **{"AITBC_NODE_URL": node.url, "AITBC_PASSWORD": PASSWORD} | environment)

    return run_with_node


@pytest.fixture
def people(tmp_path: Path) -> dict[str, PrivateKey]:
    """Two accounts in the wallet's home, with the keys that only a test would know."""
    keys = {"alice": PrivateKey.generate(), "bob": PrivateKey.generate()}
    for name, key in keys.items():
        save_key(tmp_path / "home" / "keys" / f"{name}.json", key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    return keys


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


def test_a_call_that_fails_is_final_and_says_so(
    node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    alice, bob = people["alice"].address, people["bob"].address
    too_much = TOKEN_TRANSFER.encode(bob, 2 * ATOMS_PER_AIT)
    with open_node(node.url, tmp_path, None) as (client, status):
        draft = plan_transaction(client, status, alice, "alice", to=TOKEN, call_data=too_much)
        submit(client, transaction := draft.sign(people["alice"]))
        outcome = wait_until_final(client, transaction, timeout_s=20)
    assert (outcome.is_final, outcome.succeeded) == (True, False)
    with pytest.raises(CommandError, match="insufficient_funds") as failed:
        _report(draft, outcome, Wait.FINAL, True, {})
    assert failed.value.code is ExitCode.TRANSACTION_FAILED
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


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


def test_the_same_bytes_again_are_harmless(node: RunningNode) -> None:
    key = PrivateKey.generate()
    node.fund(key, ATOMS_PER_AIT)
    payment = sign_transaction(key, chain_id=CHAIN_ID, nonce=1, to=Address(b"\x42" * 20), value=5)
    heard: list[str] = []
    with NodeClient(node.url) as client:
        submit(client, payment)
        submit(client, payment)
        outcome = wait_until_final(
            client, payment, timeout_s=30, on_progress=lambda waited_s, state: heard.append(state)
        )
        assert outcome.succeeded
        submit(client, payment)
        assert client.account(key.address).nonce == 2


def test_somebody_elses_mint_of_the_receipt_counts(node: RunningNode) -> None:
    key = PrivateKey.generate()
    minted = node.fund(key, ATOMS_PER_AIT)
    never_sent = sign_transaction(PrivateKey.generate(), chain_id=CHAIN_ID, nonce=0, to=MINTER, data=minted.data)
    with NodeClient(node.url) as client:
        ignorant = wait_until_final(client, never_sent, timeout_s=0.2)
        assert not ignorant.is_final
        assert ignorant.reason is not None
        assert "does not know it" in ignorant.reason
        receipt_hash = Hash32(MINT_WITH_RECEIPT.decode(minted.data)[2])
        outcome = wait_until_final(client, never_sent, timeout_s=30, receipt_hash=receipt_hash)
    assert (outcome.succeeded, outcome.transaction_hash) == (True, to_hex(minted.hash))


def test_another_network_is_refused(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    assert wallet("balance").code == 0
    asked = wallet("balance", "--chain-id", str(CHAIN_ID + 1))
    assert (asked.code, asked.stdout) == (10, "")
    # The same chain id, but another genesis: what a liar, or a network that was started anew, looks like.
    impostor = RunningNode(tmp_path / "impostor", name="impostor")
    try:
        for command in (["balance"], ["send", "bob", "0", "--from", "alice", "--yes"], ["history", "alice"]):
            refused = wallet(*command, AITBC_NODE_URL=impostor.url)
            assert (refused.code, refused.stdout) == (10, "")
            assert "another network under the same number" in refused.stderr
    finally:
        impostor.stop()


def test_a_network_goes_by_the_name_that_the_wallet_remembers(node: RunningNode, tmp_path: Path) -> None:
    with open_node(node.url, tmp_path, None) as (_, status):
        assert status.network == node.network.name
    remembered = tmp_path / "networks" / f"{CHAIN_ID}.json"
    remembered.write_text(remembered.read_text().replace(f'"{node.network.name}"', '"as I met it"'))
    with open_node(node.url, tmp_path, None) as (_, status):
        assert status.network == "as I met it"


def test_another_service_is_not_taken_for_a_node(wallet: RunWallet, node: RunningNode) -> None:
    asked = wallet("balance", "0x" + "11" * 20, "--node-url", f"{node.url}/v1/no-node-here")
    assert asked.code == 4
    assert "is no node" in asked.stderr
