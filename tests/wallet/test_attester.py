"""The attester's key: one network, one receipt per job, and the very digest that the plan's contract verifies."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.receipt import Receipt, attestation_digest
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Hash32
from wallet.attestation_log import AttestationLogError, ConflictingAttestationError
from wallet.attester import (
    AttesterNetwork,
    AttesterSigner,
    attester_network,
    open_attester,
    save_attester_key,
)
from wallet.keystore import LIGHT_SCRYPT_N, KeystoreError, WrongPasswordError, load_key, read_keystore, save_key

NETWORK = AttesterNetwork(chain_id=3_141_592_653, genesis_hash=Hash32(b"\x11" * 32))
MakeReceipt = Callable[..., Receipt]


@pytest.fixture
def keystore(tmp_path: Path, key: PrivateKey) -> Path:
    """The attester's keystore file; its password is `secret`."""
    path = tmp_path / "attester.json"
    save_attester_key(path, key, "secret", NETWORK, scrypt_n=LIGHT_SCRYPT_N)
    return path


@pytest.fixture
def signer(tmp_path: Path, keystore: Path) -> Iterator[AttesterSigner]:
    """The attester, ready to sign."""
    signer = open_attester(keystore, "secret", NETWORK, tmp_path / "attestations.db")
    yield signer
    signer.close()


def test_the_keystore_names_its_network_and_stays_readable_to_others(keystore: Path, key: PrivateKey) -> None:
    assert attester_network(read_keystore(keystore)) == NETWORK
    assert bytes(Account.decrypt(json.loads(keystore.read_text()), "secret")) == key.secret
    assert load_key(keystore, "secret").address == key.address


def test_signs_what_the_plans_contract_verifies(
    signer: AttesterSigner, key: PrivateKey, make_receipt: MakeReceipt
) -> None:
    receipt = make_receipt()
    signature = signer.sign_mint(receipt)
    # keccak256(abi.encode(provider, units, receiptHash)), then EIP-191, by libraries that are not ours.
    inner = keccak(
        abi_encode(["address", "uint256", "bytes32"], [bytes(receipt.provider), receipt.amount, bytes(receipt.hash)])
    )
    assert signature == bytes(Account.sign_message(encode_defunct(inner), key.secret).signature)
    digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
    assert recover_address(digest, signature) == signer.address == key.address


def test_refuses_another_chains_receipt_and_forgets_it(signer: AttesterSigner, make_receipt: MakeReceipt) -> None:
    with pytest.raises(Rejected) as refusal:
        signer.sign_mint(make_receipt(chain_id=1))
    assert refusal.value.reason is RejectionReason.WRONG_CHAIN_ID
    assert len(signer.sign_mint(make_receipt())) == 65  # The same job id is still free.


def test_the_same_receipt_again_gives_the_same_signature(
    tmp_path: Path, keystore: Path, signer: AttesterSigner, make_receipt: MakeReceipt
) -> None:
    signature = signer.sign_mint(make_receipt())
    assert signer.sign_mint(make_receipt()) == signature
    signer.close()
    again = open_attester(keystore, "secret", NETWORK, tmp_path / "attestations.db")
    assert again.sign_mint(make_receipt()) == signature
    again.close()


@pytest.mark.parametrize(
    "change",
    [
        {"micro_units": 1_250_001},
        {"artifact_sha256": "ee" * 32},
        {"provider": PrivateKey(b"\x05" * 32).address},
        {"nonce": "nonce-2"},
    ],
)
def test_another_receipt_for_the_same_job_is_refused(
    signer: AttesterSigner, make_receipt: MakeReceipt, change: dict[str, object]
) -> None:
    signature = signer.sign_mint(make_receipt())
    with pytest.raises(ConflictingAttestationError, match="job-1 was attested before"):
        signer.sign_mint(make_receipt(**change))
    assert signer.sign_mint(make_receipt()) == signature


def test_other_jobs_and_other_hubs_are_free(signer: AttesterSigner, make_receipt: MakeReceipt) -> None:
    signatures = {
        signer.sign_mint(make_receipt(job_id=job_id, hub_id=hub_id))
        for job_id in ("job-1", "job-2")
        for hub_id in ("", "hub-1", "hub-2")
    }
    assert len(signatures) == 6


def test_an_inconsistent_receipt_is_refused(signer: AttesterSigner, make_receipt: MakeReceipt) -> None:
    receipt = make_receipt()
    inflated = Receipt(**{name: getattr(receipt, name) for name in receipt.__struct_fields__} | {"amount": 10**30})
    with pytest.raises(Rejected, match="amount"):
        signer.sign_mint(inflated)


@pytest.mark.parametrize(
    "other",
    [
        AttesterNetwork(NETWORK.chain_id + 1, NETWORK.genesis_hash),
        AttesterNetwork(NETWORK.chain_id, Hash32(b"\x12" * 32)),
    ],
)
def test_refuses_another_network(tmp_path: Path, keystore: Path, other: AttesterNetwork) -> None:
    with pytest.raises(KeystoreError, match="does not sign for"):
        open_attester(keystore, "secret", other, tmp_path / "attestations.db")
    assert not (tmp_path / "attestations.db").exists()


def test_refuses_a_key_that_names_no_network(tmp_path: Path, key: PrivateKey) -> None:
    save_key(tmp_path / "plain.json", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    with pytest.raises(KeystoreError, match="names no network"):
        open_attester(tmp_path / "plain.json", "secret", NETWORK, tmp_path / "attestations.db")


@pytest.mark.parametrize(
    "damaged", [7, {}, {"chain_id": "1"}, {"chain_id": 1}, {"chain_id": 1, "genesis_hash": "0x00"}]
)
def test_a_damaged_network_field(tmp_path: Path, key: PrivateKey, damaged: object) -> None:
    save_key(tmp_path / "a.json", key, "secret", scrypt_n=LIGHT_SCRYPT_N, extra={"aitbc_network": damaged})
    with pytest.raises(KeystoreError, match="damaged"):
        open_attester(tmp_path / "a.json", "secret", NETWORK, tmp_path / "attestations.db")


def test_wrong_password_leaves_no_log(tmp_path: Path, keystore: Path) -> None:
    with pytest.raises(WrongPasswordError):
        open_attester(keystore, "wrong", NETWORK, tmp_path / "attestations.db")
    assert not (tmp_path / "attestations.db").exists()


def test_a_new_key_keeps_the_log(tmp_path: Path, signer: AttesterSigner, make_receipt: MakeReceipt) -> None:
    signer.sign_mint(make_receipt())
    save_attester_key(tmp_path / "new.json", PrivateKey.generate(), "secret", NETWORK, scrypt_n=LIGHT_SCRYPT_N)
    successor = open_attester(tmp_path / "new.json", "secret", NETWORK, tmp_path / "attestations.db")
    with pytest.raises(ConflictingAttestationError):
        successor.sign_mint(make_receipt(nonce="nonce-2"))
    successor.close()


def test_a_log_of_another_network_is_refused(tmp_path: Path, signer: AttesterSigner, key: PrivateKey) -> None:
    other = AttesterNetwork(7, Hash32(b"\x77" * 32))
    save_attester_key(tmp_path / "other.json", key, "secret", other, scrypt_n=LIGHT_SCRYPT_N)
    with pytest.raises(AttestationLogError, match="belongs to the network"):
        open_attester(tmp_path / "other.json", "secret", other, tmp_path / "attestations.db")
