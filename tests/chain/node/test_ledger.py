"""Blocks on a real LevelDB: what may enter from outside, and that nothing else leaves a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chain.consensus.effects import Floor, Settings
from chain.node.ledger import Candidate, Ledger, UnboundBody, UnknownProtocolVersion
from chain.node.ranges import MAX_CERTIFICATE_BYTES
from chain.primitives import message_pack
from chain.primitives.block import Block, Header, transactions_root
from chain.primitives.certificate import Certificate
from chain.primitives.hashing import keccak256
from chain.primitives.modules import EXECUTE, FORCE_EPOCH, GOVERNANCE, PROPOSE, SCHEDULE_UPGRADE
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, Hash32
from chain.rules.state import State
from chain.storage.errors import FolderInUse, StorageError, WrongNetwork

if TYPE_CHECKING:
    from tests.chain.conftest import Chain, MakeChain, People


@pytest.fixture
def follower(make_chain: MakeChain, chain: Chain) -> Chain:
    """Another node of the same network, at genesis."""
    return make_chain(people=chain.people)


def import_into(follower: Chain, block: Block, certificate: Certificate) -> None:
    follower.ledger.import_block(block.encode(), message_pack.encode(certificate))


def refused(follower: Chain, encoded_block: bytes, encoded_certificate: bytes) -> Rejected:
    """The refusal; the head and the state must be as before."""
    before = (follower.head, follower.state().supply(), follower.ledger.floor())
    with pytest.raises(Rejected) as caught:
        follower.ledger.import_block(encoded_block, encoded_certificate)
    assert (follower.head, follower.state().supply(), follower.ledger.floor()) == before
    return caught.value


def test_genesis_gives_nobody_anything(chain: Chain) -> None:
    assert chain.head.height == 0
    assert chain.head.header.parent_hash == chain.people.network.genesis_hash
    assert chain.state().supply().circulating == 0
    assert chain.ledger.floor() == Floor(0, 0, chain.head.height, chain.head.block_hash)


def test_follower_that_imports_every_block_ends_at_the_same_state(chain: Chain, follower: Chain) -> None:
    people = chain.people
    for transactions in (
        (),
        (people.mint("ann", 50 * ATOMS_PER_AIT, nonce=0), people.register("bob", nonce=0)),
        (people.transfer("ann", "bob", ATOMS_PER_AIT, nonce=1),),
    ):
        candidate = chain.propose(*transactions)
        certificate = chain.certificate(candidate.block.header.hash)
        chain.commit(candidate)
        import_into(follower, candidate.block, certificate)
        assert follower.head == chain.head
        assert follower.ledger.floor() == chain.ledger.floor()
    assert follower.balance("bob") == ATOMS_PER_AIT
    assert follower.ledger.view().results_at(2) == chain.ledger.view().results_at(2)


def test_head_state_and_floor_survive_a_restart(chain: Chain) -> None:
    chain.fund("ann")
    before = (chain.head, chain.balance("ann"), chain.ledger.floor())
    chain.reopen()
    assert (chain.head, chain.balance("ann"), chain.ledger.floor()) == before
    assert before[2].view == 1


WRONG_VALUES: dict[str, Any] = {
    "protocol_version": 2,
    "chain_id": 1,
    "epoch": 1,
    "height": 7,
    "parent_hash": Hash32(b"\x01" * 32),
    "time_ms": 0,
    "proposer": b"\x02" * 20,
    "transactions_root": Hash32(b"\x03" * 32),
    "results_root": Hash32(b"\x04" * 32),
    "state_root": Hash32(b"\x05" * 32),
    "next_validators_hash": Hash32(b"\x06" * 32),
}


@pytest.mark.parametrize("field", Header.__struct_fields__)
def test_every_header_field_is_recomputed_even_under_a_valid_certificate(
    chain: Chain, follower: Chain, field: str
) -> None:
    """A validator whose key was stolen can sign anything; what the rules say is not his to decide."""
    candidate = chain.propose(chain.people.mint("ann", 1, nonce=0))
    header = msgspec.structs.replace(candidate.block.header, **{field: WRONG_VALUES[field]})
    epoch = header.epoch
    certificate = chain.certificate(header.hash, epoch=epoch)
    rejection = refused(
        follower, Block(header, candidate.block.transactions).encode(), message_pack.encode(certificate)
    )
    expected = {
        "protocol_version": RejectionReason.WRONG_PROTOCOL_VERSION,
        "chain_id": RejectionReason.WRONG_CHAIN_ID,
        "epoch": RejectionReason.WRONG_EPOCH,
        "height": RejectionReason.WRONG_HEIGHT,
        "parent_hash": RejectionReason.WRONG_PARENT,
        "time_ms": RejectionReason.WRONG_TIME,
        "proposer": RejectionReason.UNKNOWN_PROPOSER,
    }.get(field, RejectionReason.WRONG_ROOT)
    assert rejection.reason is expected


def test_transactions_cannot_be_added_dropped_or_swapped(chain: Chain, follower: Chain) -> None:
    people = chain.people
    mints = [people.mint(name, ATOMS_PER_AIT, nonce=0) for name in ("ann", "bob")]
    candidate = chain.propose(*mints)
    header, raws = candidate.block.header, candidate.block.transactions
    certificate = message_pack.encode(chain.certificate(header.hash))
    for changed in (raws[:1], raws[::-1], (*raws, people.mint("eve", 1, nonce=0).raw), (*raws, raws[0])):
        refused(follower, Block(header, changed).encode(), certificate)


def test_forged_certificates_are_refused(chain: Chain, follower: Chain) -> None:
    candidate = chain.propose(chain.people.mint("ann", 1, nonce=0))
    block_hash, encoded = candidate.block.header.hash, candidate.block.encode()
    good = chain.certificate(block_hash)
    replace = msgspec.structs.replace
    signature = good.signatures[0]
    forged = {
        "unsigned": replace(good, signatures=(), signer_bitmap=0),
        "bitmap without signature": replace(good, signatures=()),
        "signature without bitmap": replace(good, signer_bitmap=0),
        "signed by a stranger": chain.certificate(block_hash, signer="eve"),
        "signed by the attester": chain.certificate(block_hash, signer="attester"),
        "over another block": chain.certificate(keccak256(b"other")),
        "another block's signature": replace(good, signatures=chain.certificate(keccak256(b"other")).signatures),
        "another view's signature": replace(good, view=good.view + 1),
        "another epoch": chain.certificate(block_hash, epoch=1),
        "repeated signer": replace(good, signatures=(signature, signature), signer_bitmap=3),
        "a validator that does not exist": replace(good, signer_bitmap=2),
        "an old view": chain.certificate(block_hash, view=0),
        "flipped bit": replace(good, signatures=(bytes((signature[0] ^ 1,)) + signature[1:],)),
    }
    for name, certificate in forged.items():
        rejection = refused(follower, encoded, message_pack.encode(certificate))
        assert rejection.reason in (RejectionReason.BAD_CERTIFICATE, RejectionReason.BAD_SIGNATURE), name
    import_into(follower, candidate.block, good)


def test_certificate_of_another_network_is_refused(chain: Chain, make_chain: MakeChain) -> None:
    stranger = make_chain(block_interval_ms=21)
    candidate = chain.propose()
    assert refused(
        chain, candidate.block.encode(), message_pack.encode(stranger.certificate(candidate.block.header.hash))
    ).reason is (RejectionReason.BAD_CERTIFICATE)


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\xc1" * 40, b"\x92" * 100_000, b"\xdd\xff\xff\xff\xff"])
def test_noise_is_refused(chain: Chain, noise: bytes) -> None:
    candidate = chain.propose()
    certificate = message_pack.encode(chain.certificate(candidate.block.header.hash))
    refused(chain, noise, certificate)
    refused(chain, candidate.block.encode(), noise)
    assert refused(chain, candidate.block.encode() + b"\x00", certificate).reason is RejectionReason.MALFORMED


def test_oversized_blocks_and_certificates_are_refused_unread(chain: Chain) -> None:
    encoded, certificate = b"\x00" * (5 << 20), b"\x00" * (MAX_CERTIFICATE_BYTES + 1)
    assert refused(chain, encoded, b"").reason is RejectionReason.TOO_LARGE
    assert refused(chain, b"", certificate).reason is RejectionReason.TOO_LARGE


def test_final_block_is_taken_whatever_its_time(chain: Chain, follower: Chain) -> None:
    """The engine looks at the clock before it votes; once a quorum has, nobody's clock matters any more."""
    candidate = chain.propose(time_ms=4_000_000_000_000)
    import_into(follower, candidate.block, chain.certificate(candidate.block.header.hash))
    assert follower.head.time_ms == 4_000_000_000_000


