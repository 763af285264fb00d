"""Validators change by a quorum's decision alone, with the new key's consent, an epoch at a time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chain.primitives import modules
from chain.primitives.block import Block, decode_block
from chain.primitives.certificate import quorum, validators_hash
from chain.primitives.consent import sign_consent
from chain.primitives.modules import (
    ADD_VALIDATOR,
    APPROVE_PROPOSAL,
    EPOCH_ENDED_EVENT,
    EXECUTE,
    FORCE_EPOCH,
    GOVERNANCE,
    PROPOSE,
    REMOVE_VALIDATOR,
    REVOKE,
    REVOKED_EVENT,
    ROTATE_VALIDATOR,
    SET_PARAMETER,
    VALIDATOR_ADDED_EVENT,
    VALIDATOR_REMOVED_EVENT,
)
from chain.primitives.network import MAX_VALIDATORS
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS
from chain.rules.admission import Lane, check_admission, special_roles
from chain.rules.call import BlockContext

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from chain.rules.state import State
    from tests.chain.rules.conftest import Chain, MakeChain

INVALID, BAD_CONSENT = RejectionReason.INVALID_CHANGE, RejectionReason.BAD_CONSENT


def consent(chain: Chain, name: str, *, signer: str | None = None, **fields: Any) -> tuple[bytes, int, bytes]:
    """Public key, expiry and signature, as the calls take them."""
    values: dict[str, Any] = {"chain_id": chain.network.chain_id, "expires_at_ms": 2**60, **fields}
    signed = sign_consent(chain.key(signer or name), **values)
    return chain.key(name).public_key, signed.expires_at_ms, signed.signature


def adding(chain: Chain, name: str, **fields: Any) -> bytes:
    return ADD_VALIDATOR.encode(*consent(chain, name, **fields))


def removing(chain: Chain, name: str) -> bytes:
    return REMOVE_VALIDATOR.encode(chain.address(name))


def rotating(chain: Chain, old: str, new: str, **fields: Any) -> bytes:
    return ROTATE_VALIDATOR.encode(chain.address(old), *consent(chain, new, **fields))


def decide(chain: Chain, call_data: bytes, names: list[str]) -> None:
    """Governance makes the change, after which these are the validators."""
    chain.govern(GOVERNANCE, call_data)
    chain.validators = names
    assert chain.read().validators() == tuple(chain.address(name) for name in names)


def assert_impossible(chain: Chain, call_data: bytes, reason: RejectionReason = INVALID, says: str = "") -> None:
    """A quorum wants it, and it cannot be."""
    *others, last = chain.decision(GOVERNANCE, call_data)
    assert says in chain.fail(last, reason, after=others).message


def boundary(chain: Chain, state_before: State) -> bool:
    """Whether the head is the last block of its epoch, as anybody sees who knows the epoch's validators."""
    return chain.head.next_validators_hash != validators_hash(chain.head.epoch, state_before.validators())


# The three changes


def test_a_validator_is_added_at_the_end(make_chain: MakeChain) -> None:
    chain = make_chain(validators=2)
    outcome = chain.govern(GOVERNANCE, adding(chain, "newcomer"))
    state = chain.read()
    assert (state.epoch(), state.validators()[2:]) == (1, (chain.address("newcomer"),))
    added, ended, _executed = outcome.results[-1].logs
    key = chain.key("newcomer")
    assert VALIDATOR_ADDED_EVENT.decode(added.topics, added.data) == {
        "validator": key.address,
        "publicKey": key.public_key,
    }
    assert EPOCH_ENDED_EVENT.decode(ended.topics, ended.data) == {
        "nextEpoch": 1,
        "validators": list(state.validators()),
    }
    epoch, validators = modules.VALIDATORS.decode_output(chain.raw_view(GOVERNANCE, modules.VALIDATORS.encode()))
    assert (epoch, tuple(validators)) == (1, state.validators())


