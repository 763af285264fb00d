"""Accounts as what signs: a keystore with its password, and a Ledger that is not there."""

import threading
from pathlib import Path

import pytest

from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey, SignerUnavailable, recover_address
from chain.primitives.types import Hash32
from wallet.accounts import AccountError, Accounts
from wallet.attester import AttesterNetwork, network_field
from wallet.keystore import LIGHT_SCRYPT_N, KeystoreError, WrongPasswordError


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "home")


def test_a_keystore_opens_to_what_signs(
    accounts: Accounts, key: PrivateKey, password_file: Path, tmp_path: Path
) -> None:
    account = accounts.create("alice", key, password_file.read_text().strip(), scrypt_n=LIGHT_SCRYPT_N)
    signer = account.open(password_file)
    assert (account.kind, signer.address, signer.public_key) == ("keystore", key.address, key.public_key)
    assert recover_address(keccak256(b"anything"), signer.sign_keccak(b"anything")) == key.address
    (tmp_path / "wrong").write_text("wrong")
    with pytest.raises(WrongPasswordError):
        account.open(tmp_path / "wrong")
    account.check_may_sign_messages()


def test_an_attesters_messages_could_be_attestations(accounts: Accounts, key: PrivateKey) -> None:
    network = AttesterNetwork(77, Hash32(b"\x07" * 32))
    account = accounts.create("attester", key, "secret", scrypt_n=LIGHT_SCRYPT_N, extra=network_field(network))
    with pytest.raises(AccountError, match="attester of chain 77"):
        account.check_may_sign_messages()
    unbound = accounts.create("unbound", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    unbound.check_may_sign_messages()
    with pytest.raises(AccountError, match="attester is an attester of chain 77"):
        accounts.check_may_sign_messages(unbound)
    stranger = accounts.create("stranger", PrivateKey.generate(), "secret", scrypt_n=LIGHT_SCRYPT_N)
    accounts.check_may_sign_messages(stranger)
    damaged = accounts.create("damaged", key, "secret", scrypt_n=LIGHT_SCRYPT_N, extra={"aitbc_network": 7})
    with pytest.raises(KeystoreError, match="aitbc_network is damaged"):
        damaged.check_may_sign_messages()


def test_a_ledger_that_is_not_connected(accounts: Accounts, key: PrivateKey) -> None:
    account = accounts.create_for_ledger("cold", "m/44'/60'/0'/0/0", key.address)
    assert (account.kind, account.address) == ("ledger", key.address)
    with pytest.raises(SignerUnavailable):
        account.open(None)
    with pytest.raises(KeystoreError, match="exists already"):
        accounts.create_for_ledger("cold", "m/44'/60'/0'/0/0", key.address)


def test_who_renames_waits_for_who_sends(accounts: Accounts, key: PrivateKey) -> None:
    account = accounts.create("alice", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    waiting = threading.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def rename() -> None:
        with accounts.hold(account, say):
            accounts.rename(account, "bob")

    with accounts.hold(account, said.append):
        thread = threading.Thread(target=rename)
        thread.start()
        assert waiting.wait(30)
        assert accounts.names() == ["alice"]
    thread.join(90)
    assert accounts.names() == ["bob"]
    assert said == ["waiting for another command that sends from alice"]


def test_one_key_under_two_names_takes_turns(accounts: Accounts, key: PrivateKey) -> None:
    """The nonce belongs to the address: two senders would choose the same one, and one transfer would be lost."""
    first = accounts.create("alice", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    second = accounts.create("again", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    waiting = threading.Event()
    held = threading.Event()

    def send() -> None:
        with accounts.hold(second, lambda said: waiting.set()):
            held.set()

    with accounts.hold(first, lambda said: None):
        thread = threading.Thread(target=send)
        thread.start()
        assert waiting.wait(30)
        assert not held.is_set()
    thread.join(90)
    assert held.is_set()
