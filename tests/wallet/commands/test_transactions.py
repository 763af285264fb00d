"""`aitbc wallet tx`: built with a node or without, signed where there is none, handed in by anybody."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN, TOKEN_TRANSFER
from chain.primitives.transaction import decode_transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT
from tests.wallet.running_node import CHAIN_ID, RunningNode
from wallet.unsigned import encode_unsigned

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]
STRANGER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
MEANT = ("--chain-id", str(CHAIN_ID))
OFFLINE = ("--nonce", "1", "--max-fee", "0", *MEANT)


def test_from_one_machine_to_the_other_and_back(
    wallet: RunWallet, offline: RunWallet, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    built = wallet("tx", "build", "bob", "0.25", "--from", "alice")
    assert built.code == 0
    assert "0.25 AIT" in built.stderr
    signed = offline("tx", "sign", "-", "--from", "alice", "--yes", stdin=built.stdout)
    assert signed.code == 0
    assert f"chain id {CHAIN_ID}" in signed.stderr
    read = offline("tx", "decode", "-", "--json", stdin=signed.stdout).json
    assert (read["signed"], read["action"], read["nonce"]) == (True, "transfer", 1)
    assert read["from"] == to_checksum_address(people["alice"].address)
    assert read["details"]["amount"] == "0.25 AIT (250000000000000000 atoms)"
    handed_in = wallet("tx", "broadcast", "-", "--json", stdin=signed.stdout)
    assert (handed_in.code, handed_in.json["state"], handed_in.json["status"]) == (0, "final", "success")
    assert handed_in.json["transaction_hash"] == read["transaction_hash"]
    assert node.balance(people["bob"].address) == ATOMS_PER_AIT // 4
    # Again is harmless.
    assert wallet("tx", "broadcast", "-", stdin=signed.stdout).code == 0
    assert node.balance(people["bob"].address) == ATOMS_PER_AIT // 4


def test_json_names_the_sender_from_end_to_end(
    offline: RunWallet, people: dict[str, PrivateKey], tmp_path: Path
) -> None:
    built = offline("tx", "build", STRANGER, "1", "--from", "alice", *OFFLINE, "--json")
    assert built.code == 0
    assert (built.json["from"], built.json["nonce"]) == (to_checksum_address(people["alice"].address), 1)
    file = tmp_path / "built.json"
    file.write_text(built.stdout)
    signed = offline("tx", "sign", file, *MEANT, "--yes", "--json")  # There are two accounts, but the file says which.
    assert signed.code == 0
    assert decode_transaction(bytes.fromhex(signed.json["raw_transaction"][2:])).recover_sender() == (
        people["alice"].address
    )
    refused = offline("tx", "sign", file, "--from", "bob", "--yes")
    assert (refused.code, refused.stdout) == (1, "")
    assert "it was built for" in refused.stderr
    unsigned = offline("tx", "decode", file, "--json").json
    assert (unsigned["signed"], unsigned["transaction_hash"]) == (False, None)
    assert unsigned["from"] == built.json["from"]
    bare = offline("tx", "decode", built.json["unsigned_transaction"], "--json").json
    assert bare["from"] is None
    assert "not said" in offline("tx", "decode", built.json["unsigned_transaction"]).stdout


def test_what_another_library_signs_is_the_same(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    built = offline("tx", "build", STRANGER, "1", "--from", "alice", *OFFLINE)
    ours = offline("tx", "sign", built.stdout.strip(), *MEANT, "--from", "alice", "--yes").stdout.strip()
    fields = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 1,
        "maxPriorityFeePerGas": 0,
        "maxFeePerGas": 0,
        "gas": 21_000,
        "to": STRANGER,
        "value": ATOMS_PER_AIT,
    }
    assert to_hex(bytes(Account.sign_transaction(fields, people["alice"].secret).raw_transaction)) == ours


def test_a_module_call_and_fees(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    call = to_hex(TOKEN_TRANSFER.encode(people["bob"].address, 5))
    arguments = ("tx", "build", to_checksum_address(TOKEN), "--from", "alice", "--data", call)
    rest = ("--nonce", "0", "--chain-id", "9", "--json")
    built = offline(*arguments, "--max-fee", "3", *rest)
    assert (built.json["action"], built.json["max_fee_atoms"]) == ("transfer", str(3 * (100_000 + 16 * 68)))
    limited = offline(*arguments, "--max-fee", "3", "--gas-limit", "400000", *rest).json
    assert offline("tx", "decode", limited["unsigned_transaction"], "--json").json["gas_limit"] == 400_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("bob", "-1"),
        ("bob", "1", "--data", "zz"),
        ("0x" + "00" * 20, "1"),
        (to_checksum_address(TOKEN), "1"),
        ("0x1234", "1"),
        ("bob", "1", "--nonce", str(2**64)),
        ("bob", "1", "--gas-limit", str(2**63)),
        ("bob", "1", "--chain-id", "0"),
    ],
)
def test_what_cannot_be_built(offline: RunWallet, people: dict[str, PrivateKey], arguments: tuple[str, ...]) -> None:
    ended = offline("tx", "build", "--from", "alice", *OFFLINE, *arguments)
    assert (ended.code, ended.stdout) == (2, "")


def test_what_is_out_of_range_is_said(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    for changes in (("--chain-id", str(2**32)), ("--max-fee", str(2**256)), ("--data", "0x" + "00" * 40_000)):
        ended = offline("tx", "build", "bob", "1", "--from", "alice", *OFFLINE, *changes)
        assert (ended.code, ended.stdout) == (1, "")


def test_without_the_three_numbers_a_node_is_asked(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    for left_out in (0, 2, 4):
        given = OFFLINE[:left_out] + OFFLINE[left_out + 2 :]
        assert offline("tx", "build", "bob", "1", "--from", "alice", *given).code == 4


@pytest.mark.parametrize(
    "text", ["", "{}", "[", "[" * 50_000, "hello", "0x", "0x02", "0xzz", '{"unsigned_transaction": 1}', "0x" + "c0" * 9]
)
def test_what_is_no_transaction(offline: RunWallet, people: dict[str, PrivateKey], text: str) -> None:
    for command in (("sign", "-", "--from", "alice", "--yes"), ("decode", "-"), ("broadcast", "-")):
        ended = offline("tx", *command, stdin=text)
        assert (ended.code, ended.stdout) == (1, "")
        assert "Traceback" not in ended.stderr
    assert offline("tx", "decode", "-", stdin=b"\xff\xfe").code == 1
    assert offline("tx", "decode", "-", stdin="0x" + "00" * 100_000).code == 1


def test_nothing_is_signed_without_consent(offline: RunWallet, people: dict[str, PrivateKey]) -> None:
    built = offline("tx", "build", "bob", "1", "--from", "alice", *OFFLINE).stdout.strip()
    unconfirmed = offline("tx", "sign", built, *MEANT, "--from", "alice")
    assert (unconfirmed.code, unconfirmed.stdout) == (9, "")
    assert "1 AIT" in unconfirmed.stderr
    assert offline("tx", "sign", built, *MEANT, "--from", "alice", "--yes", AITBC_PASSWORD="wrong").code == 3


def test_signing_sticks_to_the_network_that_is_meant(
    wallet: RunWallet, offline: RunWallet, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    other = ("--nonce", "1", "--max-fee", "0", "--chain-id", "9")
    built = offline("tx", "build", "bob", "1", "--from", "alice", *other).stdout.strip()
    unknown = offline("tx", "sign", built, "--from", "alice", "--yes")
    assert (unknown.code, unknown.stdout) == (10, "")
    assert "knows no network yet" in unknown.stderr
    assert wallet("network", "add", node.url).code == 0
    refused = offline("tx", "sign", built, "--from", "alice", "--yes")
    assert (refused.code, refused.stdout) == (10, "")
    assert offline("tx", "sign", built, "--from", "alice", "--yes", "--chain-id", "10").code == 10
    asked_for = offline("tx", "sign", built, "--from", "alice", "--yes", "--chain-id", "9")
    assert asked_for.code == 0
    assert "does not know (chain id 9)" in asked_for.stderr
    assert wallet("tx", "broadcast", "-", stdin=asked_for.stdout).code == 10
    assert wallet("tx", "broadcast", "-", stdin=built).code == 1


def test_status_and_wait(wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]) -> None:
    minted = to_hex(node.fund(people["alice"], ATOMS_PER_AIT).hash)
    for command in (("status", minted), ("wait", minted)):
        ended = wallet("tx", *command, "--json")
        assert (ended.code, ended.json["state"], ended.json["status"]) == (0, "final", "success")
    unknown = "0x" + "11" * 32
    ended = wallet("tx", "status", unknown, "--json")
    assert (ended.code, ended.json["state"], ended.json["height"]) == (6, "unknown", None)
    assert wallet("tx", "wait", unknown, "--timeout-s", "0.2").code == 6
    for text in ("0x11", "11" * 32, "0x" + "zz" * 32):
        assert wallet("tx", "status", text).code == 2
    failing = sign_transaction(
        people["alice"],
        chain_id=CHAIN_ID,
        nonce=1,
        to=TOKEN,
        data=TOKEN_TRANSFER.encode(people["bob"].address, 2 * ATOMS_PER_AIT),
    )
    handed_in = wallet("tx", "broadcast", to_hex(failing.raw), "--json")
    assert (handed_in.code, handed_in.json["status"]) == (7, "failed")
    assert handed_in.json["reason"].startswith("insufficient_funds")
    assert wallet("tx", "status", to_hex(failing.hash)).code == 7


def test_a_refused_transaction_and_waiting_less(
    wallet: RunWallet, node: RunningNode, people: dict[str, PrivateKey]
) -> None:
    node.fund(people["alice"], ATOMS_PER_AIT)
    used = sign_transaction(people["alice"], chain_id=CHAIN_ID, nonce=0, to=people["bob"].address, value=1)
    refused = wallet("tx", "broadcast", to_hex(used.raw))
    assert (refused.code, refused.stdout) == (5, "")
    payment = sign_transaction(people["alice"], chain_id=CHAIN_ID, nonce=1, to=people["bob"].address, value=1)
    unsigned = to_hex(encode_unsigned(payment))
    assert "not signed yet" in wallet("tx", "broadcast", unsigned).stderr
    assert wallet("tx", "broadcast", to_hex(payment.raw), "--wait", "none", "--json").json["state"] == "pending"
    with NodeClient(node.url) as client:
        assert client.wait_for_transaction(payment.hash).status == "success"
    included = wallet("tx", "broadcast", to_hex(payment.raw), "--wait", "included", "--json")
    assert (included.code, included.json["state"]) == (0, "final")
    assert json.loads(included.stdout)["height"] > 0