def test_a_removed_validator_leaves_its_place(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    before = chain.read()
    outcome = chain.govern(GOVERNANCE, removing(chain, "validator-1"))
    assert chain.read().validators() == tuple(chain.address(f"validator-{index}") for index in (0, 2, 3))
    removed, _, _ = outcome.results[-1].logs
    assert VALIDATOR_REMOVED_EVENT.decode(removed.topics, removed.data) == {"validator": chain.address("validator-1")}
    assert boundary(chain, before)
    # It has no part in the next block: neither makes it, nor has a say, nor a role.
    with pytest.raises(Rejected) as caught:
        chain.build(proposer="validator-1")
    assert caught.value.reason is RejectionReason.UNKNOWN_PROPOSER
    attempt = chain.call("validator-1", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode())
    chain.refuse(attempt, RejectionReason.NEWCOMER_CALL)


def test_a_rotated_key_has_the_old_ones_place_and_role(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.govern(GOVERNANCE, rotating(chain, "validator-1", "fresh"))
    chain.validators[1] = "fresh"
    state = chain.read()
    assert state.validators() == tuple(chain.address(name) for name in chain.validators)
    assert chain.address("fresh") in special_roles(state)
    assert chain.address("validator-1") not in special_roles(state)
    chain.adopt(chain.build(proposer="fresh"))
    # Without a coin it proposes, at any fee, in a block and in the mempool
    chain.set_parameter("base_fee_atoms", 10**18)
    transaction = chain.call("fresh", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode())
    block = BlockContext(chain.network.chain_id, chain.head.height + 1, chain.head.time_ms + 1, chain.recover)
    admission = check_admission(
        chain.read(), transaction, block, next_nonce=lambda _: transaction.nonce, roles=special_roles(chain.read())
    )
    assert (admission.lane, admission.fee) == (Lane.ROLE, 0)
    chain.add(transaction)


def test_one_validator_alone_rotates_its_key(chain: Chain) -> None:
    decide(chain, rotating(chain, "validator-0", "fresh"), ["fresh"])
    chain.adopt(chain.build())
    assert (chain.head.epoch, chain.head.proposer) == (1, chain.address("fresh"))
    with pytest.raises(Rejected):
        chain.build(proposer="validator-0")


# Bounds


def test_there_are_never_fewer_than_one(make_chain: MakeChain) -> None:
    chain = make_chain(validators=2)
    decide(chain, removing(chain, "validator-0"), ["validator-1"])
    assert_impossible(chain, removing(chain, "validator-1"), says="nobody would be left")


def test_there_are_never_more_than_a_bitmap_holds(make_chain: MakeChain) -> None:
    chain = make_chain(validators=MAX_VALIDATORS)
    assert_impossible(chain, adding(chain, "one-more"), says="at most 60")
    chain.govern(GOVERNANCE, rotating(chain, "validator-59", "fresh"))
    chain.validators[59] = "fresh"
    chain.govern(GOVERNANCE, removing(chain, "fresh"))
    chain.validators.pop()
    chain.govern(GOVERNANCE, adding(chain, "last"))


def test_who_is_one_is_not_added_and_who_is_none_does_not_leave(make_chain: MakeChain) -> None:
    chain = make_chain(validators=3)
    assert_impossible(chain, adding(chain, "validator-2"), says="already")
    assert_impossible(chain, rotating(chain, "validator-1", "validator-2"), says="already")
    assert_impossible(chain, rotating(chain, "validator-1", "validator-1"), says="already")
    for stranger in ("alice", "attester"):
        assert_impossible(chain, removing(chain, stranger), says="no validator")
        assert_impossible(chain, rotating(chain, stranger, "fresh"), says="no validator")
    for address in (ZERO_ADDRESS, GOVERNANCE):
        assert_impossible(chain, REMOVE_VALIDATOR.encode(address), says="no validator")


@pytest.mark.parametrize("how", ["remove", "rotate"])
def test_a_key_that_has_left_never_returns(make_chain: MakeChain, how: str) -> None:
    chain = make_chain(validators=4)
    others = ["validator-1", "validator-2", "validator-3"]
    old_consent = adding(chain, "third")
    if how == "remove":
        decide(chain, removing(chain, "validator-0"), others)
    else:
        decide(chain, rotating(chain, "validator-0", "a"), ["a", *others])
    for call_data in (adding(chain, "validator-0"), rotating(chain, "validator-1", "validator-0")):
        assert_impossible(chain, call_data, says="never returns")
    # So a consent is good for once, although it has not expired.
    chain.govern(GOVERNANCE, old_consent)
    chain.validators.append("third")
    decide(chain, removing(chain, "third"), chain.validators[:-1])
    assert_impossible(chain, old_consent, says="never returns")
    # Also within one block.
    first = chain.validators[0]
    changes = [adding(chain, "fourth"), removing(chain, "fourth")]
    chain.add(*(chain.call(first, GOVERNANCE, PROPOSE, GOVERNANCE, data, later=i) for i, data in enumerate(changes)))
    made = chain.read().proposal_count()
    for name in chain.validators[1:]:
        chain.add(*(chain.call(name, GOVERNANCE, APPROVE_PROPOSAL, made - 1 + i, later=i) for i in range(2)))
    chain.add(*(chain.call(first, GOVERNANCE, EXECUTE, made - 1 + i, later=i) for i in range(2)))
    assert_impossible(chain, adding(chain, "fourth"), says="never returns")


# Consent


def test_nobody_becomes_a_validator_without_consenting(make_chain: MakeChain) -> None:
    chain = make_chain(validators=2)
    public_key, expires_at_ms, signature = consent(chain, "x")
    for call_data in (
        adding(chain, "x", signer="validator-0"),
        adding(chain, "x", chain_id=chain.network.chain_id + 1),
        ADD_VALIDATOR.encode(public_key, expires_at_ms + 1, signature),
        ADD_VALIDATOR.encode(chain.key("y").public_key, expires_at_ms, signature),
        ADD_VALIDATOR.encode(public_key, expires_at_ms, b""),
        ADD_VALIDATOR.encode(b"", expires_at_ms, signature),
        ADD_VALIDATOR.encode(public_key + b"\0", expires_at_ms, signature),
        rotating(chain, "validator-0", "x", signer="validator-0"),
        rotating(chain, "validator-0", "x", chain_id=1),
    ):
        assert_impossible(chain, call_data, BAD_CONSENT)


def test_a_consent_expires_to_the_millisecond(make_chain: MakeChain) -> None:
    chain = make_chain(validators=1)
    chain.add(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, adding(chain, "x", expires_at_ms=9_000)))
    execute = chain.call("validator-0", GOVERNANCE, EXECUTE, 1)
    chain.fail(execute, BAD_CONSENT, time_ms=9_001)
    assert chain.build(execute, time_ms=9_000).outcome.failures == (None,)


def test_a_signature_is_looked_at_only_where_everything_else_is_right(make_chain: MakeChain) -> None:
    """So that whoever is no quorum cannot make validators recover keys: the count of approvals comes first."""
    chain = make_chain(validators=4)
    chain.add(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, adding(chain, "x", signer="y")))
    chain.fail(chain.call("validator-0", GOVERNANCE, EXECUTE, 1), RejectionReason.QUORUM_MISSING)


