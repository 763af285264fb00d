"""What a call would do is what it then does: simulation and blocks agree, and nothing is kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import eth_abi
import pytest

from chain.primitives import modules
from chain.primitives.modules import GOVERNANCE, MINTER, REGISTRY, TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import MAX_TRANSACTION_BYTES, Transaction, intrinsic_gas
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, ZERO_ADDRESS, Address
from chain.rules.simulation import Simulated, estimate_gas, simulate_call
from tests.chain.rules.test_operations import mutated, nasty_call

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

HELD = 100 * ATOMS_PER_AIT
OFFER = ("http://p.example", ["tiny-sd"], 5, "gpu_seconds", 8_192)


def simulate(chain: Chain, sender: str, to: Address, data: bytes = b"", value: int = 0) -> Simulated:
    """`eth_call` in the next block; sees to it that the state stays."""
    records = dict(chain.state.records)
    try:
        return simulate_call(chain.state, chain.next_block, sender=chain.address(sender), to=to, value=value, data=data)
    finally:
        assert chain.state.records == records


def estimate(chain: Chain, transaction: Transaction) -> int:
    """`eth_estimateGas` of what a transaction does; sees to it that the state stays."""
    records = dict(chain.state.records)
    try:
        return estimate_gas(
            chain.state,
            chain.next_block,
            sender=transaction.recover_sender(),
            to=transaction.to,
            value=transaction.value,
            data=transaction.data,
        )
    finally:
        assert chain.state.records == records


def reason_in_a_block(chain: Chain, transaction: Transaction) -> RejectionReason | None:
    """Why the next block does not hold the transaction, or holds it with status 0."""
    execution = chain.execution()
    try:
        execution.add(transaction)
    except Rejected as rejected:
        return rejected.reason
    (failure,) = execution.finish().failures
    return None if failure is None else failure.reason


def reason_of_estimate(chain: Chain, transaction: Transaction) -> RejectionReason | None:
    """Why there is no estimate."""
    try:
        assert estimate(chain, transaction) == transaction.gas_used
    except Rejected as rejected:
        return rejected.reason
    return None


def refusal(chain: Chain, sender: str, to: Address, data: bytes = b"", value: int = 0) -> RejectionReason:
    """Why a call would fail."""
    with pytest.raises(Rejected) as caught:
        simulate(chain, sender, to, data, value)
    return caught.value.reason


def returned(simulated: Simulated, *types: str) -> tuple[Any, ...]:
    """The output, as Ethereum's own library reads it."""
    return eth_abi.decode(types, simulated.output)


def test_views_answer_as_they_do(rich_chain: Chain) -> None:
    chain = rich_chain
    question = modules.TOKEN_BALANCE_OF.encode(chain.address("alice"))
    simulated = simulate(chain, "nobody", TOKEN, question)
    assert simulated == Simulated(chain.raw_view(TOKEN, question), (), intrinsic_gas(question))
    assert returned(simulated, "uint256") == (HELD,)
    assert refusal(chain, "alice", TOKEN, question, value=1) is RejectionReason.VALUE_TO_MODULE
    assert refusal(chain, "alice", MINTER, question) is RejectionReason.UNKNOWN_CALL
    assert refusal(chain, "alice", TOKEN, question + b"\0") is RejectionReason.NON_CANONICAL


