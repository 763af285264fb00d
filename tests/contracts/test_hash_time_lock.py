"""HashTimeLock.sol on an EVM chain: the twin of `chain.rules.swaps`, judged by the same declarations and ids."""

import hashlib
from typing import Any

import pytest

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import parse_address, parse_hex, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN_BALANCE_OF
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import (
    CLAIM,
    CLAIMED_EVENT,
    LOCK,
    LOCKED_EVENT,
    MAX_LOCK_S,
    REFUND,
    REFUNDED_EVENT,
    SWAP,
    SWAP_FUNCTIONS,
    swap_id,
)
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from tests.contracts.anvil import Evm

pytestmark = pytest.mark.node

ALICE, BOB, STRANGER = (PrivateKey(bytes((number,)) * 32) for number in (0x1A, 0x1B, 0x1C))
ETHER = Address(ZERO_ADDRESS)
SECRET = bytes(range(32))
HASH = Hash32(hashlib.sha256(SECRET).digest())
VALUE = 10**15
APPROVE = Function("approve(address spender, uint256 value)")
TRANSFER = Function("transfer(address to, uint256 value)")
SET_FEE = Function("setFee(uint256 atoms)")
SET_CALLED = Function("setCalled(address target)")
SET_DATA = Function("setData(bytes call)")


@pytest.fixture(scope="module")
def contract(evm: Evm, compiled: dict[str, Any]) -> Address:
    """The deployed HashTimeLock."""
    return evm.deploy(bytes.fromhex(compiled["HashTimeLock"]["evm"]["bytecode"]["object"]))


@pytest.fixture(scope="module")
def token(evm: Evm, compiled: dict[str, Any], contract: Address) -> Address:
    """A token of which alice holds a lot, and has approved as much."""
    token = evm.deploy(bytes.fromhex(compiled["SwapToken"]["evm"]["bytecode"]["object"]))
    deployer = evm.call("eth_accounts")[0]
    call = {"from": deployer, "to": to_hex(token), "data": to_hex(TRANSFER.encode(ALICE.address, 10**24))}
    assert evm.mined(evm.call("eth_sendTransaction", call))["status"] == "0x1"
    assert evm.send(ALICE, token, APPROVE.encode(contract, 10**24))["status"] == "0x1"
    return token


class Terms:
    """A lock by alice for bob, with another value each time, so that each has an id of its own."""

    numbers = iter(range(1, 10**6))

    def __init__(self, evm: Evm, asset: Address = ETHER, **changes: Any) -> None:
        self.asset = asset
        self.hash = changes.get("hash", HASH)
        self.recipient = changes.get("recipient", BOB.address)
        self.value = changes.get("value", VALUE + next(self.numbers))
        self.deadline = changes.get("deadline", evm.time_s() + 1_000)
        self.ether = changes.get("ether", self.value if asset == ETHER else 0)
        self.id = swap_id(self.hash, ALICE.address, self.recipient, asset, self.value, self.deadline)
        self.call = LOCK.encode(self.hash, self.recipient, asset, self.value, self.deadline)


def locked(evm: Evm, contract: Address, asset: Address = ETHER) -> Terms:
    terms = Terms(evm, asset)
    assert evm.send(ALICE, contract, terms.call, terms.ether)["status"] == "0x1"
    return terms


def held(evm: Evm, asset: Address, owner: Address) -> int:
    if asset == ETHER:
        return int(evm.call("eth_getBalance", to_hex(owner), "latest"), 16)
    atoms: int = evm.view(asset, TOKEN_BALANCE_OF, owner)
    return atoms


def status_of(evm: Evm, contract: Address, id_: Hash32) -> int:
    request = {"to": to_hex(contract), "data": to_hex(SWAP.encode(id_))}
    status: int = SWAP.decode_output(parse_hex(evm.call("eth_call", request, "latest")))[6]
    return status


def event(declared: Any, log: dict[str, Any]) -> Any:
    return declared.decode([parse_hex(topic) for topic in log["topics"]], parse_hex(log["data"]))


def test_its_calls_and_events_are_those_of_the_module(compiled: dict[str, Any]) -> None:
    assert compiled["HashTimeLock"]["evm"]["methodIdentifiers"] == {
        function.signature: function.selector.hex() for function in SWAP_FUNCTIONS
    }


