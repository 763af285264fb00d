"""ERC-3009: what an owner has signed happens once, in its time, whoever submits it; nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from chain.primitives import modules
from chain.primitives.authorization import Authorization, AuthorizationKind, authorization_digest
from chain.primitives.keys import CURVE_ORDER
from chain.primitives.modules import (
    AUTHORIZATION_CANCELED_EVENT,
    AUTHORIZATION_STATE,
    AUTHORIZATION_USED_EVENT,
    TOKEN,
    TRANSFER_EVENT,
)
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, ZERO_ADDRESS, Address, Hash32
from chain.rules.operations import decode_call

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain, MakeChain

HELD = 100 * ATOMS_PER_AIT
USED, BAD_SIGNATURE = RejectionReason.AUTHORIZATION_USED, RejectionReason.BAD_SIGNATURE
TRANSFER, RECEIVE = AuthorizationKind
FORMS = [False, True]  # The signature in one piece, or as v, r and s.


def is_used(chain: Chain, owner: str, authorization: Authorization) -> bool:
    used: bool = chain.view(TOKEN, AUTHORIZATION_STATE, chain.address(owner), authorization.nonce)
    return used


def submit(chain: Chain, submitter: str, authorization: Authorization, signature: bytes, **fields: int) -> Transaction:
    """transferWithAuthorization with any signature."""
    arguments = (
        authorization.sender,
        authorization.recipient,
        authorization.amount,
        authorization.valid_after,
        authorization.valid_before,
        authorization.nonce,
        signature,
    )
    return chain.call(submitter, TOKEN, modules.TRANSFER_WITH_AUTHORIZATION, *arguments, **fields)


@pytest.mark.parametrize("in_parts", FORMS)
def test_somebody_submits_what_the_owner_signed(rich_chain: Chain, in_parts: bool) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 5)
    assert not is_used(chain, "alice", authorization)
    outcome = chain.add(chain.relay("bob", "alice", authorization, in_parts=in_parts))
    assert [chain.balance(name) for name in ("alice", "bob", "carol")] == [HELD - 5, HELD, 5]
    assert (chain.nonce("alice"), chain.nonce("bob")) == (1, 2)  # Each has sent one transaction to earn something.
    assert is_used(chain, "alice", authorization)
    assert not is_used(chain, "bob", authorization)
    used, moved = outcome.results[0].logs
    assert (used.address, moved.address) == (TOKEN, TOKEN)
    assert AUTHORIZATION_USED_EVENT.decode(used.topics, used.data) == {
        "authorizer": chain.address("alice"),
        "nonce": authorization.nonce,
    }
    assert TRANSFER_EVENT.decode(moved.topics, moved.data) == {
        "from": chain.address("alice"),
        "to": chain.address("carol"),
        "value": 5,
    }


def test_both_forms_and_the_plain_transfer_do_the_same(rich_chain: Chain) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 5)
    forms = [chain.build(chain.relay("bob", "alice", authorization, in_parts=form)).outcome for form in FORMS]
    assert forms[0].changes == forms[1].changes
    assert forms[0].results == forms[1].results
    plain = chain.build(chain.transfer("alice", "carol", 5)).outcome
    assert forms[0].results[0].logs[1:] == plain.results[0].logs


def test_an_owner_needs_neither_standing_nor_a_fee(make_chain: MakeChain) -> None:
    """A newcomer's few atoms move, for a fee that the submitter pays."""
    chain = make_chain(min_holding_atoms=10**15)
    chain.add(chain.mint("poor", "poor", 7), chain.mint("bob", "bob", HELD))
    chain.set_parameter("base_fee_atoms", 1)
    chain.refuse(chain.transfer("poor", "carol", 7, max_fee=1), RejectionReason.NEWCOMER_CALL)
    call = chain.relay("bob", "poor", chain.authorization("poor", "carol", 7), max_fee=1)
    chain.add(call)
    assert [chain.balance(name) for name in ("poor", "carol")] == [0, 7]
    assert chain.balance("bob") == HELD - call.gas_used
    assert chain.nonce("poor") == 1
    # And a newcomer cannot submit anything, not even what it has signed itself.
    mine = chain.relay("carol", "carol", chain.authorization("carol", "bob", 1), max_fee=1)
    chain.refuse(mine, RejectionReason.NEWCOMER_CALL)


