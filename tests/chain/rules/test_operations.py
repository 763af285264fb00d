"""One table of operations over all modules; whatever call data comes, nothing but Rejected comes out of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.abi import AbiType, Function
from chain.primitives.modules import (
    FUNCTIONS,
    GOVERNANCE,
    MINT_SPLIT,
    MINT_WITH_RECEIPT,
    MINTER,
    TOKEN,
    TOKEN_TRANSFER,
)
from chain.primitives.network import AttesterAllowance
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.records import Account, Domain, Proposal, Registration, Supply
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, ZERO_ADDRESS, Address, Hash32
from chain.rules.operations import decode_call
from chain.rules.state import State

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

CALLS = [
    (module, function) for module, functions in FUNCTIONS.items() for function in functions if not function.is_view
]
SENDERS = ("validator-0", "attester", "alice", "newcomer")
NASTY_INTEGERS = (
    0,
    1,
    2,
    3,
    16,
    2**31,
    2**32 - 1,
    2**32,
    2**62 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    2**128 + 1,
    2**200,
    2**200 + 1,
    2**255,
    MAX_UINT256,
)
NASTY_STRINGS = ("", "m", "http://x", "images", "__class__", "\0", "é" * 40, "\U0001f600" * 33, "x" * 300)


def test_every_declared_call_is_an_operation(chain: Chain) -> None:
    zeros = {"address": ZERO_ADDRESS, "bytes": b"", "string": "", "bytes32": bytes(32)}
    for module, function in CALLS:
        arguments = [
            [] if abi_type.element is not None else zeros.get(abi_type.name, 0) for abi_type in function.input_types
        ]
        call = decode_call(chain.call("alice", module, function, *arguments))
        assert call is not None
        assert (call.operation.module, call.operation.function) == (module, function)
        assert list(call.arguments) == arguments
    assert decode_call(chain.transfer("alice", "bob", 1, data=CALLS[0][1].selector)) is None


def test_what_a_mint_says_before_it_is_executed(chain: Chain) -> None:
    receipt = Hash32(b"\x33" * 32)
    for count in (0, 1, 2, 5):
        for function, head in (
            (MINT_WITH_RECEIPT, (chain.address("p"), 5)),
            (MINT_SPLIT, ([chain.address("p"), chain.address("q")], [5, 6])),
        ):
            call = decode_call(chain.call("alice", MINTER, function, *head, receipt, bytes(65 * count + 64)))
            assert call is not None
            assert call.receipt_hash == receipt
            assert call.recoveries == (65 * count + 64) // 65
    transfer = decode_call(chain.call("alice", TOKEN, TOKEN_TRANSFER, chain.address("p"), 5))
    assert transfer is not None
    assert (transfer.receipt_hash, transfer.recoveries) == (None, 0)


def nasty_value(chain: Chain, abi_type: AbiType, chance: random.Random) -> Any:
    """A value of a type that some check might have forgotten."""
    if abi_type.element is not None:
        element = abi_type.element
        return [nasty_value(chain, element, chance) for _ in range(chance.choice((0, 1, 1, 2, 3, 20, 130)))]
    if abi_type.base == "address":
        names = ("alice", "validator-0", "attester", "nobody")
        addresses = (ZERO_ADDRESS, *modules.MODULES.values(), *map(chain.address, names))
        return chance.choice((*addresses, Address(chance.randbytes(20))))
    if abi_type.bits:
        return chance.choice((*NASTY_INTEGERS, chance.getrandbits(256), chance.randrange(10**19))) % 2**abi_type.bits
    if abi_type.base == "string":
        return chance.choice((*NASTY_STRINGS, *PARAMETER_BOUNDS))
    if abi_type.base == "bool":
        return chance.random() < 0.5
    if abi_type.size:
        return chance.choice((bytes(abi_type.size), b"\xff" * abi_type.size, chance.randbytes(abi_type.size)))
    return chance.choice((b"", b"\0", bytes(65), chance.randbytes(65), chance.randbytes(130), bytes(4_096)))


def nasty_call(chain: Chain, chance: random.Random, *, depth: int = 2) -> tuple[Address, bytes]:
    """(module, call data) of a well-formed call with nasty arguments; proposals carry further calls."""
    module, function = chance.choice(CALLS)
    arguments = [nasty_value(chain, abi_type, chance) for abi_type in function.input_types]
    if function is modules.PROPOSE and depth:
        arguments = list(nasty_call(chain, chance, depth=depth - 1))
    return module, function.encode(*arguments)


def mutated(call_data: bytes, chance: random.Random) -> bytes:
    """Call data with a few bytes changed, words made huge, cut off or repeated."""
    octets = bytearray(call_data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(octets) + 1)
        word = 4 + 32 * chance.randrange(1 + len(octets) // 32)
        kind = chance.randrange(6)
        if kind == 0:
            octets[place : place + 1] = chance.randbytes(1)
        elif kind == 1:
            octets[word : word + 32] = chance.choice(NASTY_INTEGERS).to_bytes(32, "big")
        elif kind == 2:
            del octets[place : place + chance.choice((1, 4, 32))]
        elif kind == 3:
            octets[place:place] = chance.randbytes(chance.choice((1, 4, 32)))
        elif kind == 4:
            octets[word:word] = octets[word : word + 32]
        else:
            del octets[place:]
    return bytes(octets[:20_000])


def assert_state_decodes(state: State, records: dict[bytes, bytes | None]) -> None:
    """Every record that was written can be read, and every atom is accounted for."""
    decoders: dict[int, Callable[[bytes], object]] = {
        Domain.ACCOUNT: Account.decode,
        Domain.SUPPLY: Supply.decode,
        Domain.REGISTRATION: Registration.decode,
        Domain.PROPOSAL: Proposal.decode,
        Domain.PARAMETERS: Parameters.decode,
    }
    for key, record in records.items():
        if record is not None and key[0] in decoders:
            decoders[key[0]](record)
    parameters = state.parameters()
    for name, (lowest, highest) in PARAMETER_BOUNDS.items():
        assert lowest <= getattr(parameters, name) <= highest
    attesters: tuple[AttesterAllowance, ...] = state.attesters()
    assert 1 <= parameters.attester_threshold <= len(attesters)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_but_rejected_comes_out_of_mutated_calls(rich_chain: Chain, seed: int) -> None:
    chain, chance = rich_chain, random.Random(seed)
    execution = chain.execution()
    nonces = {name: chain.nonce(name) for name in SENDERS}
    for _ in range(400):
        sender = chance.choice(SENDERS)
        module, call_data = nasty_call(chain, chance)
        if chance.random() < 0.5:
            call_data = mutated(call_data, chance)
        transaction = chain.send(sender, module, data=call_data, nonce=nonces[sender])
        before = execution.finish().changes
        try:
            execution.add(transaction)
        except Rejected:
            assert execution.finish().changes == before
        else:
            nonces[sender] += 1
    outcome = execution.finish()
    after = chain.state.with_changes(outcome.changes)
    assert_state_decodes(State(after), outcome.changes)
    balances = sum(Account.decode(record).balance for key, record in after.records.items() if key[0] == Domain.ACCOUNT)
    assert balances == State(after).supply().circulating == 200 * ATOMS_PER_AIT


def _execute_whatever_it_is(chain: Chain, target: Address, call_data: bytes) -> None:
    made = chain.call("validator-0", GOVERNANCE, modules.PROPOSE, target, call_data, max_fee=2**200)
    number = chain.read().proposal_count() + 1
    executed = chain.call("validator-0", GOVERNANCE, modules.EXECUTE, number, later=1, max_fee=2**200)
    # Far apart in time, so that what cannot be executed does not fill the validator's open proposals; a block for each.
    for transaction in (made, executed):
        chain.adopt(
            chain.build(transaction, time_ms=chain.head.time_ms + (400 * 86_400_000 if transaction is made else 1))
        )


@pytest.mark.parametrize("seed", range(3))
def test_governance_by_a_monkey_never_locks_the_network(make_chain: MakeChain, seed: int) -> None:
    """Whatever a quorum votes for, in bounds that each look harmless: afterwards it can still vote, and people mint."""
    chain, chance = make_chain(), random.Random(seed)
    chain.give("alice")
    governed = [
        (module, function)
        for module, function in CALLS
        if module in (GOVERNANCE, MINTER)
        and function not in (modules.PROPOSE, modules.APPROVE_PROPOSAL, modules.EXECUTE, modules.SCHEDULE_UPGRADE)
    ]
    for _ in range(120):
        module, function = chance.choice([*governed, (GOVERNANCE, modules.SET_PARAMETER)])
        arguments = [nasty_value(chain, abi_type, chance) for abi_type in function.input_types]
        if function is modules.SET_PARAMETER:
            name = chance.choice(list(PARAMETER_BOUNDS))
            arguments = [name, chance.choice(PARAMETER_BOUNDS[name])]
        _execute_whatever_it_is(chain, module, function.encode(*arguments))
        assert_state_decodes(chain.read(), dict(chain.state.records))
    # When the validators come to their senses
    for name in PARAMETER_BOUNDS:
        _execute_whatever_it_is(chain, GOVERNANCE, modules.SET_PARAMETER.encode(name, getattr(Parameters(), name)))
    _execute_whatever_it_is(chain, GOVERNANCE, modules.UNPAUSE.encode())
    _execute_whatever_it_is(chain, MINTER, modules.SET_ATTESTER.encode(chain.address("attester")))
    allowance = modules.SET_ATTESTER_ALLOWANCE.encode(chain.address("attester"), 10**24, 100)
    _execute_whatever_it_is(chain, GOVERNANCE, allowance)
    # Then everything is as it was
    assert chain.read().parameters() == Parameters()
    chain.add(chain.mint("bob", "bob", ATOMS_PER_AIT))
    chain.add(chain.transfer("bob", "alice", ATOMS_PER_AIT))
    assert chain.balance("alice") == 101 * ATOMS_PER_AIT


@pytest.mark.parametrize("function", [function for _, function in CALLS], ids=lambda function: function.name)
def test_call_data_cut_off_anywhere_is_no_call(rich_chain: Chain, function: Function) -> None:
    chain, chance = rich_chain, random.Random(7)
    module = next(module for module, functions in FUNCTIONS.items() if function in functions)
    arguments = [nasty_value(chain, abi_type, chance) for abi_type in function.input_types]
    call_data = function.encode(*arguments)[:2_000]
    whole = function.encode(*arguments)
    for length in range(len(call_data)):
        if call_data[:length] == whole:
            continue
        with pytest.raises(Rejected) as caught:
            decode_call(_unsigned(module, call_data[:length]))
        expected = (
            (RejectionReason.UNKNOWN_CALL,)
            if length < 4
            else (RejectionReason.MALFORMED, RejectionReason.NON_CANONICAL)
        )
        assert caught.value.reason in expected


def _unsigned(to: Address, data: bytes) -> Transaction:
    """Enough of a transaction to decode its call."""
    return Transaction(
        type=2,
        chain_id=1,
        nonce=0,
        max_priority_fee=0,
        max_fee=0,
        gas_limit=0,
        to=to,
        value=0,
        data=data,
        signature=bytes(65),
        raw=b"",
        hash=Hash32(bytes(32)),
        signing_hash=Hash32(bytes(32)),
    )
