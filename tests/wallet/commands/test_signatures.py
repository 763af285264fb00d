"""`aitbc wallet sign|verify`: against eth-account both ways, what is shown, and what is not signed."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from chain.primitives.authorization import Authorization, authorization_digest, authorization_typed_data
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.modules import MINTER
from chain.primitives.types import Hash32
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N
from wallet.known_networks import KnownNetwork, KnownNetworks

PASSWORD = "correct horse battery staple"
CHAIN_ID = 77
RunWallet = Callable[..., Any]


@pytest.fixture
def sign(run: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> RunWallet:
    """`sign …` by alice, in a home that knows chain 77."""
    KnownNetworks(tmp_path / "home").check(
        KnownNetwork(chain_id=CHAIN_ID, genesis_hash="0x" + "07" * 32, name="test"), None
    )

    def sign_as_alice(*arguments: str | Path, stdin: str | bytes = "") -> Any:
        return run("sign", *arguments, "--from", "alice", "--yes", "--json", stdin=stdin, AITBC_PASSWORD=PASSWORD)

    return sign_as_alice


@pytest.fixture
def transfer(people: dict[str, PrivateKey]) -> Authorization:
    """Of 1.5 AIT from alice to bob."""
    return Authorization(
        sender=people["alice"].address,
        recipient=people["bob"].address,
        amount=1_500_000_000_000_000_000,
        valid_after=0,
        valid_before=2_000_000_000,
        nonce=Hash32(b"\x05" * 32),
    )


def write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "typed.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("text", ["hello", "", "0x1234", "Ωmega 🔑\nsecond line\ttab", "-1", "x" * 5000])
def test_messages_are_those_of_every_wallet(run: RunWallet, people: dict[str, PrivateKey], text: str) -> None:
    signed = run("sign", "message", "--from", "alice", "--yes", "--json", "--", text, AITBC_PASSWORD=PASSWORD)
    assert signed.json["address"] == to_checksum_address(people["alice"].address)
    message = encode_defunct(text=text)
    assert Account.recover_message(message, signature=signed.json["signature"]) == signed.json["address"]
    theirs = Account.sign_message(message, people["bob"].secret)
    assert signed.json["digest"] == to_hex(Account.sign_message(message, people["alice"].secret).message_hash)
    verified = run(
        "verify", "message", "--signature", to_hex(theirs.signature), "--address", "bob", "--json", "--", text
    )
    assert verified.json == {
        "address": to_checksum_address(people["bob"].address),
        "digest": signed.json["digest"],
        "verified": True,
    }


def test_bytes_and_files(sign: RunWallet, people: dict[str, PrivateKey], tmp_path: Path) -> None:
    octets = bytes(range(256))
    (tmp_path / "message").write_bytes(octets)
    signatures = {
        sign("message", to_hex(octets), "--hex").json["signature"],
        sign("message", "--file", tmp_path / "message").json["signature"],
        sign("message", "--file", "-", stdin=octets).json["signature"],
    }
    expected = Account.sign_message(encode_defunct(primitive=octets), people["alice"].secret).signature
    assert signatures == {to_hex(expected)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["message"],
        ["message", "a", "--file", "b"],
        ["message", "hello", "--hex"],
        ["message", "--file", "b", "--hex"],
        ["message", "0x1", "--hex"],
        ["typed"],
    ],
)
def test_wrong_usage(sign: RunWallet, arguments: list[str]) -> None:
    assert sign(*arguments).code == 2


def test_what_was_typed_is_signed_byte_by_byte(sign: RunWallet, people: dict[str, PrivateKey]) -> None:
    signed = sign("message", "caf\udce9")  # How Python gives the byte e9 of a command line in Latin-1.
    expected = Account.sign_message(encode_defunct(primitive=b"caf\xe9"), people["alice"].secret).signature
    assert signed.json["signature"] == to_hex(expected)
    assert "0x636166e9" in signed.stderr


def test_what_is_signed_is_shown_first(run: RunWallet, sign: RunWallet, people: dict[str, PrivateKey]) -> None:
    signed = sign("message", "one\ntwo\x1b[2J\u202e back\\slash")
    assert "a message of 25 bytes" in signed.stderr
    assert "message  one\n" in signed.stderr
    assert "two\\x1b[2J\\u202e back\\\\slash" in signed.stderr
    assert "\x1b" not in signed.stderr
    refused = run("sign", "message", "hello", "--from", "alice", AITBC_PASSWORD=PASSWORD)
    assert (refused.code, refused.stdout) == (9, "")
    assert "32 bytes may be a hash" in sign("message", to_hex(b"\x01" * 32), "--hex").stderr
    assert "0xff" in sign("message", "0xff", "--hex").stderr


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 9), ("", 9)])
def test_a_person_is_asked_before_the_password(
    run_at_terminal: RunWallet, people: dict[str, PrivateKey], answer: str, code: int
) -> None:
    answers = [("Sign it? [y/N] ", answer)] + [("Password for the account alice: ", PASSWORD)] * (code == 0)
    ended = run_at_terminal("sign", "message", "hello", "--from", "alice", answers=answers)
    assert ended.code == code
    assert bool(ended.stdout) == (code == 0)


def test_too_long_a_message(sign: RunWallet, tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(bytes(64 * 1024 + 1))
    assert sign("message", "--file", tmp_path / "message").code == 1
    assert sign("message", "--file", tmp_path / "missing").code == 1


def test_typed_data_that_the_token_module_takes(
    sign: RunWallet, run: RunWallet, people: dict[str, PrivateKey], transfer: Authorization, tmp_path: Path
) -> None:
    document = authorization_typed_data(CHAIN_ID, transfer)
    path = write(tmp_path, document)
    signed = sign("typed", path)
    assert signed.code == 0, signed.stderr
    digest = authorization_digest(CHAIN_ID, transfer)
    assert signed.json == {
        "address": to_checksum_address(people["alice"].address),
        "digest": to_hex(digest),
        "signature": to_hex(people["alice"].sign(digest)),
    }
    assert "1.5 AIT (1500000000000000000 atoms)" in signed.stderr
    assert "module" in signed.stderr
    theirs = Account.sign_message(encode_typed_data(full_message=document), people["alice"].secret)
    assert to_hex(theirs.signature) == signed.json["signature"]
    assert sign("typed", "-", stdin=path.read_text()).json == signed.json
    verify = ("verify", "typed", path, "--signature", signed.json["signature"])
    assert run(*verify, "--address", "alice", "--json").json["verified"] is True
    assert run(*verify, "--json").json["verified"] is None


def test_typed_data_of_another_chain(sign: RunWallet, transfer: Authorization, tmp_path: Path, run: RunWallet) -> None:
    path = write(tmp_path, authorization_typed_data(78, transfer))
    refused = sign("typed", path)
    assert (refused.code, refused.stdout) == (10, "")
    assert "--chain-id 78" in refused.stderr
    assert sign("typed", path, "--any-chain").code == 10
    assert sign("typed", path, "--chain-id", "77").code == 10
    assert sign("typed", path, "--chain-id", "78").code == 0


def test_a_home_that_knows_no_network(
    run: RunWallet, people: dict[str, PrivateKey], transfer: Authorization, tmp_path: Path
) -> None:
    path = write(tmp_path, authorization_typed_data(CHAIN_ID, transfer))
    options = ("--from", "alice", "--yes")
    assert run("sign", "typed", path, *options, AITBC_PASSWORD=PASSWORD).code == 10
    assert run("sign", "typed", path, *options, "--chain-id", CHAIN_ID, AITBC_PASSWORD=PASSWORD).code == 0


def test_typed_data_of_every_chain(sign: RunWallet, transfer: Authorization, tmp_path: Path) -> None:
    document = authorization_typed_data(CHAIN_ID, transfer)
    del document["domain"]["chainId"]
    document["types"]["EIP712Domain"] = [
        each for each in document["types"]["EIP712Domain"] if each["name"] != "chainId"
    ]
    path = write(tmp_path, document)
    refused = sign("typed", path)
    assert refused.code == 10
    assert "--any-chain" in refused.stderr
    assert sign("typed", path, "--any-chain").code == 0


def test_attestations_are_never_signed_by_hand(
    sign: RunWallet, run: RunWallet, transfer: Authorization, key: PrivateKey, tmp_path: Path
) -> None:
    """Neither typed data of the minter by anybody, nor anything by an attester: its log would not know of it."""
    document = authorization_typed_data(CHAIN_ID, transfer)
    path = write(tmp_path, document)
    save_attester_key(
        tmp_path / "home" / "keys" / "attester.json",
        key,
        PASSWORD,
        AttesterNetwork(CHAIN_ID, Hash32(b"\x07" * 32)),
        scrypt_n=LIGHT_SCRYPT_N,
    )
    for command in (["message", "hello"], ["typed", path]):
        refused = run("sign", *command, "--from", "attester", "--yes", AITBC_PASSWORD=PASSWORD)
        assert (refused.code, refused.stdout) == (1, "")
        assert "attester of chain 77" in refused.stderr
    document["domain"]["verifyingContract"] = to_hex(MINTER)
    refused = sign("typed", write(tmp_path, document))
    assert (refused.code, refused.stdout) == (1, "")
    assert "attestation" in refused.stderr


def test_a_field_that_would_not_be_signed(sign: RunWallet, transfer: Authorization, tmp_path: Path) -> None:
    document = authorization_typed_data(CHAIN_ID, transfer)
    document["message"]["refundable"] = True
    refused = sign("typed", write(tmp_path, document))
    assert refused.code == 1
    assert "message.refundable" in refused.stderr


def test_verify_tells_who_it_was(run: RunWallet, people: dict[str, PrivateKey]) -> None:
    signature = Account.sign_message(encode_defunct(text="hello"), people["alice"].secret).signature
    alice = to_checksum_address(people["alice"].address)
    assert run("verify", "message", "hello", "--signature", to_hex(signature)).stdout == f"ok  signed by {alice}\n"
    by_v_of_0_or_1 = signature[:64] + bytes((signature[64] - 27,))
    options = ("--address", alice, "--json")
    assert run("verify", "message", "hello", "--signature", to_hex(by_v_of_0_or_1), *options).json["verified"] is True
    for text, address in (("hello", "bob"), ("hello!", "alice"), ("hello", to_checksum_address(people["bob"].address))):
        wrong = run("verify", "message", text, "--signature", to_hex(signature), "--address", address)
        assert wrong.code == 8
        assert "WRONG" in wrong.stdout


def _malleated(signature: bytes) -> bytes:
    """The other signature of the same message by the same key, which EIP-2 forbids."""
    high_s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + high_s.to_bytes(32, "big") + bytes((55 - signature[64],))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda signature: bytes(65), 8),
        (lambda signature: signature[:64] + b"\x05", 8),
        (lambda signature: b"\xff" * 64 + signature[64:], 8),
        (_malleated, 8),
        (lambda signature: signature[:64], 2),
        (lambda signature: signature + b"\0", 2),
    ],
)
def test_forged_signatures(
    run: RunWallet, people: dict[str, PrivateKey], change: Callable[[bytes], bytes], code: int
) -> None:
    signature = change(bytes(Account.sign_message(encode_defunct(text="hello"), people["alice"].secret).signature))
    assert run("verify", "message", "hello", "--signature", to_hex(signature), "--address", "alice").code == code


def test_types_that_contain_each_other(sign: RunWallet, tmp_path: Path) -> None:
    """eth-account cannot tell which of them comes first; it is refused, not guessed."""
    document: dict[str, Any] = {
        "types": {"A": [{"name": "b", "type": "B[]"}], "B": [{"name": "a", "type": "A[]"}]},
        "primaryType": "A",
        "domain": {"chainId": CHAIN_ID},
        "message": {"b": []},
    }
    assert sign("typed", write(tmp_path, document)).code == 1
    itself = copy.deepcopy(document)
    itself["types"]["A"][0]["type"] = "A[]"
    assert sign("typed", write(tmp_path, itself)).code == 0
    assert len(parse_hex(sign("typed", write(tmp_path, itself)).json["signature"])) == 65