def test_same_block_twice_is_refused(chain: Chain, follower: Chain) -> None:
    candidate = chain.propose(chain.people.mint("ann", 5, nonce=0))
    certificate = chain.certificate(candidate.block.header.hash)
    import_into(follower, candidate.block, certificate)
    refused(follower, candidate.block.encode(), message_pack.encode(certificate))
    assert follower.balance("ann") == 5


def test_two_transfers_with_one_nonce_cannot_overdraw(chain: Chain, follower: Chain) -> None:
    people = chain.people
    candidate = chain.propose(people.mint("ann", 10 * ATOMS_PER_AIT, nonce=0))
    import_into(follower, candidate.block, chain.certificate(candidate.block.header.hash))
    chain.commit(candidate)
    spends = [people.transfer("ann", name, 8 * ATOMS_PER_AIT, nonce=1) for name in ("bob", "cat")]
    # A proposer leaves the second out …
    proposed = chain.propose(*spends)
    assert [transaction.hash for transaction in proposed.outcome.transactions] == [spends[0].hash]
    assert [rejection.reason for _, rejection in proposed.rejected] == [RejectionReason.NONCE_TOO_LOW]
    # … and a block that has both, whatever it declares, is nobody's block.
    root = transactions_root([each.hash for each in spends])
    header = msgspec.structs.replace(proposed.block.header, transactions_root=root)
    both = Block(header, tuple(each.raw for each in spends))
    certificate = message_pack.encode(chain.certificate(both.header.hash))
    assert refused(follower, both.encode(), certificate).reason is RejectionReason.NONCE_TOO_LOW
    # Nor can the next nonce spend what is gone.
    chain.commit(proposed)
    beyond = chain.propose(people.transfer("ann", "cat", 8 * ATOMS_PER_AIT, nonce=2))
    assert beyond.rejected[0][1].reason is RejectionReason.INSUFFICIENT_FUNDS
    assert [chain.balance(name) for name in ("ann", "bob", "cat")] == [2 * ATOMS_PER_AIT, 8 * ATOMS_PER_AIT, 0]


