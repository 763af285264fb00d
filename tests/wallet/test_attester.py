"""The attester's key: one network, one receipt per job, and the very digest that the plan's contract verifies."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.receipt import Receipt, attestation_digest, combined_artifact_sha256, mint_split_digest
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import settlement_of
from chain.primitives.shards import Shard
from chain.primitives.types import Amount, Hash32
from wallet.attestation_log import AttestationForm, AttestationLog, AttestationLogError, ConflictingAttestationError
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


# Split and paid jobs


CLIENT = PrivateKey(b"\x31" * 32)
HUB_ADDRESS = PrivateKey(b"\x32" * 32).address
AIT = 10**18


def changed(receipt: Receipt, **changes: object) -> Receipt:
    """Unchecked: what a hub that lies could ask for."""
    return Receipt(**{name: getattr(receipt, name) for name in Receipt.__struct_fields__} | changes)


def changed_request(request: ClientRequest, **changes: object) -> ClientRequest:
    return ClientRequest(**{name: getattr(request, name) for name in ClientRequest.__struct_fields__} | changes)


@pytest.fixture
def asked() -> ClientRequest:
    """What CLIENT signs for hub-1; it allows 2 AIT."""
    return ClientRequest(
        chain_id=NETWORK.chain_id,
        audience="hub-1",
        prompt_hash=Hash32(b"\xab" * 32),
        parameters_hash=Hash32(b"\x01" * 32),
        max_price=Amount(2 * AIT),
        nonce=Hash32(b"\x02" * 32),
        expiry=1_760_000_100,
    )


@pytest.fixture
def paid(make_receipt: MakeReceipt, asked: ClientRequest) -> Receipt:
    """The receipt of that request: 1.25 AIT for one provider."""
    return make_receipt(
        client=to_checksum_address(CLIENT.address),
        request_hash=asked.hash,
        client_signature=sign_client_request(CLIENT, asked),
    )


@pytest.fixture
def split(make_receipt: MakeReceipt) -> Receipt:
    """1.25 AIT for two providers, 3 : 2."""
    shards = tuple(
        Shard(provider=PrivateKey(bytes((number,)) * 32).address, micro_units=units, artifact_sha256=digits * 32)
        for number, units, digits in ((1, 750_000, "01"), (5, 500_000, "05"))
    )
    digests = [bytes.fromhex(shard.artifact_sha256) for shard in shards]
    return make_receipt(shards=shards, artifact_sha256=combined_artifact_sha256(digests))


def test_a_split_job_is_minted_in_the_split_form_only(signer: AttesterSigner, split: Receipt) -> None:
    with pytest.raises(Rejected) as refusal:
        signer.sign_mint(split)
    assert refusal.value.reason is RejectionReason.INVALID_SPLIT
    signature = signer.sign_mint_split(split)
    providers, amounts = zip(*split.payouts(), strict=True)
    assert amounts == (75 * 10**16, 50 * 10**16)
    digest = mint_split_digest(NETWORK.chain_id, providers, amounts, split.hash)
    assert recover_address(digest, signature) == signer.address
    assert signer.sign_mint_split(split) == signature


def test_a_settlement_is_what_the_escrow_takes(signer: AttesterSigner, paid: Receipt, asked: ClientRequest) -> None:
    signature = signer.sign_settlement(paid, asked, fee_recipient=HUB_ADDRESS, fee=75 * 10**16)
    settlement = settlement_of(paid, asked, fee_recipient=HUB_ADDRESS, fee=75 * 10**16)
    assert (settlement.client, settlement.total) == (CLIENT.address, 2 * AIT)
    assert (settlement.providers, settlement.amounts) == ((paid.provider,), (paid.amount,))
    assert recover_address(settlement.digest, signature) == signer.address
    assert signer.sign_settlement(paid, asked, fee_recipient=HUB_ADDRESS, fee=75 * 10**16) == signature
    with pytest.raises(ConflictingAttestationError):  # Another fee would be another settlement.
        signer.sign_settlement(paid, asked)


def test_a_split_job_is_settled_by_its_shares(
    signer: AttesterSigner, split: Receipt, paid: Receipt, asked: ClientRequest
) -> None:
    receipt = changed(paid, shards=split.shards, artifact_sha256=split.artifact_sha256).checked()
    settlement = settlement_of(receipt, asked)
    assert tuple(zip(settlement.providers, settlement.amounts, strict=True)) == split.payouts()
    assert recover_address(settlement.digest, signer.sign_settlement(receipt, asked)) == signer.address


def test_one_form_for_a_job_for_ever(
    tmp_path: Path, keystore: Path, signer: AttesterSigner, paid: Receipt, asked: ClientRequest
) -> None:
    """Or the same work was paid for by its client, and with new AIT on top, by whichever hub asked twice."""
    signs: dict[AttestationForm, Callable[[AttesterSigner, Receipt], bytes]] = {
        AttestationForm.MINT: AttesterSigner.sign_mint,
        AttestationForm.MINT_SPLIT: AttesterSigner.sign_mint_split,
        AttestationForm.SETTLE: lambda attester, receipt: attester.sign_settlement(receipt, asked),
    }
    assert set(signs) == set(AttestationForm)
    for number, form in enumerate(signs):
        receipt = changed(paid, job_id=f"job-{number + 10}").checked()
        signature = signs[form](signer, receipt)
        again = open_attester(keystore, "secret", NETWORK, tmp_path / "attestations.db")
        for attester in (signer, again):
            for other, sign in signs.items():
                if other is not form:
                    with pytest.raises(ConflictingAttestationError, match=f"as {form} of receipt"):
                        sign(attester, receipt)
            assert signs[form](attester, receipt) == signature
        again.close()
        with AttestationLog(tmp_path / "attestations.db", NETWORK.genesis_hash) as log:
            entry = log.find("hub-1", receipt.job_id)
            assert entry is not None
            assert (entry.form, entry.receipt_hash) == (form, receipt.hash)


def test_nothing_is_settled_that_the_client_did_not_sign(
    signer: AttesterSigner, make_receipt: MakeReceipt, paid: Receipt, asked: ClientRequest
) -> None:
    def refusal(receipt: Receipt, request: ClientRequest, **fee: Any) -> RejectionReason:
        with pytest.raises(Rejected) as refused:
            signer.sign_settlement(receipt, request, **fee)
        return refused.value.reason

    assert refusal(make_receipt(request_hash=asked.hash), asked) is RejectionReason.MISSING_FIELD
    for changes in ({"max_price": Amount(3 * AIT)}, {"audience": "hub-2"}, {"nonce": Hash32(b"\x03" * 32)}):
        assert refusal(paid, changed_request(asked, **changes)) is RejectionReason.WRONG_REQUEST
    dear = make_receipt(micro_units=2_000_001, request_hash=asked.hash)
    assert refusal(dear, asked) is RejectionReason.WRONG_REQUEST
    assert refusal(paid, asked, fee_recipient=HUB_ADDRESS, fee=75 * 10**16 + 1) is RejectionReason.PRICE_LIMIT
    assert refusal(paid, asked, fee=1) is RejectionReason.INVALID_RECIPIENT
    assert refusal(paid, asked, fee_recipient=HUB_ADDRESS) is RejectionReason.INVALID_RECIPIENT
    assert refusal(make_receipt(chain_id=1), changed_request(asked, chain_id=1)) is RejectionReason.WRONG_CHAIN_ID
    forged = changed(paid, client_signature=sign_client_request(PrivateKey(b"\x33" * 32), asked))
    assert refusal(forged, asked) is RejectionReason.BAD_SIGNATURE
    assert len(signer.sign_mint(make_receipt())) == 65  # None of these took the job's place.
