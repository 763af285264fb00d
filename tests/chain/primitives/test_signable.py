"""What a preimage says of itself: each form is told from every other, and nothing passes for one that it is not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.node.peers.handshake import Role, proof_preimage
from chain.node.peers.messages import PROTOCOL_VERSION, Hello
from chain.primitives.certificate import VoteKind, sign_vote, vote_preimage
from chain.primitives.consent import sign_consent
from chain.primitives.keys import PrivateKey, Signer, recover_address
from chain.primitives.modules import GOVERNANCE
from chain.primitives.receipt import attestation_preimage
from chain.primitives.signable import PROBE_PREFIX, Signable, recognise, signed_message
from chain.primitives.signing import eip191_preimage, eip712_preimage
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address, Hash32

KEY = PrivateKey(b"\x07" * 32)
GENESIS = Hash32(b"\xaa" * 32)
BLOCK = Hash32(b"\xbb" * 32)


class RecordingSigner:
    """Signs with a key, and keeps what it was given."""

    def __init__(self) -> None:
        self.address = KEY.address
        self.public_key = KEY.public_key
        self.given: list[bytes] = []

    def sign_keccak(self, message: bytes) -> bytes:
        """As the key would."""
        self.given.append(message)
        return KEY.sign_keccak(message)


def _hello(identity: Address) -> Hello:
    return Hello(
        version=PROTOCOL_VERSION,
        genesis_hash=GENESIS,
        identity=identity,
        nonce=BLOCK,
        session_key=KEY.public_key,
        instance=bytes(16),
        listen_url="",
        is_probe=False,
    )


def _vote(signer: Signer, kind: VoteKind) -> None:
    vote = sign_vote(signer, genesis_hash=GENESIS, signer=0, kind=kind, epoch=3, view=7)
    assert recover_address(vote.digest(GENESIS), vote.signature) == KEY.address


@pytest.mark.parametrize(
    ("sign", "form"),
    [
        (lambda signer: _vote(signer, VoteKind.NOTARIZE), Signable.VOTE),
        (lambda signer: _vote(signer, VoteKind.NULLIFY), Signable.VOTE),
        (lambda signer: _vote(signer, VoteKind.FINALIZE), Signable.VOTE),
        (lambda signer: sign_consent(signer, chain_id=5, expires_at_ms=9), Signable.TYPED_DATA),
        (lambda signer: sign_transaction(signer, chain_id=5, nonce=0, to=GOVERNANCE), Signable.TRANSACTION),
    ],
)
def test_what_keys_are_given_to_sign_is_recognised(sign: Callable[[Signer], None], form: Signable) -> None:
    signer = RecordingSigner()
    sign(signer)
    assert [recognise(message) for message in signer.given] == [form]


def test_the_other_forms_are_recognised() -> None:
    first, second = _hello(KEY.address), _hello(Address(bytes(20)))
    assert {recognise(proof_preimage(role, first, second)) for role in Role} == {Signable.PEER_PROOF}
    assert recognise(attestation_preimage(KEY.address, 5, BLOCK)) is Signable.MESSAGE
    assert recognise(PROBE_PREFIX + bytes(32)) is Signable.PROBE
    assert recognise(eip712_preimage(GENESIS, BLOCK)) is Signable.TYPED_DATA
    assert recognise(b"\xf8\x6b" + bytes(107)) is Signable.TRANSACTION  # A legacy one: a list in RLP.


@pytest.mark.parametrize(
    "preimage",
    [
        b"",
        b"aitbc/",
        b"aitbc/1",
        vote_preimage(GENESIS, epoch=1, kind=VoteKind.NULLIFY, view=1) + bytes(40),
        vote_preimage(GENESIS, epoch=1, kind=VoteKind.FINALIZE, view=1, block_hash=BLOCK)[:-1],
        vote_preimage(GENESIS, epoch=1, kind=VoteKind.FINALIZE, view=1, block_hash=BLOCK)[:-40],
        b"aitbc/1" + GENESIS + bytes(8) + b"\x04" + bytes(48),
        b"aitbc/2" + GENESIS + bytes(8) + b"\x01" + bytes(48),
        b"aitbc/p2p/1" + bytes(202),
        PROBE_PREFIX + bytes(31),
        eip712_preimage(GENESIS, BLOCK) + b"\0",
        b"\x19Ethereum Signed Message:\n33" + bytes(32),
        b"\x19Ethereum Signed Message:\n032" + bytes(32),
        b"\x19Ethereum Signed Message:\n",
        b"\x01" + bytes(80),
        b"\x03" + bytes(80),
        bytes(32),
    ],
)
def test_what_only_looks_like_a_form_is_none(preimage: bytes) -> None:
    assert recognise(preimage) is None


@given(message=st.binary(max_size=300) | st.from_regex(rb"[0-9]{1,120}", fullmatch=True))
def test_the_message_comes_out_of_its_preimage(message: bytes) -> None:
    assert signed_message(eip191_preimage(message)) == message
    assert recognise(eip191_preimage(message)) is Signable.MESSAGE


@given(preimage=st.binary(max_size=120))
def test_nothing_else_is_a_message(preimage: bytes) -> None:
    message = signed_message(preimage)
    assert message is None or eip191_preimage(message) == preimage