def test_receipt_counts_once_in_one_block_in_the_next_and_after_a_restart(chain: Chain) -> None:
    people = chain.people
    receipt_hash = people.receipt_hash()
    first = people.mint("ann", 7, nonce=0, receipt_hash=receipt_hash)
    twin = people.mint("bob", 7, nonce=0, receipt_hash=receipt_hash)
    neighbour = people.mint("cat", 9, nonce=0)
    candidate = chain.add_block(first, twin, neighbour)
    assert [rejection.reason for _, rejection in candidate.rejected] == [RejectionReason.RECEIPT_USED]
    replay = people.mint("ann", 7, nonce=1, receipt_hash=receipt_hash)
    assert chain.add_block(replay).rejected[0][1].reason is RejectionReason.RECEIPT_USED
    chain.reopen()
    assert chain.add_block(replay, first).rejected[0][1].reason is RejectionReason.RECEIPT_USED
    assert [chain.balance(name) for name in ("ann", "bob", "cat")] == [7, 0, 9]
    assert chain.state().supply().minted == 16


def test_candidate_that_is_not_committed_changes_nothing(chain: Chain) -> None:
    abandoned = chain.propose(chain.people.mint("ann", 7, nonce=0))
    chain.add_block()
    with pytest.raises(StorageError):
        chain.commit(abandoned)
    assert chain.balance("ann") == 0


def test_unknown_protocol_version_stops_the_chain_before_it(chain: Chain) -> None:
    people = chain.people
    upgrade = SCHEDULE_UPGRADE.encode(2, 4)
    chain.add_block(people.send("validator", GOVERNANCE, nonce=0, data=PROPOSE.encode(GOVERNANCE, upgrade)))
    chain.ledger.check_protocol_version()
    executed = chain.add_block(people.send("validator", GOVERNANCE, nonce=1, data=EXECUTE.encode(1)))
    assert executed.outcome.results[0].status == 1
    chain.add_block()
    with pytest.raises(UnknownProtocolVersion, match="version 2 from height 4 on"):
        chain.ledger.check_protocol_version()
    with pytest.raises(Rejected) as caught:
        chain.propose()
    assert caught.value.reason is RejectionReason.WRONG_PROTOCOL_VERSION
    assert chain.head.height == 3


