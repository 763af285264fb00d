"""A key that lies elsewhere: no vote while its signer is away, and everything as usual once it is back."""

from __future__ import annotations

import pytest

from chain.consensus.effects import BuildBlock, CommitBlock, SignerReturned
from chain.primitives.keys import PrivateKey, SignerUnavailable
from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import FINALIZE, NOTARIZE, Cast


class FarSigner:
    """A key behind a line that a test can cut."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.address = key.address
        self.public_key = key.public_key
        self.is_away = False
        self.asked = 0

    def sign_keccak(self, message: bytes) -> bytes:
        """Raises SignerUnavailable while the line is cut."""
        self.asked += 1
        if self.is_away:
            raise SignerUnavailable("the line is cut")
        return self._key.sign_keccak(message)


@pytest.fixture
def signer(cast: Cast) -> FarSigner:
    """Of the first validator."""
    return FarSigner(cast.keys[0])


@pytest.fixture
def far(cast: Cast, signer: FarSigner) -> Bench:
    """The first validator's engine."""
    return Bench(cast, key=signer)


def test_it_votes_as_with_the_key_itself(far: Bench, cast: Cast) -> None:
    block = cast.block(cast.genesis)
    far.hear(cast.proposal(1, block))
    assert far.votes() == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_no_vote_is_recorded_or_sent_that_could_not_be_signed(far: Bench, cast: Cast, signer: FarSigner) -> None:
    signer.is_away = True
    block = cast.block(cast.genesis)
    far.hear(cast.proposal(1, block))
    assert far.votes() == []
    assert [each for each in far.records if each.is_vote] == []
    far.fire("view")
    assert far.votes() == []
    assert signer.asked == 1  # One refusal is enough: nothing asks again until the signer is said to be back.


def test_it_votes_when_the_signer_returns(far: Bench, cast: Cast, signer: FarSigner) -> None:
    signer.is_away = True
    block = cast.block(cast.genesis)
    far.hear(cast.proposal(1, block))
    signer.is_away = False
    far.handle(SignerReturned())
    assert far.votes() == [cast.vote(0, NOTARIZE, 1, 0, block)]


def test_it_follows_while_the_signer_is_away(far: Bench, cast: Cast, signer: FarSigner) -> None:
    signer.is_away = True
    block = cast.block(cast.genesis)
    far.hear(cast.proposal(1, block))
    far.hear_certificate(NOTARIZE, 1, 0, block)
    far.hear_certificate(FINALIZE, 1, 0, block)
    assert any(isinstance(task, CommitBlock) for task in far.tasks)
    assert far.votes() == []


def test_an_interrupted_signature_binds_to_nothing(far: Bench, cast: Cast, signer: FarSigner) -> None:
    """The signer may have made it, but nobody has seen it: after a restart another block can be voted for."""
    signer.is_away = True
    far.hear(cast.proposal(1, cast.block(cast.genesis)))
    assert signer.asked == 1
    signer.is_away = False
    far.start()
    other = cast.block(cast.genesis, transactions=())
    far.hear(cast.proposal(1, other))
    assert far.votes() == [cast.vote(0, NOTARIZE, 1, 0, other)]


def test_a_leader_without_its_signer_builds_no_block_after_another(cast: Cast) -> None:
    signer = FarSigner(cast.keys[cast.leader(1)])
    leader = Bench(cast, key=signer)
    leader.wait_for()
    leader.fire("interval")
    signer.is_away = True
    leader.build()
    assert leader.votes() == []
    assert len(leader.wanted(BuildBlock)) == 1
    signer.is_away = False
    leader.handle(SignerReturned())
    assert len(leader.wanted(BuildBlock)) == 2
    block = leader.build()
    assert leader.votes() == [cast.vote(cast.leader(1), NOTARIZE, 1, 0, block)]
