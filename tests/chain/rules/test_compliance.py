"""Who may write credentials, what they say, and who meets a policy at which moment."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives import modules
from chain.primitives.market import (
    ADD_AUTHORITY,
    AUTHORITY_ADDED_EVENT,
    AUTHORITY_REMOVED_EVENT,
    CREDENTIAL,
    CREDENTIAL_GRANTED_EVENT,
    CREDENTIAL_REVOKED_EVENT,
    DEFINE_POLICY,
    GRANT_CREDENTIAL,
    IS_AUTHORITY,
    POLICY,
    POLICY_COUNT,
    POLICY_DEFINED_EVENT,
    REMOVE_AUTHORITY,
    REVOKE_CREDENTIAL,
    asset_address,
)
from chain.primitives.market_records import Credential, Policy
from chain.primitives.message_pack import encode
from chain.primitives.modules import MARKET
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from chain.rules.admission import special_roles
from chain.rules.compliance import (
    MAX_AUTHORITIES,
    MAX_POLICIES,
    MAX_POLICY_AUTHORITIES,
    MAX_POLICY_COUNTRIES,
    authorities,
    check_policy,
    find_policy,
    is_eligible,
)
from chain.rules.governance import MAX_CALL_DATA_BYTES
from chain.rules.state import State

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

EVIDENCE = b"\x05" * 32
SWITZERLAND, GERMANY, KOREA = 756, 276, 408
EXPIRY_S = 2**40
NOBODY = [ZERO_ADDRESS, *modules.MODULES.values(), modules.TREASURY, asset_address(1)]


@pytest.fixture
def watched(rich_chain: Chain) -> Chain:
    """`notary` and `registrar` are authorities; alice and bob hold AIT."""
    for name in ("notary", "registrar"):
        rich_chain.govern(MARKET, ADD_AUTHORITY.encode(rich_chain.address(name)))
    return rich_chain


def grant(chain: Chain, authority: str, subject: str | Address, **changes: Any) -> Transaction:
    """grantCredential of something acceptable, but for these changes."""
    terms = {"country": SWITZERLAND, "level": 2, "expires_at": EXPIRY_S, "evidence": EVIDENCE}
    later = changes.pop("later", 0)
    address = chain.address(subject) if isinstance(subject, str) else subject
    return chain.call(authority, MARKET, GRANT_CREDENTIAL, address, *{**terms, **changes}.values(), later=later)


def define(chain: Chain, names: tuple[str, ...], allowed: bool, countries: tuple[int, ...], level: int) -> int:
    """A policy of these authorities; its number."""
    accepted = [chain.address(name) for name in names]
    outcome = chain.govern(MARKET, DEFINE_POLICY.encode(accepted, allowed, countries, level))
    log = outcome.results[-1].logs[0]
    number: int = POLICY_DEFINED_EVENT.decode(log.topics, log.data)["policy"]
    return number


def eligible(chain: Chain, policy: int, name: str, time_s: int = 0) -> bool:
    return is_eligible(chain.read(), policy, chain.address(name), time_s or chain.next_block.time_ms // 1000)


def refused(chain: Chain, call_data: bytes) -> Rejected:
    """The refusal of a proposal's execution, which must leave nothing behind."""
    *before, execution = chain.decision(MARKET, call_data)
    failure = chain.build(*before, execution).outcome.failures[-1]
    assert failure is not None
    return chain.fail(execution, failure.reason, after=before)


def answer(chain: Chain, function: Function, *arguments: Any) -> tuple[Any, ...]:
    return function.decode_output(chain.raw_view(MARKET, function.encode(*arguments)))


# Authorities


def test_authorities_come_and_go_by_governance(chain: Chain) -> None:
    notary = chain.address("notary")
    outcome = chain.govern(MARKET, ADD_AUTHORITY.encode(notary))
    log = outcome.results[-1].logs[0]
    assert (log.address, AUTHORITY_ADDED_EVENT.decode(log.topics, log.data)) == (MARKET, {"authority": notary})
    assert authorities(chain.read()) == (notary,)
    assert answer(chain, IS_AUTHORITY, notary) == (True,)
    assert notary in special_roles(chain.read())
    assert refused(chain, ADD_AUTHORITY.encode(notary)).reason is RejectionReason.INVALID_CHANGE

    outcome = chain.govern(MARKET, REMOVE_AUTHORITY.encode(notary))
    log = outcome.results[-1].logs[0]
    assert AUTHORITY_REMOVED_EVENT.decode(log.topics, log.data) == {"authority": notary}
    assert answer(chain, IS_AUTHORITY, notary) == (False,)
    assert state_key(Domain.AUTHORITIES) not in chain.state.records
    assert refused(chain, REMOVE_AUTHORITY.encode(notary)).reason is RejectionReason.INVALID_CHANGE