def test_folder_belongs_to_one_process_and_one_network(chain: Chain, make_chain: MakeChain, people: People) -> None:
    with pytest.raises(FolderInUse):
        Ledger.open(chain.path, people.network)
    other = make_chain(block_interval_ms=999)
    other.ledger.close()
    with pytest.raises(WrongNetwork):
        Ledger.open(other.path, people.network)


def test_candidate_says_why_calls_failed(chain: Chain) -> None:
    """A member's failed call is in the block, uses its nonce, and its reason is stored beside it."""
    chain.fund("ann")
    used = chain.people.receipt_hash()
    chain.add_block(chain.people.mint("bob", 1, nonce=0, receipt_hash=used))
    candidate: Candidate = chain.add_block(chain.people.mint("bob", 1, nonce=1, sender="ann", receipt_hash=used))
    assert [result.status for result in candidate.outcome.results] == [0]
    stored = chain.ledger.view().results_at(chain.head.height)
    assert stored is not None
    assert b"receipt_used" in stored
    assert chain.state().account(chain.people.address("ann")).nonce == 2


# Blocks on blocks that are not committed


def test_blocks_are_executed_and_proposed_on_uncommitted_ones(chain: Chain, follower: Chain) -> None:
    people = chain.people
    proposed = [chain.propose(people.mint("ann", 10, nonce=0))]
    proposed.append(chain.propose(people.mint("ann", 5, nonce=1), on=proposed[0]))
    proposed.append(chain.propose(on=proposed[1]))
    assert [len(each.outcome.transactions) for each in proposed] == [1, 1, 0]
    assert chain.head.height == 0
    executed: list[Candidate] = []
    for each in proposed:
        executed.append(follower.ledger.execute(each.block, on=executed[-1] if executed else None))
    # Only the last one has a certificate; it makes all of them final.
    for ledger, candidates in ((chain.ledger, proposed), (follower.ledger, executed)):
        for candidate in candidates[:-1]:
            ledger.commit(candidate, None, ledger.floor_after(candidate, None), sync=False)
            assert ledger.floor().view == 0
        certificate = chain.certificate(candidates[-1].block.header.hash, view=7, parent_view=6)
        ledger.commit(candidates[-1], certificate, ledger.floor_after(candidates[-1], certificate))
    assert follower.head == chain.head
    assert follower.ledger.floor() == Floor(0, 7, chain.head.height, chain.head.block_hash)
    assert follower.balance("ann") == 15
    view = follower.ledger.view()
    assert [view.certificate_at(height) is not None for height in range(4)] == [False, False, False, True]
    follower.reopen()
    assert (follower.balance("ann"), follower.ledger.floor().view) == (15, 7)


def test_of_two_blocks_on_one_parent_only_one_can_be_committed(chain: Chain) -> None:
    people = chain.people
    parent = chain.propose(people.mint("ann", 10, nonce=0))
    sibling, other = (chain.propose(people.mint(name, 5, nonce=0), on=parent) for name in ("bob", "cat"))
    nephew = chain.propose(people.mint("dan", 1, nonce=0), on=other)
    with pytest.raises(StorageError):
        chain.commit(sibling)
    chain.commit(parent)
    chain.commit(sibling)
    for lost in (other, nephew):
        with pytest.raises(StorageError):
            chain.commit(lost)
        with pytest.raises(StorageError):
            chain.propose(on=lost)
    # A committed candidate that is the head stands for the head.
    chain.commit(chain.propose(people.mint("ann", 1, nonce=1), on=sibling))
    assert [chain.balance(name) for name in ("ann", "bob", "cat", "dan")] == [11, 5, 0, 0]


def test_block_on_an_uncommitted_one_is_held_against_its_parents_state(chain: Chain, follower: Chain) -> None:
    people = chain.people
    parent = chain.propose(people.mint("ann", 10, nonce=0))
    child = chain.propose(people.mint("ann", 10, nonce=1), on=parent)
    with pytest.raises(Rejected) as caught:
        follower.ledger.execute(child.block)
    assert caught.value.reason is RejectionReason.WRONG_PARENT
    received = follower.ledger.execute(parent.block)
    twice = msgspec.structs.replace(
        child.block, header=msgspec.structs.replace(child.block.header, state_root=parent.block.header.state_root)
    )
    with pytest.raises(Rejected) as caught:
        follower.ledger.execute(twice, on=received)
    assert caught.value.reason is RejectionReason.WRONG_ROOT
    follower.ledger.execute(child.block, on=received)