@pytest.mark.parametrize("kind", ["ether", "token"])
def test_a_claimed_swap_pays_its_recipient(evm: Evm, contract: Address, token: Address, kind: str) -> None:
    asset = ETHER if kind == "ether" else token
    before = held(evm, asset, BOB.address)
    terms = Terms(evm, asset)
    outcome = evm.send(ALICE, contract, terms.call, terms.ether)
    assert event(LOCKED_EVENT, outcome["logs"][0]) == {
        "id": terms.id,
        "sender": ALICE.address,
        "recipient": BOB.address,
        "asset": asset,
        "value": terms.value,
        "hash": HASH,
        "deadline": terms.deadline,
    }
    assert held(evm, asset, contract) == terms.value
    claimed = evm.send(STRANGER, contract, CLAIM.encode(terms.id, SECRET))  # Anybody who knows the secret.
    assert event(CLAIMED_EVENT, claimed["logs"][0]) == {"id": terms.id, "secret": SECRET}
    assert (held(evm, asset, BOB.address), held(evm, asset, contract)) == (before + terms.value, 0)
    assert status_of(evm, contract, terms.id) == SwapStatus.CLAIMED
    assert "not open" in evm.revert_reason(contract, CLAIM.encode(terms.id, SECRET))
    assert "swap exists" in evm.revert_reason_of(ALICE, contract, terms.call, terms.ether)


@pytest.mark.parametrize("kind", ["ether", "token"])
def test_a_lapsed_swap_pays_its_sender_back(evm: Evm, contract: Address, token: Address, kind: str) -> None:
    asset = ETHER if kind == "ether" else token
    terms = locked(evm, contract, asset)
    before = held(evm, asset, ALICE.address)
    assert "deadline ahead" in evm.revert_reason(contract, REFUND.encode(terms.id))
    evm.pass_time(terms.deadline - evm.time_s())
    assert evm.time_s() >= terms.deadline
    assert "deadline passed" in evm.revert_reason(contract, CLAIM.encode(terms.id, SECRET))
    refunded = evm.send(STRANGER, contract, REFUND.encode(terms.id))
    assert event(REFUNDED_EVENT, refunded["logs"][0]) == {"id": terms.id}
    assert held(evm, asset, ALICE.address) == before + terms.value
    assert "not open" in evm.revert_reason(contract, REFUND.encode(terms.id))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": 0}, "nothing to lock"),
        ({"ether": 1}, "wrong ether"),
        ({"recipient": ZERO_ADDRESS}, "invalid recipient"),
        ({"deadline": 1}, "invalid deadline"),
        ({"deadline": 2**63}, "invalid deadline"),
        ({"asset": BOB.address, "ether": 0}, "revert"),
    ],
)
def test_bad_terms_are_refused(evm: Evm, contract: Address, changes: dict[str, Any], reason: str) -> None:
    changes = dict(changes)
    terms = Terms(evm, changes.pop("asset", ETHER), **changes)
    assert reason in evm.revert_reason_of(ALICE, contract, terms.call, terms.ether)


def test_the_farthest_deadline(evm: Evm, contract: Address) -> None:
    beyond = Terms(evm, deadline=evm.time_s() + MAX_LOCK_S + 1_000)
    assert "invalid deadline" in evm.revert_reason_of(ALICE, contract, beyond.call, beyond.ether)
    terms = Terms(evm, deadline=evm.time_s() + MAX_LOCK_S)
    assert evm.send(ALICE, contract, terms.call, terms.ether)["status"] == "0x1"


def test_a_wrong_secret_and_an_unknown_swap(evm: Evm, contract: Address) -> None:
    terms = locked(evm, contract)
    assert "wrong secret" in evm.revert_reason(contract, CLAIM.encode(terms.id, bytes(32)))
    assert "not open" in evm.revert_reason(contract, CLAIM.encode(bytes(32), SECRET))
    assert "not open" in evm.revert_reason(contract, REFUND.encode(bytes(32)))
    assert status_of(evm, contract, Hash32(bytes(32))) == SwapStatus.NONE


def test_a_token_that_keeps_a_part_is_refused(evm: Evm, token: Address, contract: Address) -> None:
    terms = Terms(evm, token)
    evm.send(STRANGER, token, SET_FEE.encode(1))
    try:
        assert "token took a fee" in evm.revert_reason_of(ALICE, contract, terms.call)
    finally:
        evm.send(STRANGER, token, SET_FEE.encode(0))


def test_what_is_not_held_cannot_be_locked(evm: Evm, token: Address, contract: Address) -> None:
    terms = Terms(evm, token, value=10**25)
    assert "token refused" in evm.revert_reason_of(ALICE, contract, terms.call)


def test_a_token_that_calls_back_is_not_paid_twice(evm: Evm, token: Address, contract: Address) -> None:
    terms = locked(evm, contract, token)
    other = locked(evm, contract, token)  # So that there would be something to take.
    evm.send(STRANGER, token, SET_DATA.encode(CLAIM.encode(terms.id, SECRET)))
    evm.send(STRANGER, token, SET_CALLED.encode(contract))
    try:  # The token itself sees to it that its call was refused.
        assert evm.send(BOB, contract, CLAIM.encode(terms.id, SECRET))["status"] == "0x1"
    finally:
        evm.send(STRANGER, token, SET_CALLED.encode(ZERO_ADDRESS))
    assert held(evm, token, contract) >= other.value
    assert status_of(evm, contract, other.id) == SwapStatus.OPEN
    assert parse_address(to_hex(contract)) == contract