@pytest.mark.parametrize("in_parts", FORMS)
def test_it_happens_once(rich_chain: Chain, in_parts: bool) -> None:
    chain = rich_chain
    chain.give("carol")
    authorization = chain.authorization("alice", "carol", 5)
    first = chain.relay("bob", "alice", authorization)
    again = chain.relay("carol", "alice", authorization, in_parts=in_parts)
    chain.fail(again, USED, after=[first])
    chain.add(first)
    for submitter in ("alice", "bob", "carol"):
        chain.fail(chain.relay(submitter, "alice", authorization, in_parts=in_parts), USED)
    # The nonce is used up for anything else as well, but only this owner's.
    other = chain.authorization("alice", "bob", 1)
    chain.fail(chain.relay("bob", "alice", other, in_parts=in_parts), USED)
    chain.fail(chain.cancel("bob", "alice", "alice", in_parts=in_parts), USED)
    receive = chain.authorization("alice", "bob", 1, kind=RECEIVE)
    chain.fail(chain.relay("bob", "alice", receive, in_parts=in_parts), USED)
    chain.add(chain.relay("alice", "bob", chain.authorization("bob", "carol", 5), in_parts=in_parts))
    assert chain.balance("carol") == HELD + 10


def test_a_failed_submission_uses_nothing_up(rich_chain: Chain) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", HELD)
    spent = chain.transfer("alice", "bob", 1)
    chain.fail(chain.relay("bob", "alice", authorization), RejectionReason.INSUFFICIENT_FUNDS, after=[spent])
    failed = chain.build(spent, chain.relay("bob", "alice", authorization))
    assert [result.status for result in chain.adopt(failed).results] == [1, 0]
    assert not is_used(chain, "alice", authorization)
    chain.add(chain.transfer("bob", "alice", 1))
    chain.add(chain.relay("bob", "alice", authorization))
    assert (chain.balance("alice"), chain.balance("carol")) == (0, HELD)


def test_authorizations_come_in_any_order(rich_chain: Chain) -> None:
    chain = rich_chain
    for number in (7, 3, 5):
        chain.add(chain.relay("bob", "alice", chain.authorization("alice", "carol", number, number=number)))
    same_block = [
        chain.relay("bob", "alice", chain.authorization("alice", "carol", 1, number=number), later=later)
        for later, number in enumerate((9, 8, 1))
    ]
    chain.add(*same_block)
    assert (chain.balance("alice"), chain.balance("carol")) == (HELD - 18, 18)


def test_it_holds_between_its_times(rich_chain: Chain) -> None:
    """Strictly between, in whole seconds of block time, as the EIP has it."""
    chain = rich_chain
    early, late = RejectionReason.AUTHORIZATION_NOT_YET_VALID, RejectionReason.AUTHORIZATION_EXPIRED
    call = chain.relay("bob", "alice", chain.authorization("alice", "carol", 5, valid_after=50, valid_before=60))
    for time_ms, reason in ((49_000, early), (50_000, early), (50_999, early), (60_000, late), (2**40, late)):
        chain.fail(call, reason, time_ms=time_ms)
    for time_ms in (51_000, 59_999):
        assert chain.build(call, time_ms=time_ms).outcome.results[0].status == 1
    for valid_after, valid_before, reason in (
        (0, 0, late),
        (51, 52, early),
        (50, 51, late),
        (MAX_UINT256, MAX_UINT256, early),
        (MAX_UINT256, 0, early),
    ):
        never = chain.authorization("alice", "carol", 5, valid_after=valid_after, valid_before=valid_before)
        chain.fail(chain.relay("bob", "alice", never), reason, time_ms=51_500)
    always = chain.authorization("alice", "carol", 5, valid_before=MAX_UINT256)
    chain.add(chain.relay("bob", "alice", always), time_ms=51_500)


