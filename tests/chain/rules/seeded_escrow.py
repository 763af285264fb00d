"""A seeded story with every operation of the escrow module, good calls and bad ones; part of `seeded_blocks`."""

import random
from collections.abc import Iterator

from chain.primitives.escrow import NOTICE_S
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address
from chain.rules.block import Proposal
from tests.chain.rules.conftest import Chain
from tests.chain.rules.escrow import paid_jobs

BLOCKS = 6
CLIENTS = ("alice", "bob")
PROVIDERS = [f"provider-{index}" for index in range(5)]
ATTESTERS = ("attester-0", "attester-1")
Step = tuple[Proposal, tuple[Address, bytes] | None]


def play(seed: int) -> Iterator[Step]:
    """Each block, on a chain of its own; none brings a governed call about."""
    chance = random.Random(seed)
    chain = Chain(attesters=dict.fromkeys(ATTESTERS, (10**30, 1_000)), attester_threshold=2, period_ms=10_000)
    chain.add(*(chain.mint(name, name, 4 * paid_jobs.DEPOSITED, signers=ATTESTERS) for name in CLIENTS))
    yield _block(chain, [paid_jobs.deposit(chain, name) for name in CLIENTS])
    for _ in range(BLOCKS):
        yield _block(chain, [_settlement(chain, chance, f"sender-{index}") for index in range(12)])
    yield _block(chain, [paid_jobs.ask(chain, name, 7) for name in CLIENTS])
    yield _block(chain, [paid_jobs.withdraw(chain, "alice"), _settlement(chain, chance, "late")], NOTICE_S)
    yield _block(chain, [paid_jobs.refund(chain, "bob", "alice")], paid_jobs.LASTS_S)


def _settlement(chain: Chain, chance: random.Random, sender: str) -> Transaction:
    """Most of them good; the same requests come again, and in each block a mint for the same receipts."""
    number = chance.randrange(30)
    client, receipt_hash = chance.choice(CLIENTS), paid_jobs.request(chain, number).nonce
    if chance.random() < 0.1:
        return chain.mint(sender, "provider-0", 1, receipt_hash, signers=ATTESTERS)
    shares = [(name, chance.randrange(paid_jobs.PRICE // 2)) for name in chance.sample(PROVIDERS, 3)]
    settled = paid_jobs.settlement(
        chain,
        paid_jobs.request(chain, number),
        shares,
        client=client,
        signer=chance.choice((client, client, client, "bob")),
        fee=chance.choice((None, ("hub", chance.randrange(1, 10**18)))),
        receipt_hash=receipt_hash,
    )
    return paid_jobs.send(chain, sender, settled, signers=ATTESTERS)


def _block(chain: Chain, transactions: list[Transaction], later_s: int = 0) -> Step:
    proposal = chain.build(*transactions, time_ms=chain.next_block.time_ms + later_s * 1_000)
    chain.adopt(proposal)
    return proposal, None
