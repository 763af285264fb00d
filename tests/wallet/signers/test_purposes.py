"""What a signer signs for which purpose: every form against every purpose, and forms that only look right."""

from __future__ import annotations

import pytest

from chain.primitives import rlp
from chain.primitives.certificate import VoteKind, vote_preimage
from chain.primitives.consent import sign_consent
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import APPROVE_PROPOSAL, ESCROW, GOVERNANCE, MINTER, TOKEN
from chain.primitives.receipt import attestation_preimage, mint_split_preimage
from chain.primitives.signable import PROBE_PREFIX, PROOF_PREFIX
from chain.primitives.signing import Eip712Domain, eip191_preimage, eip712_preimage
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address, Hash32
from wallet.signers.purposes import Purpose, is_allowed

CHAIN_ID = 4_242
KEY = PrivateKey(b"\x21" * 32)
HASH = Hash32(b"\xcc" * 32)


class _Recorder:
    """A signer that keeps what it is given."""

    address, public_key = KEY.address, KEY.public_key
    given = b""

    def sign_keccak(self, message: bytes) -> bytes:
        """As the key would."""
        self.given = message
        return KEY.sign_keccak(message)


def _transaction(to: Address, *, value: int = 0, chain_id: int = CHAIN_ID) -> bytes:
    recorder = _Recorder()
    data = APPROVE_PROPOSAL.encode(1) if to == GOVERNANCE else b""
    sign_transaction(recorder, chain_id=chain_id, nonce=0, to=to, value=value, data=data)
    return recorder.given


def _consent(chain_id: int) -> bytes:
    recorder = _Recorder()
    sign_consent(recorder, chain_id=chain_id, expires_at_ms=1)
    return recorder.given


def _with_fields(**changes: rlp.Item) -> bytes:
    fields = rlp.decode(_transaction(GOVERNANCE)[1:])
    assert isinstance(fields, list)
    return b"\x02" + rlp.encode([changes.get(f"at_{index}", field) for index, field in enumerate(fields)])


VOTE = vote_preimage(HASH, epoch=1, kind=VoteKind.FINALIZE, view=2, block_hash=HASH)
FORMS: dict[str, tuple[bytes, set[Purpose]]] = {
    "vote": (VOTE, {Purpose.VOTES}),
    "nullify": (vote_preimage(HASH, epoch=1, kind=VoteKind.NULLIFY, view=2), {Purpose.VOTES}),
    "proof": (PROOF_PREFIX + bytes(203), {Purpose.VOTES}),
    "attestation": (attestation_preimage(KEY.address, 5, HASH), {Purpose.ATTESTATIONS}),
    "split attestation": (mint_split_preimage(CHAIN_ID, [KEY.address], [5], HASH), {Purpose.ATTESTATIONS}),
    "split attestation elsewhere": (mint_split_preimage(CHAIN_ID + 1, [KEY.address], [5], HASH), set()),
    "settlement": (eip712_preimage(Eip712Domain(CHAIN_ID, ESCROW).separator(), HASH), {Purpose.ATTESTATIONS}),
    "settlement elsewhere": (eip712_preimage(Eip712Domain(CHAIN_ID + 1, ESCROW).separator(), HASH), set()),
    "settlement and more": (eip712_preimage(Eip712Domain(CHAIN_ID, MINTER).separator(), HASH) + b"\0", set()),
    "approval": (_transaction(GOVERNANCE), {Purpose.GOVERNANCE}),
    "consent": (_consent(CHAIN_ID), {Purpose.GOVERNANCE}),
    "probe": (PROBE_PREFIX + bytes(32), set(Purpose)),
    "cut vote": (VOTE[:-1], set()),
    "other message": (eip191_preimage(b"I owe you"), set()),
    "transfer": (_transaction(Address(b"\x09" * 20), value=1), set()),
    "token call": (_transaction(TOKEN), set()),
    "approval elsewhere": (_transaction(GOVERNANCE, chain_id=CHAIN_ID + 1), set()),
    "approval with value": (_with_fields(at_6=b"\x01"), set()),
    "approval and more": (_transaction(GOVERNANCE) + b"\0", set()),
    "nested": (_with_fields(at_5=[GOVERNANCE]), set()),
    "legacy": (_transaction(GOVERNANCE)[1:], set()),
    "authorization": (eip712_preimage(Eip712Domain(CHAIN_ID, TOKEN).separator(), HASH), set()),
    "consent elsewhere": (_consent(CHAIN_ID + 1), set()),
    "nothing": (b"", set()),
    "a hash": (HASH, set()),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("purpose", [Purpose.VOTES, Purpose.ATTESTATIONS, Purpose.GOVERNANCE])
def test_each_form_for_its_purpose_alone(name: str, purpose: Purpose) -> None:
    preimage, purposes = FORMS[name]
    assert is_allowed(preimage, [purpose], chain_id=CHAIN_ID) == (purpose in purposes)
    assert is_allowed(preimage, [Purpose.ANYTHING], chain_id=None)


@pytest.mark.parametrize("name", ["approval", "consent"])
def test_governance_of_an_unknown_network_is_none(name: str) -> None:
    assert not is_allowed(FORMS[name][0], [Purpose.GOVERNANCE], chain_id=None)


def test_several_purposes_at_once() -> None:
    both = [Purpose.VOTES, Purpose.GOVERNANCE]
    assert all(is_allowed(FORMS[name][0], both, chain_id=CHAIN_ID) for name in ("vote", "proof", "approval", "consent"))
    assert not is_allowed(FORMS["attestation"][0], both, chain_id=CHAIN_ID)