@pytest.mark.parametrize("nobody", NOBODY)
def test_an_authority_is_an_ordinary_address(chain: Chain, nobody: Address) -> None:
    assert refused(chain, ADD_AUTHORITY.encode(nobody)).reason is RejectionReason.INVALID_CHANGE


def test_there_are_so_many_authorities_and_no_more(chain: Chain) -> None:
    entered = tuple(Address(bytes(19) + bytes((number + 1,))) for number in range(MAX_AUTHORITIES))
    chain.state = chain.state.with_changes({state_key(Domain.AUTHORITIES): encode(entered[1:])})
    chain.govern(MARKET, ADD_AUTHORITY.encode(chain.address("notary")))
    assert refused(chain, ADD_AUTHORITY.encode(entered[0])).reason is RejectionReason.INVALID_CHANGE


@pytest.mark.parametrize("sender", ["alice", "validator-0", "notary"])
def test_only_governance_governs(watched: Chain, sender: str) -> None:
    address = watched.address("alice")
    for function, *arguments in (
        (ADD_AUTHORITY, address),
        (REMOVE_AUTHORITY, watched.address("notary")),
        (DEFINE_POLICY, [watched.address("notary")], False, [], 0),
    ):
        call = watched.call(sender, MARKET, function, *arguments)
        watched.fail(call, RejectionReason.NOT_GOVERNANCE)


# Credentials


def test_a_credential_says_what_its_authority_wrote(watched: Chain) -> None:
    chain, notary, alice = watched, watched.address("notary"), watched.address("alice")
    outcome = chain.add(grant(chain, "notary", "alice"))
    (log,) = outcome.results[0].logs
    said = {
        "authority": notary,
        "subject": alice,
        "country": SWITZERLAND,
        "level": 2,
        "expiresAt": EXPIRY_S,
        "evidenceHash": EVIDENCE,
    }
    assert (log.address, CREDENTIAL_GRANTED_EVENT.decode(log.topics, log.data)) == (MARKET, said)
    assert answer(chain, CREDENTIAL, notary, alice) == (SWITZERLAND, 2, EXPIRY_S, EVIDENCE)
    assert answer(chain, CREDENTIAL, chain.address("registrar"), alice) == (0, 0, 0, bytes(32))

    chain.add(grant(chain, "notary", "alice", country=GERMANY, level=0, expires_at=2**64 - 1))
    assert answer(chain, CREDENTIAL, notary, alice) == (GERMANY, 0, 2**64 - 1, EVIDENCE)

    outcome = chain.add(chain.call("notary", MARKET, REVOKE_CREDENTIAL, alice))
    (log,) = outcome.results[0].logs
    assert CREDENTIAL_REVOKED_EVENT.decode(log.topics, log.data) == {"authority": notary, "subject": alice}
    assert answer(chain, CREDENTIAL, notary, alice) == (0, 0, 0, bytes(32))
    assert state_key(Domain.CREDENTIAL, notary + alice) not in chain.state.records


def test_only_authorities_write_and_each_its_own(watched: Chain) -> None:
    chain, alice = watched, watched.address("alice")
    chain.fail(grant(chain, "bob", "alice"), RejectionReason.NOT_AN_AUTHORITY)
    chain.fail(chain.call("bob", MARKET, REVOKE_CREDENTIAL, alice), RejectionReason.NOT_AN_AUTHORITY)
    chain.refuse(grant(chain, "stranger", "alice"), RejectionReason.NEWCOMER_CALL)
    chain.add(grant(chain, "notary", "alice"))
    revoke = chain.call("registrar", MARKET, REVOKE_CREDENTIAL, alice)
    chain.fail(revoke, RejectionReason.UNKNOWN_CREDENTIAL)
    chain.fail(
        chain.call("notary", MARKET, REVOKE_CREDENTIAL, chain.address("bob")), RejectionReason.UNKNOWN_CREDENTIAL
    )


def test_a_removed_authority_writes_nothing_more(watched: Chain) -> None:
    chain = watched
    chain.give("notary")
    chain.add(grant(chain, "notary", "alice"))
    chain.govern(MARKET, REMOVE_AUTHORITY.encode(chain.address("notary")))
    chain.fail(grant(chain, "notary", "bob"), RejectionReason.NOT_AN_AUTHORITY)
    revoke = chain.call("notary", MARKET, REVOKE_CREDENTIAL, chain.address("alice"))
    chain.fail(revoke, RejectionReason.NOT_AN_AUTHORITY)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"country": 0}, "country"),
        ({"country": 1000}, "country"),
        ({"country": 65_535}, "country"),
        ({"expires_at": 0}, "expiresAt"),
    ],
)
def test_credentials_that_say_nothing(watched: Chain, change: dict[str, int], field: str) -> None:
    rejected = watched.fail(grant(watched, "notary", "alice", **change), RejectionReason.INVALID_CREDENTIAL)
    assert rejected.values["field"] == field


