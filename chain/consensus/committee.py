"""One epoch's validators: who leads, how many are enough, and whose signatures count."""

from chain.primitives.certificate import (
    NO_BLOCK,
    Certificate,
    Vote,
    VoteKind,
    faulty_bound,
    quorum,
    sign_vote,
    validators_hash,
    verify_certificate,
    verify_vote,
)
from chain.primitives.keys import RecoverAddress, Signer
from chain.primitives.types import Address, Hash32


class Committee:
    """The reign of one validator set."""

    def __init__(
        self,
        genesis_hash: Hash32,
        epoch: int,
        validators: tuple[Address, ...],
        key: Signer | None,
        recover: RecoverAddress,
    ) -> None:
        self.epoch = epoch
        self.size = len(validators)
        self.quorum = quorum(self.size)
        self.faulty_bound = faulty_bound(self.size)
        self.validators_hash = validators_hash(epoch, validators)
        self.own_index = validators.index(key.address) if key is not None and key.address in validators else None
        self._genesis_hash = genesis_hash
        self._validators = validators
        self._key = key
        self._recover = recover

    def leader(self, view: int) -> int:
        """Index of the view's leader: (view + epoch) mod n."""
        return (view + self.epoch) % self.size

    def sign(self, kind: VoteKind, view: int, parent_view: int = 0, block_hash: Hash32 = NO_BLOCK) -> Vote:
        """An own vote; the key is a member's. Raises SignerUnavailable."""
        assert self._key is not None and self.own_index is not None
        return sign_vote(
            self._key,
            genesis_hash=self._genesis_hash,
            signer=self.own_index,
            kind=kind,
            epoch=self.epoch,
            view=view,
            parent_view=parent_view,
            block_hash=block_hash,
        )

    def check_vote(self, vote: Vote) -> None:
        """Raises Rejected unless the member that it names has signed it."""
        verify_vote(vote, genesis_hash=self._genesis_hash, validators=self._validators, recover=self._recover)

    def check_certificate(self, certificate: Certificate) -> None:
        """Raises Rejected unless a quorum has signed it."""
        verify_certificate(
            certificate, genesis_hash=self._genesis_hash, validators=self._validators, recover=self._recover
        )
