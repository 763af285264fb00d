"""Ranges from a real chain: where they begin and end, and that a follower gets the same chain from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from chain.consensus.messages import Range, decode_message, encode_message
from chain.node.ledger import Candidate
from chain.node.ranges import certified, open_range
from chain.primitives.modules import EXECUTE, FORCE_EPOCH, GOVERNANCE, PROPOSE
from chain.primitives.rejection import Rejected, RejectionReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.node.ledger import Ledger
    from chain.primitives.block import Block
    from chain.primitives.certificate import Certificate
    from tests.chain.conftest import Chain, MakeChain


def import_range(ledger: Ledger, range_: Range) -> None:
    """Checks certificates, headers, transactions and roots, and commits up to each certified block.

    Without an engine. Raises Rejected, with everything before the fault's certified block committed.
    """
    blocks: list[Block] = []
    for block, certificate in open_range(range_):
        blocks.append(block)
        if certificate is not None:
            import_blocks(ledger, blocks, certificate)
            blocks.clear()
    if blocks:
        raise Rejected(RejectionReason.BAD_CERTIFICATE, f"block {blocks[-1].header.height} has no certificate")


def import_blocks(ledger: Ledger, blocks: Sequence[Block], certificate: Certificate) -> None:
    """Blocks that one certificate over the last of them makes final."""
    ledger.check_certificate(blocks[-1].header, certificate)
    executed: list[Candidate] = []
    for block in blocks:
        executed.append(ledger.execute(block, on=executed[-1] if executed else None))
    for candidate in executed[:-1]:
        ledger.commit(candidate, None, ledger.floor_after(candidate, None), sync=False)
    ledger.commit(executed[-1], certificate, ledger.floor_after(executed[-1], certificate), sync=False)


def commit_run(chain: Chain, candidates: Sequence[Candidate]) -> None:
    """Commits blocks of which only the last one has a certificate."""
    for candidate in candidates[:-1]:
        chain.ledger.commit(candidate, None, chain.ledger.floor_after(candidate, None))
    chain.commit(candidates[-1])


def add_run(chain: Chain, length: int) -> None:
    """Empty blocks of which only the last one has a certificate."""
    candidates: list[Candidate] = []
    for _ in range(length):
        candidates.append(chain.propose(on=candidates[-1] if candidates else None))
    commit_run(chain, candidates)


def end_epoch(chain: Chain) -> None:
    """Two blocks; the second one is the last of its epoch."""
    people, nonce = chain.people, chain.state().account(chain.people.address("validator")).nonce
    call = PROPOSE.encode(GOVERNANCE, FORCE_EPOCH.encode())
    chain.add_block(people.send("validator", GOVERNANCE, nonce=nonce, data=call))
    number = chain.state().proposal_count()
    chain.add_block(people.send("validator", GOVERNANCE, nonce=nonce + 1, data=EXECUTE.encode(number)))


def read(chain: Chain, from_height: int, **bounds: int) -> Range:
    found = chain.ledger.read_range(from_height, **bounds)
    assert found is not None
    assert found.from_height == from_height
    decoded = decode_message(encode_message(found))
    assert decoded == found
    return found


def certificates(range_: Range) -> list[bool]:
    return [bool(link.certificate) for link in range_.links]


@pytest.fixture
def follower(make_chain: MakeChain, chain: Chain) -> Chain:
    """Another node of the same network, at genesis."""
    return make_chain(people=chain.people)


def test_follower_gets_the_same_chain_over_every_epoch(chain: Chain, follower: Chain) -> None:
    chain.fund("ann", "bob")
    add_run(chain, 3)
    end_epoch(chain)
    add_run(chain, 2)
    end_epoch(chain)
    chain.add_block(chain.people.transfer("ann", "bob", 5, nonce=1))
    lengths = []
    while follower.head.height < chain.head.height:
        range_ = read(chain, follower.head.height + 1)
        lengths.append(len(range_.links))
        import_range(follower.ledger, range_)
    assert lengths == [6, 4, 1], "a range ends with its epoch"
    assert follower.head == chain.head
    assert follower.ledger.floor() == chain.ledger.floor()
    for height in range(1, chain.head.height + 1):
        ours, theirs = follower.ledger.view(), chain.ledger.view()
        assert ours.block_at(height) == theirs.block_at(height)
        assert ours.certificate_at(height) == theirs.certificate_at(height)
        assert ours.results_at(height) == theirs.results_at(height)


def test_range_ends_with_a_certificate(chain: Chain) -> None:
    for length in (1, 3, 2):
        add_run(chain, length)
    # Certified: 1, 4, 6.
    assert certificates(read(chain, 1)) == [True, False, False, True, False, True]
    assert certificates(read(chain, 1, max_blocks=5)) == [True, False, False, True]
    assert certificates(read(chain, 1, max_blocks=3)) == [True]
    assert certificates(read(chain, 5)) == [False, True]
    two_blocks = sum(len(link.block) + len(link.certificate) for link in read(chain, 5).links)
    assert certificates(read(chain, 5, max_bytes=two_blocks)) == [False, True]


def test_range_that_cannot_hold_the_next_certificate_ends_without(chain: Chain) -> None:
    add_run(chain, 5)
    assert certificates(read(chain, 1, max_blocks=2)) == [False, False]
    assert certificates(read(chain, 1, max_bytes=1)) == [False], "one block at least"
    assert certificates(read(chain, 5, max_bytes=1)) == [True]


def test_nothing_is_given_that_nothing_makes_final(chain: Chain) -> None:
    assert chain.ledger.read_range(1) is None
    add_run(chain, 2)
    # A crash has come between two commits.
    candidate = chain.propose()
    chain.ledger.commit(candidate, None, chain.ledger.floor_after(candidate, None))
    assert chain.head.height == 3
    assert len(read(chain, 1).links) == 2
    for height in (-1, 0, 3, 4, 2**63 - 1, 2**63, 2**80):
        assert chain.ledger.read_range(height) is None, height


def test_open_range_gives_what_read_range_took(chain: Chain) -> None:
    chain.fund("ann")
    add_run(chain, 3)
    links = open_range(read(chain, 1))
    assert [block.encode() for block, _ in links] == [link.block for link in read(chain, 1).links]
    assert certified(links) == links
    assert certified(links[:3]) == links[:1]
    assert certified(links[1:3]) == ()


def test_import_of_a_range_without_the_last_certificate_is_refused(chain: Chain, follower: Chain) -> None:
    add_run(chain, 1)
    add_run(chain, 3)
    links = read(chain, 1).links
    with pytest.raises(Rejected) as caught:
        import_range(follower.ledger, Range(1, links[:3]))
    assert caught.value.reason is RejectionReason.BAD_CERTIFICATE
    assert follower.head.height == 1


def test_import_of_a_range_with_a_wrong_signature_is_refused(chain: Chain, follower: Chain) -> None:
    add_run(chain, 3)
    links = open_range(read(chain, 1))
    block, certificate = links[-1]
    assert certificate is not None
    stolen = chain.certificate(block.header.hash, signer="eve", view=certificate.view, parent_view=0)
    message = read(chain, 1)
    forged = msgspec.structs.replace(message.links[-1], certificate=msgspec.msgpack.encode(stolen))
    with pytest.raises(Rejected) as caught:
        import_range(follower.ledger, Range(1, (*message.links[:-1], forged)))
    assert caught.value.reason is RejectionReason.BAD_CERTIFICATE
    assert follower.head.height == 0