def test_only_the_owner_signs_and_exactly_this(rich_chain: Chain) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 5)
    signature = chain.key("alice").sign(authorization_digest(chain.network.chain_id, authorization))
    changed = (
        replace(authorization, sender=chain.address("bob")),
        replace(authorization, recipient=chain.address("bob")),
        replace(authorization, amount=6),
        replace(authorization, amount=0),
        replace(authorization, valid_after=1),
        replace(authorization, valid_before=2**63 + 1),
        replace(authorization, nonce=Hash32(bytes(32))),
    )
    for forged in changed:
        assert "invalid signature" in chain.fail(submit(chain, "bob", forged, signature), BAD_SIGNATURE).message
    chain.fail(chain.relay("bob", "bob", authorization), BAD_SIGNATURE)
    other_network = chain.relay("bob", "alice", authorization, signed_chain_id=chain.network.chain_id + 1)
    chain.fail(other_network, BAD_SIGNATURE)
    chain.fail(submit(chain, "bob", replace(authorization, sender=ZERO_ADDRESS, amount=0), bytes(65)), BAD_SIGNATURE)
    assert not is_used(chain, "alice", authorization)
    chain.add(submit(chain, "bob", authorization, signature))


def test_a_signature_has_one_form(rich_chain: Chain) -> None:
    """Its twin with a high s, other forms of v, and compact signatures would be second names for one permission."""
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 5)
    good = chain.key("alice").sign(authorization_digest(chain.network.chain_id, authorization))
    high_s = (CURVE_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    twin = good[:32] + high_s + bytes((55 - good[64],))
    assert chain.fail(submit(chain, "bob", authorization, twin), RejectionReason.HIGH_S).message.startswith("invalid")
    for signature in (
        b"",
        good[:64],
        good + b"\0",
        good[:64] + bytes((good[64] - 27,)),
        good[:64] + bytes((55 - good[64],)),
        bytes(64) + b"\x1b",
        b"\xff" * 65,
        bytes(4_096),
    ):
        chain.fail(submit(chain, "bob", authorization, signature), BAD_SIGNATURE)


def test_what_receive_takes_only_the_payee_submits(rich_chain: Chain) -> None:
    """So that a payee who does more in the same breath cannot have its payment submitted without the rest."""
    chain = rich_chain
    chain.give("carol")
    for in_parts, number in ((False, 1), (True, 2)):
        authorization = chain.authorization("alice", "carol", 5, kind=RECEIVE, number=number)
        for submitter in ("alice", "bob"):
            call = chain.relay(submitter, "alice", authorization, in_parts=in_parts)
            chain.fail(call, RejectionReason.NOT_THE_PAYEE)
        # Nor does its signature serve as the other kind's, or the other way round.
        as_transfer = chain.key("alice").sign(authorization_digest(chain.network.chain_id, authorization))
        chain.fail(submit(chain, "bob", replace(authorization, kind=TRANSFER), as_transfer), BAD_SIGNATURE)
        chain.add(chain.relay("carol", "alice", authorization, in_parts=in_parts))
        assert is_used(chain, "alice", authorization)
    assert chain.balance("carol") == HELD + 10


@pytest.mark.parametrize("in_parts", FORMS)
def test_an_owner_takes_an_authorization_back(rich_chain: Chain, in_parts: bool) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 5)
    transfer = chain.relay("bob", "alice", authorization, later=1)
    canceled = chain.cancel("bob", "alice", "alice", in_parts=in_parts)
    chain.fail(transfer, USED, after=[canceled])
    (log,) = chain.add(canceled).results[0].logs
    assert log.address == TOKEN
    assert AUTHORIZATION_CANCELED_EVENT.decode(log.topics, log.data) == {
        "authorizer": chain.address("alice"),
        "nonce": authorization.nonce,
    }
    assert is_used(chain, "alice", authorization)
    chain.fail(chain.relay("bob", "alice", authorization), USED)
    chain.fail(chain.cancel("bob", "alice", "alice", in_parts=in_parts), USED)
    assert chain.balance("alice") == HELD