# Epochs and headers


def test_the_epoch_begins_with_the_next_block(make_chain: MakeChain) -> None:
    chain = make_chain(validators=2)
    before = chain.read()
    chain.add()
    assert (chain.head.epoch, boundary(chain, before)) == (0, False)
    # The block that decides is its epoch's last, made by a validator of that epoch, and names the next ones.
    chain.govern(GOVERNANCE, rotating(chain, "validator-0", "fresh"))
    assert (chain.head.epoch, boundary(chain, before)) == (0, True)
    assert chain.head.next_validators_hash == validators_hash(1, (chain.address("fresh"), chain.address("validator-1")))
    assert chain.head.proposer == chain.address("validator-0")
    chain.validators[0] = "fresh"
    # The next one is of the new epoch, and no boundary.
    following = chain.read()
    chain.add()
    assert (chain.head.epoch, boundary(chain, following)) == (1, False)


@pytest.mark.parametrize("epoch", [0, 2, 2**63 - 1])
def test_a_header_of_another_epoch_is_refused(make_chain: MakeChain, epoch: int) -> None:
    chain = make_chain(validators=1)
    chain.govern(GOVERNANCE, FORCE_EPOCH.encode())
    block = chain.build().block
    assert block.header.epoch == 1
    forged = Block(msgspec.structs.replace(block.header, epoch=epoch), block.transactions)
    with pytest.raises(Rejected) as caught:
        chain.check(forged)
    assert caught.value.reason is RejectionReason.WRONG_EPOCH


