"""Plays a seeded history that has every operation in it, and prints what each block came to.

    python -m tests.chain.rules.seeded_blocks SEED

`test_determinism` compares what two processes print. Nothing here draws on anything but the seed.
"""

import hashlib
import random
import sys
from collections.abc import Iterator
from typing import Any

from chain.primitives import modules
from chain.primitives.authorization import AuthorizationKind
from chain.primitives.consent import sign_consent
from chain.primitives.modules import GOVERNANCE, MINTER, REGISTRY, TOKEN, functions_of
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, Address
from chain.rules.block import Proposal
from tests.chain.rules import seeded_escrow, seeded_market
from tests.chain.rules.conftest import Chain

BLOCKS = 24
PROVIDERS = [f"provider-{index}" for index in range(6)]
ATTESTERS = [f"attester-{index}" for index in range(4)]
PEOPLE = [*PROVIDERS, "validator-0", "validator-1", *ATTESTERS]


def new_chain() -> Chain:
    """Four validators, four attesters of whom two must sign."""
    return Chain(
        validators=4,
        attesters=dict.fromkeys(ATTESTERS, (10_000 * ATOMS_PER_AIT, 10_000)),
        attester_threshold=2,
        period_ms=10_000,
        min_holding_atoms=10**15,
    )


def _some_transaction(chain: Chain, chance: random.Random, sender: str, nonce: int) -> Transaction:
    provider, other = chance.choice(PROVIDERS), chance.choice(PEOPLE)
    amount, signers = chance.randrange(3 * ATOMS_PER_AIT), chance.sample(ATTESTERS, 2)
    address = chain.address(other)
    fields: dict[str, Any] = {"nonce": nonce, "max_fee": 10**6}
    offer = (f"http://{sender}", [provider, sender], amount, "images", 5)
    kind = chance.randrange(13)
    if kind == 0:
        return chain.transfer(sender, other, amount, **fields)
    if kind == 1:
        return chain.mint(sender, provider, amount, signers=signers, **fields)
    if kind == 2:
        shares = [(name, amount // 7) for name in chance.sample(PROVIDERS, 3)]
        return chain.split(sender, shares, signers=signers, **fields)
    if kind > 9:
        return _signed_by_another(chain, chance, sender, other, kind, **fields)
    module, function, arguments = [
        (TOKEN, modules.TOKEN_TRANSFER, (address, amount)),
        (TOKEN, modules.TOKEN_APPROVE, (address, amount)),
        (TOKEN, modules.TOKEN_TRANSFER_FROM, (address, chain.address(provider), amount // 9)),
        (REGISTRY, modules.REGISTER, (*offer, chain.address(sender))),
        (REGISTRY, modules.UPDATE, offer),
        (REGISTRY, modules.WITHDRAW, ()),
        (REGISTRY, modules.SET_PAYOUT, (chain.address(sender), address)),
    ][kind - 3]
    return chain.call(sender, module, function, *arguments, **fields)


def _signed_by_another(
    chain: Chain, chance: random.Random, sender: str, owner: str, kind: int, **fields: Any
) -> Transaction:
    number, in_parts = chance.randrange(60), chance.random() < 0.5
    if kind == 12:
        return chain.cancel(sender, owner, owner, number, in_parts=in_parts, **fields)
    recipient = sender if kind == 11 else chance.choice(PEOPLE)
    form = AuthorizationKind.RECEIVE if kind == 11 else AuthorizationKind.TRANSFER
    amount = chance.randrange(ATOMS_PER_AIT)
    authorization = chain.authorization(owner, recipient, amount, number=number, kind=form)
    return chain.relay(sender, owner, authorization, in_parts=in_parts, **fields)


def _decisions(chain: Chain) -> Iterator[tuple[Address, bytes]]:
    """(module, call data), one for each early block."""
    address = chain.address("provider-0")
    yield GOVERNANCE, modules.SET_PARAMETER.encode("base_fee_atoms", 3)
    yield GOVERNANCE, modules.ADD_ISSUER.encode(address)
    yield GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("provider-1"))
    yield GOVERNANCE, modules.REMOVE_ISSUER.encode(address)
    yield GOVERNANCE, modules.PAUSE.encode()
    yield GOVERNANCE, modules.UNPAUSE.encode()
    yield GOVERNANCE, modules.SET_ATTESTER_ALLOWANCE.encode(address, 10**24, 10)
    yield GOVERNANCE, modules.REMOVE_ATTESTER.encode(address)
    yield GOVERNANCE, modules.SCHEDULE_UPGRADE.encode(2, 10**6)
    yield MINTER, modules.SET_ATTESTER.encode(chain.address("attester-0"))
    yield GOVERNANCE, modules.ADD_VALIDATOR.encode(*_consent(chain, "validator-4"))
    yield GOVERNANCE, modules.FORCE_EPOCH.encode()
    yield GOVERNANCE, modules.REMOVE_VALIDATOR.encode(chain.address("validator-2"))
    yield GOVERNANCE, modules.ROTATE_VALIDATOR.encode(chain.address("validator-3"), *_consent(chain, "validator-5"))


def _consent(chain: Chain, name: str) -> tuple[bytes, int, bytes]:
    consent = sign_consent(chain.key(name), chain_id=chain.network.chain_id, expires_at_ms=2**60)
    return consent.public_key, consent.expires_at_ms, consent.signature


def _present_validators(chain: Chain) -> list[str]:
    """Their names, in the set's order."""
    names = {chain.address(name): name for name in (f"validator-{index}" for index in range(6))}
    return [names[address] for address in chain.read().validators()]


def _change_of_mind(chain: Chain) -> list[Transaction]:
    """A proposal that its proposer takes back."""
    first, number = chain.validators[0], chain.read().proposal_count() + 1
    proposed = (modules.PROPOSE, GOVERNANCE, modules.PAUSE.encode())
    return [
        chain.call(first, GOVERNANCE, *proposed, max_fee=2**128),
        chain.call(first, GOVERNANCE, modules.REVOKE, number, later=1, max_fee=2**128),
    ]


def _name(to: Address, call_data: bytes) -> str:
    for function in functions_of(to):
        if function.selector == call_data[:4]:
            return (
                f"{next((name for name, module in modules.MODULES.items() if module == to), 'asset')}.{function.name}"
            )
    return "transfer"


def _line(proposal: Proposal) -> str:
    """All that a block came to."""
    outcome, header = proposal.outcome, proposal.block.header
    order = hashlib.sha256(repr(list(outcome.changes.items())).encode()).hexdigest()
    reasons = ",".join(str(failure.reason) if failure is not None else "" for failure in outcome.failures)
    refused = ",".join(str(why.reason) for _, why in proposal.rejected)
    return f"{header.height} {header.hash.hex()} {order} {reasons} {refused}"


def _successes(proposal: Proposal, decision: tuple[Address, bytes] | None) -> set[str]:
    """The operations that succeeded in a block, and the governed call that it was to bring about."""
    outcome = proposal.outcome
    steps = zip(outcome.transactions, outcome.results, strict=True)
    succeeded = {_name(transaction.to, transaction.data) for transaction, result in steps if result.status}
    if decision is not None and outcome.results[-1].status:
        succeeded.add(_name(*decision))
    return succeeded


def play(seed: int) -> Iterator[str]:
    """One line per block, and in the end the operations that succeeded."""
    chance, chain = random.Random(seed), new_chain()
    succeeded: set[str] = set()
    for name in (*PROVIDERS, *ATTESTERS):
        chain.add(chain.mint(name, name, 90 * ATOMS_PER_AIT, signers=ATTESTERS[:2]))
    decisions, has_revoked = iter(_decisions(chain)), False
    for _ in range(BLOCKS):
        nonces: dict[str, int] = {}
        transactions = []
        for _ in range(25):
            sender = chance.choice(PEOPLE)
            nonce = nonces.get(sender, chain.nonce(sender))
            nonces[sender] = nonce + (chance.random() < 0.95)
            transactions.append(_some_transaction(chain, chance, sender, nonce))
        decision = next(decisions, None)
        if decision is not None or not has_revoked:  # The validators' nonces belong to it in this block.
            validators = chain.read().validators()
            transactions = [t for t in transactions if t.recover_sender() not in validators]
            transactions += chain.decision(*decision) if decision is not None else _change_of_mind(chain)
            has_revoked = decision is None
        proposal = chain.build(*transactions)
        chain.adopt(proposal)
        chain.validators = _present_validators(chain)
        succeeded |= _successes(proposal, decision)
        yield _line(proposal)
    for proposal, decision in (*seeded_market.play(seed), *seeded_escrow.play(seed)):
        succeeded |= _successes(proposal, decision)
        yield _line(proposal)
    yield "succeeded: " + " ".join(sorted(succeeded))


if __name__ == "__main__":
    for line in play(int(sys.argv[1])):
        sys.stdout.write(line + "\n")