def test_a_credential_must_not_have_expired_on_arrival(watched: Chain) -> None:
    now_s = watched.next_block.time_ms // 1000
    late = grant(watched, "notary", "alice", expires_at=now_s)
    watched.fail(late, RejectionReason.INVALID_CREDENTIAL)
    watched.add(grant(watched, "notary", "alice", expires_at=now_s + 1))


@pytest.mark.parametrize("nobody", NOBODY)
def test_a_credential_is_about_an_ordinary_address(watched: Chain, nobody: Address) -> None:
    watched.fail(grant(watched, "notary", nobody), RejectionReason.INVALID_CREDENTIAL)


# Policies


def test_policies_are_numbered_and_kept(watched: Chain) -> None:
    assert define(watched, ("notary",), True, (SWITZERLAND, GERMANY), 1) == 1
    assert define(watched, ("registrar", "notary"), False, (), 0) == 2
    notary, registrar = (watched.address(name) for name in ("notary", "registrar"))
    assert answer(watched, POLICY_COUNT) == (2,)
    assert answer(watched, POLICY, 1) == ([notary], True, [SWITZERLAND, GERMANY], 1)
    assert answer(watched, POLICY, 2) == ([registrar, notary], False, [], 0)
    assert answer(watched, POLICY, 0) == ([], False, [], 0)
    for number in (3, 2**32 - 1):
        for ask in (lambda n: answer(watched, POLICY, n), lambda n: check_policy(watched.read(), n)):
            with pytest.raises(Rejected) as caught:
                ask(number)
            assert caught.value.reason is RejectionReason.UNKNOWN_POLICY
        assert find_policy(watched.read(), number) is None


def test_policies_that_nobody_could_meet_or_that_repeat_themselves(watched: Chain) -> None:
    notary, alice = watched.address("notary"), watched.address("alice")
    for arguments in (
        ([], False, [], 0),
        ([notary, notary], False, [], 0),
        ([alice], False, [], 0),
        ([notary, alice], False, [], 0),
        ([notary] * (MAX_POLICY_AUTHORITIES + 1), False, [], 0),
        ([notary], True, [], 0),
        ([notary], True, [0], 0),
        ([notary], False, [1000], 0),
        ([notary], False, [SWITZERLAND, GERMANY, SWITZERLAND], 0),
        ([notary], False, list(range(1, MAX_POLICY_COUNTRIES + 2)), 0),
    ):
        assert refused(watched, DEFINE_POLICY.encode(*arguments)).reason is RejectionReason.INVALID_POLICY


def test_the_largest_policy_fits_a_proposal(watched: Chain) -> None:
    names = [f"authority-{number}" for number in range(MAX_POLICY_AUTHORITIES)]
    for name in names:
        watched.govern(MARKET, ADD_AUTHORITY.encode(watched.address(name)))
    accepted = [watched.address(name) for name in names]
    call_data = DEFINE_POLICY.encode(accepted, True, list(range(1, MAX_POLICY_COUNTRIES + 1)), 255)
    assert len(call_data) <= MAX_CALL_DATA_BYTES
    watched.govern(MARKET, call_data)
    assert answer(watched, POLICY, 1)[0] == accepted


def test_there_are_so_many_policies_and_no_more(watched: Chain) -> None:
    key = state_key(Domain.POLICY_COUNT)
    watched.state = watched.state.with_changes({key: encode(MAX_POLICIES - 1)})
    assert define(watched, ("notary",), False, (), 0) == MAX_POLICIES
    refusal = refused(watched, DEFINE_POLICY.encode([watched.address("notary")], False, [], 0))
    assert refusal.reason is RejectionReason.INVALID_POLICY


# Who meets one


def test_no_policy_asks_nothing(chain: Chain) -> None:
    assert eligible(chain, 0, "stranger")


