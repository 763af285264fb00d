"""Asking a node without believing it: everything is checked from the network file on."""

from chain.answers import ValidatorsView
from chain.client import NodeClient
from chain.primitives.block import Header
from chain.primitives.certificate import validators_hash
from chain.primitives.finality import TrustedSet, check_head, verify_epochs, verify_finality
from chain.primitives.hexadecimal import parse_address
from chain.primitives.network import Network
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address


def prove_block(client: NodeClient, trusted: TrustedSet, height: int) -> tuple[TrustedSet, Header]:
    """The validators of a final block's epoch, and its header. Raises Rejected where the node's proof is none."""
    while True:
        answer = client.finality_proof(height, known_epoch=trusted.epoch)
        before = trusted.epoch
        trusted = verify_epochs(trusted, [end.proof() for end in answer.epoch_ends])
        if trusted.epoch == answer.epoch:
            proof = answer.proof()
            if proof.header.height != height:
                raise Rejected(RejectionReason.BAD_PROOF, f"a proof of block {proof.header.height}, not {height}")
            verify_finality(trusted, proof)
            return trusted, proof.header
        if trusted.epoch == before:
            raise Rejected(RejectionReason.BAD_PROOF, f"the node does not show how epoch {before} ended")


def verify_validators(
    client: NodeClient, trusted: TrustedSet, network: Network, shown: ValidatorsView, *, now_ms: int
) -> tuple[Address, ...]:
    """The validators that a node shows; raises Rejected unless a fresh final block names exactly these.

    The network file's heartbeat says what is fresh.
    """
    addresses = tuple(parse_address(validator.address) for validator in shown.validators)
    if shown.height == 0:
        is_named = (shown.epoch, addresses) == (trusted.epoch, trusted.validators)
    else:
        _, header = prove_block(client, trusted, shown.height)
        check_head(
            header,
            highest=None,
            now_ms=now_ms,
            heartbeat_ms=network.parameters.heartbeat_ms,
            network_delay_ms=network.parameters.network_delay_ms,
        )
        is_named = header.next_validators_hash == validators_hash(shown.epoch, addresses)
    if not is_named:
        raise Rejected(RejectionReason.BAD_PROOF, "the node shows other validators than the chain has")
    return addresses