def test_what_operations_return(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.give("alice", "bob")
    alice, bob = chain.address("alice"), chain.address("bob")
    for function, arguments in (
        (modules.TOKEN_TRANSFER, (bob, 5)),
        (modules.TOKEN_APPROVE, (bob, 5)),
    ):
        assert returned(simulate(chain, "alice", TOKEN, function.encode(*arguments)), "bool") == (True,)
    chain.add(chain.call("alice", TOKEN, modules.TOKEN_APPROVE, bob, 5))
    taken = simulate(chain, "bob", TOKEN, modules.TOKEN_TRANSFER_FROM.encode(alice, bob, 5))
    assert returned(taken, "bool") == (True,)
    proposal = modules.PROPOSE.encode(GOVERNANCE, modules.PAUSE.selector)
    assert returned(simulate(chain, "validator-0", GOVERNANCE, proposal), "uint256") == (1,)
    chain.add(chain.send("validator-0", GOVERNANCE, data=proposal))
    assert returned(simulate(chain, "validator-1", GOVERNANCE, proposal), "uint256") == (2,)
    approved = simulate(chain, "validator-1", GOVERNANCE, modules.APPROVE_PROPOSAL.encode(1))
    assert approved.output == b""


def test_the_events_are_those_of_the_block(rich_chain: Chain) -> None:
    chain = rich_chain
    for transaction in (
        chain.transfer("alice", "carol", 5),
        chain.transfer("alice", "carol", HELD, data=b"for the picture"),
        chain.call("alice", TOKEN, modules.TOKEN_TRANSFER, chain.address("carol"), 5),
        chain.call("alice", REGISTRY, modules.REGISTER, *OFFER, chain.address("cold")),
        chain.mint("alice", "bob", 7),
        chain.split("alice", [("bob", 7), ("carol", 8)]),
        chain.relay("alice", "bob", chain.authorization("bob", "carol", 5)),
        chain.cancel("alice", "bob", "bob"),
    ):
        simulated = simulate(chain, "alice", transaction.to, transaction.data, transaction.value)
        (result,) = chain.build(transaction).outcome.results
        assert (result.status, result.logs) == (1, simulated.logs)
        assert simulated.gas_used == transaction.gas_used == estimate(chain, transaction)


def test_a_look_needs_no_standing(rich_chain: Chain) -> None:
    """As `eth_call` has it; what it does not show is whether this sender could send it."""
    chain, nobody = rich_chain, ZERO_ADDRESS
    approval = modules.TOKEN_APPROVE.encode(chain.address("bob"), 5)
    simulated = simulate_call(chain.state, chain.next_block, sender=nobody, to=TOKEN, data=approval)
    assert returned(simulated, "bool") == (True,)
    nothing = simulate_call(chain.state, chain.next_block, sender=nobody, to=chain.address("bob"))
    assert (nothing.output, len(nothing.logs)) == (b"", 1)
    with pytest.raises(Rejected) as caught:
        estimate_gas(chain.state, chain.next_block, sender=nobody, to=TOKEN, data=approval)
    assert caught.value.reason is RejectionReason.NEWCOMER_CALL


def test_calls_in_vain_say_why(rich_chain: Chain) -> None:
    chain, alice, carol = rich_chain, rich_chain.address("alice"), rich_chain.address("carol")
    receipt = chain.receipt_hash()
    chain.add(chain.mint("alice", "alice", 5, receipt))
    again = chain.mint("alice", "alice", 5, receipt)
    forged = chain.mint("alice", "alice", 5, signers=["alice"])
    short, unpaid = RejectionReason.INSUFFICIENT_FUNDS, RejectionReason.INSUFFICIENT_ALLOWANCE
    assert refusal(chain, "bob", TOKEN, modules.TOKEN_TRANSFER.encode(carol, HELD + 1)) is short
    assert refusal(chain, "bob", carol, value=HELD + 1) is short
    assert refusal(chain, "bob", carol, value=MAX_UINT256) is short
    assert refusal(chain, "bob", TOKEN, modules.TOKEN_TRANSFER_FROM.encode(alice, carol, 1)) is unpaid
    assert refusal(chain, "alice", MINTER, again.data) is RejectionReason.RECEIPT_USED
    assert refusal(chain, "alice", MINTER, forged.data) is RejectionReason.NOT_AN_ATTESTER
    assert refusal(chain, "alice", GOVERNANCE, modules.PAUSE.encode()) is RejectionReason.NOT_GOVERNANCE
    assert refusal(chain, "validator-0", MINTER, modules.SET_ATTESTER.encode(alice)) is RejectionReason.NOT_GOVERNANCE
    assert refusal(chain, "alice", ZERO_ADDRESS) is RejectionReason.INVALID_RECIPIENT
    assert refusal(chain, "alice", modules.ESCROW, b"\1\2\3\4") is RejectionReason.UNKNOWN_CALL
    assert refusal(chain, "alice", TOKEN) is RejectionReason.UNKNOWN_CALL
    assert refusal(chain, "alice", TOKEN, value=1) is RejectionReason.UNKNOWN_CALL
    assert refusal(chain, "alice", carol, bytes(257)) is RejectionReason.DATA_TOO_LARGE


def test_data_is_bounded_before_it_is_read(rich_chain: Chain) -> None:
    chain = rich_chain
    huge = modules.PARAMETER.encode("x" * MAX_TRANSACTION_BYTES)
    assert refusal(chain, "alice", GOVERNANCE, huge) is RejectionReason.TOO_LARGE
    with pytest.raises(Rejected) as caught:
        estimate_gas(chain.state, chain.next_block, sender=chain.address("alice"), to=GOVERNANCE, data=huge)
    assert caught.value.reason is RejectionReason.TOO_LARGE


def test_a_view_is_nothing_to_send(rich_chain: Chain) -> None:
    chain = rich_chain
    question = chain.call("alice", TOKEN, modules.TOKEN_TOTAL_SUPPLY)
    assert reason_of_estimate(chain, question) is RejectionReason.UNKNOWN_CALL
    assert reason_in_a_block(chain, question) is RejectionReason.UNKNOWN_CALL


def test_an_estimate_knows_standing_and_quota(make_chain: MakeChain) -> None:
    chain = make_chain(min_holding_atoms=10**15, registration_quota=1)
    chain.give("alice")
    chain.add(chain.mint("poor", "poor", 10**15 - 1))
    register = chain.call("new", REGISTRY, modules.REGISTER, *OFFER, ZERO_ADDRESS)
    refused = RejectionReason.NEWCOMER_CALL
    for transaction, reason in (
        (chain.transfer("poor", "alice", 1), refused),
        (chain.call("new", TOKEN, modules.TOKEN_APPROVE, chain.address("alice"), 1), refused),
        (chain.call("attester", TOKEN, modules.TOKEN_APPROVE, chain.address("alice"), 1), None),
        (chain.mint("new", "poor", 5), None),
        (chain.mint("new", "poor", 5, signers=["new"]), RejectionReason.NOT_AN_ATTESTER),
        (chain.call("new", REGISTRY, modules.WITHDRAW), RejectionReason.NOT_REGISTERED),
        (register, None),
    ):
        assert reason_of_estimate(chain, transaction) is reason
        assert reason_in_a_block(chain, transaction) is reason
    chain.add(chain.call("other", REGISTRY, modules.REGISTER, *OFFER, ZERO_ADDRESS))
    assert reason_of_estimate(chain, register) is RejectionReason.REGISTRATION_QUOTA


def test_an_estimate_counts_the_fee(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.set_parameter("base_fee_atoms", 10**9)
    fee = 21_000 * 10**9
    for value, reason in ((HELD - fee, None), (HELD - fee + 1, RejectionReason.INSUFFICIENT_FUNDS)):
        transaction = chain.transfer("alice", "carol", value, max_fee=10**9)
        assert reason_of_estimate(chain, transaction) is reason_in_a_block(chain, transaction) is reason
    whole = chain.call("alice", TOKEN, modules.TOKEN_TRANSFER, chain.address("carol"), HELD, max_fee=10**9)
    assert reason_of_estimate(chain, whole) is RejectionReason.INSUFFICIENT_FUNDS
    # A look asks no fee.
    assert simulate(chain, "alice", TOKEN, whole.data).logs


@pytest.mark.parametrize("seed", range(3))
def test_estimates_agree_with_blocks_whatever_the_call(make_chain: MakeChain, seed: int) -> None:
    chain, chance = make_chain(min_holding_atoms=10**15, registration_quota=3), random.Random(seed)
    chain.give("alice", "bob")
    chain.set_parameter("base_fee_atoms", chance.choice((0, 1, 10**10)))
    verdicts = set()
    for _ in range(300):
        sender = chance.choice(("validator-0", "attester", "alice", "newcomer"))
        module, call_data = nasty_call(chain, chance)
        if chance.random() < 0.3:
            call_data = mutated(call_data, chance)
        elif chance.random() < 0.3:
            module = Address(chance.choice((chain.address("bob"), ZERO_ADDRESS, *modules.MODULES.values())))
        value = chance.choice((0, 0, 0, 1, HELD, MAX_UINT256))
        transaction = chain.send(sender, module, data=call_data, value=value, max_fee=2**128)
        verdict = reason_in_a_block(chain, transaction)
        assert reason_of_estimate(chain, transaction) is verdict
        verdicts.add(verdict)
        if verdict is None:
            (result,) = chain.build(transaction).outcome.results
            assert simulate(chain, sender, module, call_data, value).logs == result.logs
    assert None in verdicts
    assert len(verdicts) > 8