def test_body_that_its_hash_does_not_bind_is_told_from_an_invalid_block(chain: Chain, follower: Chain) -> None:
    """Who changes a body on the way must not make anybody believe that its proposer broke a rule."""
    people = chain.people
    candidate = chain.propose(*(people.mint(name, 10, nonce=0) for name in ("ann", "bob")))
    header, raws = candidate.block.header, candidate.block.transactions
    for changed in ((), raws[:1], raws[::-1], (*raws, raws[0]), (raws[0], b"noise"), (b"\x00" * 5_000_000,)):
        with pytest.raises(UnboundBody):
            follower.ledger.execute(Block(header, changed))
    # The same noise under a header that names it is the proposer's fault.
    noise = (b"noise",)
    named = msgspec.structs.replace(header, transactions_root=transactions_root([keccak256(b"noise")]))
    with pytest.raises(Rejected) as caught:
        follower.ledger.execute(Block(named, noise))
    assert not isinstance(caught.value, UnboundBody)
    follower.ledger.execute(candidate.block)


# Epochs


def end_epoch(chain: Chain) -> tuple[Candidate, Candidate]:
    """The block with the proposal, and the boundary block that executes it; neither is committed."""
    people, nonce = chain.people, chain.state().account(chain.people.address("validator")).nonce
    propose = people.send("validator", GOVERNANCE, nonce=nonce, data=PROPOSE.encode(GOVERNANCE, FORCE_EPOCH.encode()))
    proposal = chain.propose(propose)
    number = State(proposal.pending).proposal_count()
    execute = people.send("validator", GOVERNANCE, nonce=nonce + 1, data=EXECUTE.encode(number))
    boundary = chain.propose(execute, on=proposal)
    assert [each.outcome.results[0].status for each in (proposal, boundary)] == [1, 1]
    return proposal, boundary


def test_epoch_ends_with_its_boundary_block(chain: Chain, follower: Chain) -> None:
    assert chain.ledger.settings() == Settings(
        epoch=0,
        validators=chain.people.network.validator_addresses,
        network_delay_ms=chain.people.network.parameters.network_delay_ms,
        block_interval_ms=chain.people.network.block_interval_ms,
        heartbeat_ms=chain.people.network.parameters.heartbeat_ms,
    )
    for epoch in (0, 1):
        proposal, boundary = end_epoch(chain)
        for candidate in (proposal, boundary):
            assert candidate.block.header.epoch == epoch
            certificate = chain.certificate(candidate.block.header.hash)
            import_into(follower, candidate.block, certificate)
            chain.commit(candidate)
        head = chain.head
        assert chain.ledger.floor() == follower.ledger.floor() == Floor(epoch + 1, 0, head.height, head.block_hash)
        assert chain.ledger.settings().epoch == epoch + 1
    chain.reopen()
    assert chain.ledger.floor().epoch == chain.ledger.settings().epoch == 2


def test_certificate_of_the_epoch_before_finalizes_nothing_after_the_boundary(chain: Chain, follower: Chain) -> None:
    for candidate in end_epoch(chain):
        import_into(follower, candidate.block, chain.certificate(candidate.block.header.hash))
        chain.commit(candidate)
    candidate = chain.propose()
    block_hash, encoded = candidate.block.header.hash, candidate.block.encode()
    wrong: tuple[dict[str, Any], ...] = ({"epoch": 0, "view": 99}, {"epoch": 2, "view": 1}, {"view": 0})
    for changes in wrong:
        certificate = message_pack.encode(chain.certificate(block_hash, **changes))
        assert refused(follower, encoded, certificate).reason is RejectionReason.BAD_CERTIFICATE
    for epoch in (0, 2):
        header = msgspec.structs.replace(candidate.block.header, epoch=epoch)
        certificate = message_pack.encode(chain.certificate(header.hash, epoch=epoch, view=99))
        assert refused(follower, Block(header, ()).encode(), certificate).reason is RejectionReason.WRONG_EPOCH
    import_into(follower, candidate.block, chain.certificate(block_hash))