@pytest.mark.parametrize("wrong_epoch", [0, 2])
def test_a_header_names_the_next_epoch_by_its_number(make_chain: MakeChain, wrong_epoch: int) -> None:
    chain = make_chain(validators=1)
    block = chain.build(*chain.decision(GOVERNANCE, FORCE_EPOCH.encode())).block
    wrong = validators_hash(wrong_epoch, chain.read().validators())
    forged = Block(msgspec.structs.replace(block.header, next_validators_hash=wrong), block.transactions)
    with pytest.raises(Rejected) as caught:
        chain.check(forged)
    assert (caught.value.reason, caught.value.values["field"]) == (
        RejectionReason.WRONG_ROOT,
        "next_validators_hash",
    )


def test_a_forced_epoch_changes_nothing_but_its_number(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    before = chain.read()
    chain.govern(GOVERNANCE, FORCE_EPOCH.encode())
    assert boundary(chain, before)
    assert (chain.read().epoch(), chain.read().validators()) == (1, before.validators())


def test_several_changes_in_one_block_make_one_epoch(make_chain: MakeChain) -> None:
    chain = make_chain(validators=1)
    first = "validator-0"
    changes = [adding(chain, "a"), FORCE_EPOCH.encode(), rotating(chain, "a", "b")]
    chain.add(*(chain.call(first, GOVERNANCE, PROPOSE, GOVERNANCE, data, later=i) for i, data in enumerate(changes)))
    # With "a" in the set, one approval of two is none too many: the rest of the block counts the new set.
    execution = [chain.call(first, GOVERNANCE, EXECUTE, number, later=number - 1) for number in (1, 2, 3)]
    built = chain.build(*execution)
    assert [why and why.reason for why in built.outcome.failures] == [
        None,
        RejectionReason.QUORUM_MISSING,
        RejectionReason.QUORUM_MISSING,
    ]
    # Forced first, and then changed, it is one epoch.
    chain.add(
        chain.call(first, GOVERNANCE, EXECUTE, 2),
        chain.call(first, GOVERNANCE, EXECUTE, 1, later=1),
    )
    assert (chain.read().epoch(), len(chain.read().validators())) == (1, 2)


# Votes on proposals


def test_approvals_of_those_who_left_lapse_and_their_proposals_harm_nobody(make_chain: MakeChain) -> None:
    chain = make_chain(validators=5)  # q = 4
    quota = SET_PARAMETER.encode("account_quota", 77)
    chain.add(
        chain.call("validator-4", GOVERNANCE, PROPOSE, GOVERNANCE, quota),
        chain.call("validator-3", GOVERNANCE, APPROVE_PROPOSAL, 1),
        chain.call("validator-2", GOVERNANCE, APPROVE_PROPOSAL, 1),
    )
    decide(chain, removing(chain, "validator-4"), [f"validator-{index}" for index in range(4)])  # q = 3
    proposal = chain.read().proposal(1)
    assert proposal is not None
    assert len(proposal.approvals) == 3  # Of which two count.
    chain.fail(chain.call("validator-0", GOVERNANCE, EXECUTE, 1), RejectionReason.QUORUM_MISSING)
    chain.add(chain.call("validator-1", GOVERNANCE, APPROVE_PROPOSAL, 1))
    chain.add(chain.call("validator-0", GOVERNANCE, EXECUTE, 1))
    assert chain.read().parameters().account_quota == 77


def test_a_removed_validator_cannot_undo_its_removal_in_the_same_block(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.give("validator-3")
    removal = chain.decision(GOVERNANCE, removing(chain, "validator-3"))
    made = chain.read().proposal_count() + 2
    attempt = [
        chain.call("validator-3", GOVERNANCE, PROPOSE, GOVERNANCE, adding(chain, "twin")),
        chain.call("validator-3", GOVERNANCE, APPROVE_PROPOSAL, made, later=1),
    ]
    built = chain.build(*removal, *attempt)
    assert [why and why.reason for why in built.outcome.failures[-2:]] == [RejectionReason.NOT_A_VALIDATOR] * 2


def revoke(chain: Chain, sender: str, number: int, **fields: int) -> Transaction:
    return chain.call(sender, GOVERNANCE, REVOKE, number, **fields)


def test_an_approval_is_taken_back_and_given_again(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.add(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode()))
    for name in ("validator-1", "validator-2"):
        chain.add(chain.call(name, GOVERNANCE, APPROVE_PROPOSAL, 1))
    outcome = chain.add(revoke(chain, "validator-1", 1))
    (log,) = outcome.results[0].logs
    assert REVOKED_EVENT.decode(log.topics, log.data) == {
        "proposalId": 1,
        "validator": chain.address("validator-1"),
    }
    chain.fail(chain.call("validator-0", GOVERNANCE, EXECUTE, 1), RejectionReason.QUORUM_MISSING)
    chain.fail(revoke(chain, "validator-1", 1), RejectionReason.NOT_APPROVED)
    chain.add(chain.call("validator-1", GOVERNANCE, APPROVE_PROPOSAL, 1))
    chain.add(chain.call("validator-3", GOVERNANCE, EXECUTE, 1))
    chain.fail(revoke(chain, "validator-1", 1), RejectionReason.PROPOSAL_CLOSED)


def test_a_proposer_takes_its_proposal_back(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.add(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode()))
    for name in ("validator-1", "validator-2"):
        chain.add(chain.call(name, GOVERNANCE, APPROVE_PROPOSAL, 1))
    withdrawal = revoke(chain, "validator-0", 1)
    chain.fail(chain.call("validator-1", GOVERNANCE, EXECUTE, 1), RejectionReason.PROPOSAL_CLOSED, after=[withdrawal])
    chain.add(withdrawal)
    for function in (APPROVE_PROPOSAL, EXECUTE, REVOKE):
        for name in ("validator-0", "validator-3"):
            chain.fail(chain.call(name, GOVERNANCE, function, 1), RejectionReason.PROPOSAL_CLOSED)
    # It takes no place among the open ones.
    chain.add(*(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode()) for _ in "1"))
    assert chain.read().open_proposals(chain.address("validator-0")) == (2,)


def test_only_validators_revoke(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.give("alice")
    chain.add(chain.call("validator-0", GOVERNANCE, PROPOSE, GOVERNANCE, FORCE_EPOCH.encode()))
    chain.fail(revoke(chain, "alice", 1), RejectionReason.NOT_A_VALIDATOR)
    chain.fail(revoke(chain, "validator-1", 1), RejectionReason.NOT_APPROVED)
    chain.fail(revoke(chain, "validator-0", 2), RejectionReason.UNKNOWN_PROPOSAL)
    decide(chain, removing(chain, "validator-0"), ["validator-1", "validator-2", "validator-3"])
    chain.refuse(revoke(chain, "validator-0", 1), RejectionReason.NEWCOMER_CALL)


# Any sequence of changes


class SetModel:
    """What the validators must be, kept by name."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.epoch = names, 0
        self.gone: set[str] = set()
        self.begun = False

    def change(self, kind: str, one: str, other: str) -> bool:
        """Applies a change that a quorum wants; whether it is possible."""
        is_free = other not in self.names and other not in self.gone
        if kind == "add" and is_free and len(self.names) < MAX_VALIDATORS:
            self.names = [*self.names, other]
        elif kind == "remove" and one in self.names and len(self.names) > 1:
            self.names = [name for name in self.names if name != one]
            self.gone.add(one)
        elif kind == "rotate" and one in self.names and is_free:
            self.names = [other if name == one else name for name in self.names]
            self.gone.add(one)
        elif kind != "epoch":
            return False
        self.begun = True
        return True


def _call_data(chain: Chain, kind: str, one: str, other: str) -> bytes:
    if kind == "add":
        return adding(chain, other)
    if kind == "remove":
        return removing(chain, one)
    return rotating(chain, one, other) if kind == "rotate" else FORCE_EPOCH.encode()


def _play_block(chain: Chain, model: SetModel, chance: random.Random) -> Block:
    """Proposes some changes, has everybody approve them, and executes them in one block, against the model."""
    names = list(model.names)
    people = [*names, *(f"person-{index}" for index in range(8))]
    wanted = [
        (chance.choice(["add", "add", "remove", "rotate", "epoch"]), chance.choice(people), chance.choice(people))
        for _ in range(chance.randrange(4))
    ]
    first, made = chance.choice(names), chain.read().proposal_count()
    sent: list[Transaction] = []
    sent_by = dict.fromkeys(names, 0)

    def send(sender: str, function: Any, *values: Any) -> None:
        sent.append(chain.call(sender, GOVERNANCE, function, *values, later=sent_by[sender]))
        sent_by[sender] += 1

    for kind, one, other in wanted:
        send(first, PROPOSE, GOVERNANCE, _call_data(chain, kind, one, other))
    for number in range(made + 1, made + 1 + len(wanted)):
        for name in names:
            if name != first:
                send(name, APPROVE_PROPOSAL, number)
    verdicts = []
    for number, (kind, one, other) in enumerate(wanted, start=made + 1):
        # Who executes must be a validator still, and enough of those who approved must be.
        willing = [name for name in names if name in model.names]
        if not willing:
            break
        has_quorum = len(willing) >= quorum(len(model.names))
        verdicts.append(has_quorum and model.change(kind, one, other))
        send(willing[0], EXECUTE, number)
    built = chain.build(*sent, proposer=chance.choice(names))
    assert built.rejected == ()
    executed = built.outcome.failures[len(sent) - len(verdicts) :]
    assert [failure is None for failure in executed] == verdicts, [str(failure) for failure in executed]
    chain.adopt(built)
    return built.block


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_changes_keeps_sets_epochs_and_headers_right(make_chain: MakeChain, seed: int) -> None:
    chance = random.Random(seed)
    count = chance.choice([1, 2, 4, 7])
    chain = make_chain(validators=count)
    model = SetModel(list(chain.validators))
    history: list[Block] = []
    for _ in range(14):
        before = chain.read()
        model.begun = False
        history.append(_play_block(chain, model, chance))
        chain.validators = model.names
        after = chain.read()
        model.epoch += model.begun
        assert after.validators() == tuple(chain.address(name) for name in model.names)
        assert 1 <= len(after.validators()) <= MAX_VALIDATORS
        assert (before.epoch(), after.epoch()) == (chain.head.epoch, model.epoch)
        assert boundary(chain, before) == model.begun
    assert model.epoch >= 3
    # From the genesis block on, the same blocks come to the same set, and nobody else's proposals pass.
    again = make_chain(validators=count)
    for block in history:
        again.follow(decode_block(block.encode()))
    assert again.head == chain.head
    assert again.state.records == chain.state.records


def test_executing_takes_room_for_a_consents_signature(make_chain: MakeChain) -> None:
    chain = make_chain(validators=1, max_block_recoveries=32)
    sent = [chain.call("validator-0", GOVERNANCE, EXECUTE, 1, later=index) for index in range(17)]
    built = chain.build(*sent)
    assert len(built.outcome.transactions) == 16
    assert [why.reason for _, why in built.rejected] == [RejectionReason.BLOCK_FULL]