def test_level_country_and_authority_all_count(watched: Chain) -> None:
    chain = watched
    swiss = define(chain, ("notary",), True, (SWITZERLAND,), 2)
    elsewhere = define(chain, ("notary",), False, (SWITZERLAND,), 2)
    anywhere = define(chain, ("registrar", "notary"), False, (), 0)
    policies = (swiss, elsewhere, anywhere)
    assert [eligible(chain, policy, "alice") for policy in policies] == [False, False, False]
    chain.add(grant(chain, "notary", "alice"), grant(chain, "notary", "bob", country=KOREA, later=1))
    assert [eligible(chain, policy, "alice") for policy in policies] == [True, False, True]
    assert [eligible(chain, policy, "bob") for policy in policies] == [False, True, True]
    chain.add(grant(chain, "notary", "alice", level=1))
    assert [eligible(chain, policy, "alice") for policy in policies] == [False, False, True]
    chain.add(grant(chain, "registrar", "carol"))
    assert [eligible(chain, policy, "carol") for policy in policies] == [False, False, True]


def test_one_good_credential_is_enough(watched: Chain) -> None:
    chain = watched
    policy = define(chain, ("notary", "registrar"), True, (SWITZERLAND,), 2)
    chain.add(grant(chain, "notary", "alice", level=0), grant(chain, "registrar", "alice"))
    assert eligible(chain, policy, "alice")
    chain.add(chain.call("registrar", MARKET, REVOKE_CREDENTIAL, chain.address("alice")))
    assert not eligible(chain, policy, "alice")


def test_up_to_the_second_of_its_expiry(watched: Chain) -> None:
    policy = define(watched, ("notary",), False, (), 0)
    expiry_s = watched.next_block.time_ms // 1000 + 100
    watched.add(grant(watched, "notary", "alice", expires_at=expiry_s))
    times = (expiry_s - 1, expiry_s, expiry_s + 1)
    assert [eligible(watched, policy, "alice", time_s) for time_s in times] == [True, False, False]


def test_removing_an_authority_undoes_what_it_wrote_until_it_returns(watched: Chain) -> None:
    chain = watched
    policy = define(chain, ("notary",), False, (), 0)
    chain.add(grant(chain, "notary", "alice"))
    notary = chain.address("notary")
    assert eligible(chain, policy, "alice")
    chain.govern(MARKET, REMOVE_AUTHORITY.encode(notary))
    assert not eligible(chain, policy, "alice")
    chain.govern(MARKET, ADD_AUTHORITY.encode(notary))
    assert eligible(chain, policy, "alice")


AUTHORITIES = tuple(Address(bytes(19) + bytes((number,))) for number in (1, 2, 3))
SUBJECT = Address(b"\x09" * 20)
credentials = st.builds(
    Credential,
    st.sampled_from((1, 2, 3)),
    st.integers(0, 3),
    st.integers(8, 12),
    st.just(Hash32(EVIDENCE)),
)


class _Records(dict[bytes, bytes]):
    """A state in a dictionary: `get` is all that a reader needs."""


@given(
    registered=st.sets(st.sampled_from(AUTHORITIES)),
    accepted=st.lists(st.sampled_from(AUTHORITIES), min_size=1, unique=True),
    written=st.dictionaries(st.sampled_from(AUTHORITIES), credentials),
    countries=st.sets(st.sampled_from((1, 2, 3))),
    countries_allowed=st.booleans(),
    level=st.integers(0, 3),
    time_s=st.integers(8, 12),
)
def test_eligible_as_the_sentence_has_it(
    registered: set[Address],
    accepted: list[Address],
    written: dict[Address, Credential],
    countries: set[int],
    countries_allowed: bool,
    level: int,
    time_s: int,
) -> None:
    """A credential of an accepted, registered authority, not expired, of the level, in or not in the countries."""
    policy = Policy(tuple(accepted), countries_allowed, tuple(sorted(countries)), level)
    records = _Records(
        {
            state_key(Domain.AUTHORITIES): encode(sorted(registered)),
            state_key(Domain.POLICY_COUNT): encode(1),
            state_key(Domain.POLICY, (1).to_bytes(4, "big")): policy.encode(),
            **{
                state_key(Domain.CREDENTIAL, each + SUBJECT): credential.encode()
                for each, credential in written.items()
            },
        }
    )
    good = [
        credential
        for authority, credential in written.items()
        if authority in registered
        and authority in accepted
        and credential.level >= level
        and credential.expires_at > time_s
        and (credential.country in countries if countries_allowed else credential.country not in countries)
    ]
    assert is_eligible(State(records), 1, SUBJECT, time_s) is bool(good)
    assert not is_eligible(State(records), 1, Address(b"\x0a" * 20), time_s)


def test_answers_are_the_same_however_countries_are_ordered(watched: Chain) -> None:
    watched.add(grant(watched, "notary", "alice"))
    for countries in itertools.permutations((SWITZERLAND, GERMANY, KOREA)):
        assert eligible(watched, define(watched, ("notary",), True, countries, 0), "alice")