@pytest.mark.parametrize("in_parts", FORMS)
def test_nobody_else_takes_it_back(rich_chain: Chain, in_parts: bool) -> None:
    chain = rich_chain
    chain.fail(chain.cancel("bob", "bob", "alice", in_parts=in_parts), BAD_SIGNATURE)
    other_network = chain.cancel("bob", "alice", "alice", in_parts=in_parts, signed_chain_id=chain.network.chain_id + 1)
    chain.fail(other_network, BAD_SIGNATURE)
    chain.add(chain.relay("bob", "alice", chain.authorization("alice", "carol", 5)))


@pytest.mark.parametrize("recipient", [ZERO_ADDRESS, *modules.MODULES.values(), Address(TOKEN[:19] + b"\xff")])
def test_nothing_goes_to_nobody(rich_chain: Chain, recipient: Address) -> None:
    chain = rich_chain
    for kind in AuthorizationKind:
        authorization = replace(chain.authorization("alice", "bob", 5, kind=kind), recipient=recipient)
        chain.fail(chain.relay("bob", "alice", authorization), RejectionReason.INVALID_RECIPIENT)


def test_amounts_to_the_last_atom(rich_chain: Chain) -> None:
    chain = rich_chain
    for amount in (HELD + 1, 2**255, MAX_UINT256):
        too_much = chain.relay("bob", "alice", chain.authorization("alice", "carol", amount))
        chain.fail(too_much, RejectionReason.INSUFFICIENT_FUNDS)
    to_itself = chain.authorization("alice", "alice", HELD, number=1)
    nothing = chain.authorization("alice", "carol", 0, number=2)
    all_of_it = chain.authorization("alice", "carol", HELD, number=3)
    for later, authorization in enumerate((to_itself, nothing, all_of_it)):
        chain.add(chain.relay("bob", "alice", authorization))
        assert chain.balance("alice") == (0 if later == 2 else HELD)


def test_overtaking_changes_nothing_but_who_pays(rich_chain: Chain) -> None:
    """A watcher who submits the call first has done the submitter's work; the copy fails, and that is all."""
    chain = rich_chain
    chain.give("mallory")
    authorization = chain.authorization("alice", "carol", 5)
    bobs = chain.relay("bob", "alice", authorization)
    mallorys = chain.send("mallory", TOKEN, data=bobs.data)
    outcome = chain.adopt(chain.build(mallorys, bobs))
    assert [result.status for result in outcome.results] == [1, 0]
    assert [chain.balance(name) for name in ("alice", "bob", "mallory", "carol")] == [HELD - 5, HELD, HELD, 5]


def test_what_was_used_is_never_forgotten(rich_chain: Chain) -> None:
    chain = rich_chain
    authorization = chain.authorization("alice", "carol", 0)
    chain.add(chain.relay("bob", "alice", authorization))
    key = state_key(Domain.AUTHORIZATION, chain.address("alice") + authorization.nonce)
    assert chain.state.records[key] == b"\xc3"
    chain.add(time_ms=2**50)
    assert chain.state.records[key] == b"\xc3"


def test_each_costs_a_block_one_recovery_more(make_chain: MakeChain) -> None:
    chain = make_chain(max_block_recoveries=32)
    chain.give("alice", "bob")
    calls = [
        chain.relay("bob", "alice", chain.authorization("alice", "carol", 1, number=number), later=number)
        for number in range(17)
    ]
    assert {call.recoveries for call in map(decode_call, calls) if call is not None} == {1}
    assert len(chain.build(*calls).outcome.transactions) == 16
