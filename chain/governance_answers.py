"""More answers beside those of `chain.answers`: proposals, and the proofs by which nobody has to believe a node.

Headers and certificates in proofs are canonical MessagePack in hex, so that their hashes can be taken as they stand.
"""

from chain.answers import AddressText, Answer, HashText, HexText
from chain.primitives import message_pack
from chain.primitives.block import Header
from chain.primitives.certificate import Certificate
from chain.primitives.finality import EpochEnd, FinalityProof
from chain.primitives.hexadecimal import parse_address, parse_hex
from chain.primitives.types import BlockHeight


class ProposalView(Answer, frozen=True):
    """A call that validators may let governance make. `call` is `call_data` for people, in printable ASCII."""

    number: int
    status: str
    """`open`, `executed`, or `lapsed`, which is also what becomes of one that its proposer takes back"""
    proposer: AddressText
    target: AddressText
    call_data: HexText
    call: str
    created_at_ms: int
    lapses_at_ms: int
    approvals: list[AddressText]
    counted_approvals: int
    """Of those who are validators now."""
    needed_approvals: int
    height: BlockHeight
    finalized: bool


class EpochEndView(Answer, frozen=True):
    """The last block of an epoch, its certificate, and the validators of the next."""

    epoch: int
    height: BlockHeight
    header: HexText
    certificate: HexText
    next_validators: list[AddressText]

    def proof(self) -> EpochEnd:
        """To be verified; raises Rejected where it is none."""
        return EpochEnd(
            _header(self.header),
            _certificate(self.certificate),
            tuple(parse_address(validator, "next_validators") for validator in self.next_validators),
        )


class FinalityView(Answer, frozen=True):
    """Why a block is final, from an epoch on whose validators the asker knows.

    `descendants` are the headers after the block's up to the one that `certificate` is over, oldest first.
    """

    height: BlockHeight
    block_hash: HashText
    epoch: int
    epoch_ends: list[EpochEndView]
    """Oldest first, at most 32: where they do not reach `epoch`, ask again with the one reached as known_epoch."""
    header: HexText
    descendants: list[HexText]
    certificate: HexText
    finalized: bool

    def proof(self) -> FinalityProof:
        """To be verified; raises Rejected where it is none."""
        return FinalityProof(
            _header(self.header),
            tuple(_header(descendant) for descendant in self.descendants),
            _certificate(self.certificate),
        )


class OtherLeafView(Answer, frozen=True):
    """The leaf that stands where the path of an absent key ends."""

    tree_key: HashText
    value_hash: HashText


class StateProofPath(Answer, frozen=True):
    """The siblings along a path of the state tree, from the root down (`chain.primitives.state_proof`)."""

    siblings: list[HashText]
    other_leaf: OtherLeafView | None


class StateProofView(Answer, frozen=True):
    """What the state after a block holds under a key, and the proof of it; `value` is None where it holds nothing."""

    height: BlockHeight
    block_hash: HashText
    state_root: HashText
    state_key: HexText
    value: HexText | None
    proof: StateProofPath
    finalized: bool


def _header(text: str) -> Header:
    return message_pack.decode(parse_hex(text, field="header"), Header)


def _certificate(text: str) -> Certificate:
    return message_pack.decode(parse_hex(text, field="certificate"), Certificate)
