"""Which step may be taken when; and against a partner that does whatever the chains allow, nobody who is back loses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import sha256
from chain.primitives.modules import HTLC, TOKEN
from chain.primitives.swap_records import SwapStatus
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from wallet.swaps.steps import (
    LockState,
    Role,
    Situation,
    StepRefused,
    advice,
    claimable_secret,
    may_lock,
    may_refund,
)
from wallet.swaps.terms import Lock, Terms

MAKER, TAKER, CONTRACT = (Address(bytes((number,)) * 20) for number in (1, 2, 3))
SECRET = b"\x07" * 32
START, SECOND, FIRST = 1_000_000, 1_001_000, 1_002_000
MARGIN = 300
NONE, OPEN, CLAIMED, REFUNDED = SwapStatus


def make_terms(first: int = FIRST, second: int = SECOND) -> Terms:
    hash_ = sha256(SECRET)
    return Terms(
        first=Lock(
            chain_id=7,
            contract=HTLC,
            asset=TOKEN,
            value=10,
            deadline=first,
            sender=MAKER,
            recipient=TAKER,
            hash=hash_,
        ),
        second=Lock(
            chain_id=8,
            contract=CONTRACT,
            asset=ZERO_ADDRESS,
            value=20,
            deadline=second,
            sender=TAKER,
            recipient=MAKER,
            hash=hash_,
        ),
    )


def state(
    status: SwapStatus = NONE,
    now_s: int = START,
    *,
    confirmed: SwapStatus | None = None,
    clock_s: int | None = None,
    secret: bytes | None = None,
) -> LockState:
    return LockState(
        status=status,
        confirmed=status if confirmed is None else confirmed,
        secret=secret if secret is not None or status is not CLAIMED else SECRET,
        chain_s=now_s,
        clock_s=now_s if clock_s is None else clock_s,
    )


def situation(role: Role, first: LockState, second: LockState, **changes: Any) -> Situation:
    values: dict[str, Any] = {"terms": make_terms(), "margin_s": MARGIN}
    values["secret"] = SECRET if role is Role.MAKER else None
    return Situation(role=role, first=first, second=second, **{**values, **changes})


# Locking


def test_the_maker_locks_with_time_for_two_steps() -> None:
    last_s = SECOND - 2 * MARGIN
    assert may_lock(situation(Role.MAKER, state(), state())) is True
    assert may_lock(situation(Role.MAKER, state(now_s=last_s), state(now_s=last_s))) is True
    for late in (state(now_s=last_s + 1), state(clock_s=last_s + 1)):  # Whichever clock is ahead.
        for first, second in ((late, state()), (state(), late)):
            with pytest.raises(StepRefused, match="too late to lock"):
                may_lock(situation(Role.MAKER, first, second))


def test_a_lock_is_made_once() -> None:
    assert may_lock(situation(Role.MAKER, state(OPEN), state())) is False
    assert may_lock(situation(Role.TAKER, state(OPEN), state(OPEN))) is False
    for status in (CLAIMED, REFUNDED):
        with pytest.raises(StepRefused, match="before"):
            may_lock(situation(Role.MAKER, state(status), state()))
        with pytest.raises(StepRefused, match="before"):
            may_lock(situation(Role.TAKER, state(OPEN), state(status)))


def test_nobody_locks_where_the_deadlines_are_too_near_each_other() -> None:
    near = make_terms(first=SECOND + MARGIN - 1)
    for role in Role:
        with pytest.raises(StepRefused, match="apart"):
            may_lock(situation(role, state(OPEN if role is Role.TAKER else NONE), state(), terms=near))
    enough = make_terms(first=SECOND + MARGIN)
    assert may_lock(situation(Role.TAKER, state(OPEN), state(), terms=enough)) is True


def test_without_the_secret_nothing_is_locked() -> None:
    with pytest.raises(StepRefused, match="secret"):
        may_lock(situation(Role.MAKER, state(), state(), secret=None))


@pytest.mark.parametrize(
    ("first", "complaint"),
    [
        (state(NONE), "has not locked"),
        (state(OPEN, confirmed=NONE), "not confirmed"),
        (state(CLAIMED), "claimed before"),
        (state(REFUNDED), "refunded before"),
    ],
)
def test_the_taker_locks_only_behind_a_settled_lock(first: LockState, complaint: str) -> None:
    with pytest.raises(StepRefused, match=complaint):
        may_lock(situation(Role.TAKER, first, state()))


def test_the_taker_locks_only_with_time_for_the_maker() -> None:
    last_s = SECOND - MARGIN
    assert may_lock(situation(Role.TAKER, state(OPEN, last_s), state(now_s=last_s))) is True
    with pytest.raises(StepRefused, match="too late to lock"):
        may_lock(situation(Role.TAKER, state(OPEN, last_s + 1), state(now_s=last_s)))


# Claiming


def test_the_maker_shows_its_secret_only_for_a_settled_lock_that_lasts() -> None:
    last_s = SECOND - MARGIN
    assert claimable_secret(situation(Role.MAKER, state(OPEN), state(OPEN, last_s))) == SECRET
    for second, complaint in (
        (state(OPEN, last_s + 1), "too late to show"),
        (state(OPEN, clock_s=last_s + 1), "too late to show"),
        (state(OPEN, confirmed=NONE), "not confirmed"),
        (state(NONE), "has not locked"),
        (state(REFUNDED), "went back"),
        (state(OPEN, SECOND), "lapsed"),
    ):
        with pytest.raises(StepRefused, match=complaint):
            claimable_secret(situation(Role.MAKER, state(OPEN), second))


def test_once_the_secret_was_shown_only_the_chain_says_that_it_is_too_late() -> None:
    last = state(OPEN, SECOND - 1, clock_s=SECOND + 100, confirmed=NONE)
    assert claimable_secret(situation(Role.MAKER, state(OPEN), last, was_shown=True)) == SECRET
    assert claimable_secret(situation(Role.MAKER, state(CLAIMED), last)) == SECRET  # Lost its note of it, but sees it.
    with pytest.raises(StepRefused, match="lapsed"):
        claimable_secret(situation(Role.MAKER, state(OPEN), state(OPEN, SECOND), was_shown=True))


def test_the_maker_claims_nothing_before_it_has_locked_and_nothing_without_the_secret() -> None:
    with pytest.raises(StepRefused, match="you have not locked"):
        claimable_secret(situation(Role.MAKER, state(), state(OPEN)))
    with pytest.raises(StepRefused, match="does not have the secret"):
        claimable_secret(situation(Role.MAKER, state(OPEN), state(OPEN), secret=None))


def test_the_taker_claims_with_what_was_shown_to_the_last_second() -> None:
    shown = state(CLAIMED, FIRST)
    assert claimable_secret(situation(Role.TAKER, state(OPEN, FIRST - 1, clock_s=FIRST + 9), shown)) == SECRET
    for first, second, complaint in (
        (state(OPEN, FIRST), shown, "lapsed"),
        (state(REFUNDED), shown, "went back"),
        (state(NONE), shown, "has not locked"),
        (state(OPEN), state(OPEN), "not claimed yet"),
        (state(OPEN), state(REFUNDED), "not claimed yet"),
        (state(OPEN), state(CLAIMED, secret=bytes(32)), "lies"),
    ):
        with pytest.raises(StepRefused, match=complaint):
            claimable_secret(situation(Role.TAKER, first, second))


def test_a_claim_is_made_once() -> None:
    assert claimable_secret(situation(Role.MAKER, state(OPEN), state(CLAIMED))) is None
    assert claimable_secret(situation(Role.TAKER, state(CLAIMED), state(CLAIMED))) is None


# Refunds


def test_a_refund_from_the_deadline_on_and_once() -> None:
    for role, deadline in ((Role.MAKER, FIRST), (Role.TAKER, SECOND)):

        def at(status: SwapStatus, now_s: int, role: Role = role) -> Situation:
            own = state(status, now_s)
            return situation(role, *((own, state()) if role is Role.MAKER else (state(OPEN), own)))

        assert may_refund(at(OPEN, deadline)) is True
        assert may_refund(at(REFUNDED, deadline)) is False
        for status, now_s, complaint in (
            (OPEN, deadline - 1, "in 1 s"),
            (NONE, deadline, "locked nothing"),
            (CLAIMED, deadline, "claim yours"),
        ):
            with pytest.raises(StepRefused, match=complaint):
                may_refund(at(status, now_s))


@pytest.mark.parametrize(
    ("role", "first", "second", "begins"),
    [
        (Role.MAKER, state(), state(), "lock"),
        (Role.TAKER, state(OPEN), state(), "lock"),
        (Role.TAKER, state(), state(), "nothing"),
        (Role.MAKER, state(OPEN), state(), "wait"),
        (Role.MAKER, state(OPEN), state(OPEN), "claim"),
        (Role.TAKER, state(OPEN), state(CLAIMED), "claim"),
        (Role.MAKER, state(OPEN, FIRST), state(REFUNDED), "refund"),
        (Role.MAKER, state(REFUNDED), state(), "over"),
        (Role.TAKER, state(CLAIMED), state(CLAIMED), "done"),
    ],
)
def test_advice(role: Role, first: LockState, second: LockState, begins: str) -> None:
    assert advice(situation(role, first, second)).startswith(begins)


# Both chains, an honest party that is killed at times, and a partner that does whatever the chains allow


@dataclass
class World:
    """Two locks on two chains, who knows the secret, and the time."""

    terms: Terms
    honest: Role
    now_s: int = START
    status: dict[str, SwapStatus] = field(default_factory=lambda: {"first": NONE, "second": NONE})
    shown: bool = False
    was_shown: bool = False

    def view(self) -> Situation:
        """As the honest party's wallet sees it."""
        seen = {name: state(status, self.now_s) for name, status in self.status.items()}
        secret = SECRET if self.honest is Role.MAKER else None
        return Situation(
            terms=self.terms, role=self.honest, margin_s=MARGIN, secret=secret, was_shown=self.was_shown, **seen
        )

    def lock(self, name: str) -> None:
        """Chains take a lock until its deadline."""
        if self.status[name] is NONE and self.now_s < getattr(self.terms, name).deadline:
            self.status[name] = OPEN

    def claim(self, name: str) -> None:
        if self.status[name] is OPEN and self.now_s < getattr(self.terms, name).deadline:
            self.status[name] = CLAIMED
            self.shown = True

    def refund(self, name: str) -> None:
        if self.status[name] is OPEN and self.now_s >= getattr(self.terms, name).deadline:
            self.status[name] = REFUNDED

    def cheat(self, plan: dict[str, int]) -> None:
        """The partner does each thing from the second on that it has planned, if it can, as soon as it can."""
        theirs, ours = ("second", "first") if self.honest is Role.MAKER else ("first", "second")
        if self.now_s >= plan["lock"]:
            self.lock(theirs)
        if self.now_s >= plan["claim"] and (self.shown or self.honest is Role.TAKER):
            self.claim(ours)
        if self.now_s >= plan["refund"]:
            self.refund(theirs)

    def act(self, *, killed: str) -> bool:
        """The honest party's wallet, run once: each command that it would take now; whether it was killed in one."""
        mine, wanted = ("first", "second") if self.honest is Role.MAKER else ("second", "first")
        for question, action, name in (
            (may_lock, self.lock, mine),
            (claimable_secret, self.claim, wanted),
            (may_refund, self.refund, mine),
        ):
            try:
                if not question(self.view()):
                    continue
            except StepRefused:
                continue
            if killed == "before":
                return True
            if question is claimable_secret and self.honest is Role.MAKER:
                self.was_shown = True
                if killed == "after showing":  # It was sent, is in no block, and the partner has seen it.
                    self.shown = True
                    return True
            action(name)
        return False


NEVER_S = 10**6
# What is decided by a margin is decided near it.
NEAR_S = st.one_of(
    st.integers(0, 5),
    st.sampled_from([MARGIN // 8, MARGIN // 4, MARGIN // 2]),
    st.integers(MARGIN - 5, MARGIN + MARGIN // 2),
    st.integers(0, 3 * MARGIN),
)


@settings(max_examples=1_500)
@given(
    honest=st.sampled_from(Role),
    lasts_s=st.one_of(st.integers(2 * MARGIN, 3 * MARGIN), st.integers(1, 4 * MARGIN)),
    apart_s=st.one_of(st.integers(1, 5), st.integers(MARGIN, MARGIN + 5), st.integers(1, 2 * MARGIN)),
    plan_s=st.fixed_dictionaries({name: NEAR_S | st.just(NEVER_S) for name in ("lock", "claim", "refund")}),
    away_s=st.lists(st.sampled_from([MARGIN // 2 - 2, MARGIN // 4, 1]), min_size=15, max_size=15),
    killed=st.lists(st.sampled_from(["after showing", "", "before"]), min_size=10, max_size=10),
)
@example(  # A taker that locks at the last moment, and a maker that would show its secret for that.
    honest=Role.MAKER,
    lasts_s=2 * MARGIN,
    apart_s=MARGIN,
    plan_s={"lock": MARGIN // 4, "claim": 5, "refund": NEVER_S},
    away_s=[MARGIN // 2 - 2],
    killed=["", "after showing"],
)
def test_who_is_back_in_time_never_loses(
    honest: Role,
    lasts_s: int,
    apart_s: int,
    plan_s: dict[str, int],
    away_s: list[int],
    killed: list[str],
) -> None:
    """Back at least twice within a margin, and killed at most every other time."""
    second = START + lasts_s
    world = World(make_terms(first=second + apart_s, second=second), honest)
    # The partner acts late, for that is where it hurts: so many seconds before the deadline of what it acts on.
    deadlines = {"lock": second, "claim": second if honest is Role.TAKER else second + apart_s, "refund": second}
    plan = {name: 2 * FIRST if wait_s == NEVER_S else deadlines[name] - wait_s for name, wait_s in plan_s.items()}
    runs, back_s, was_killed = 0, START, False
    while world.now_s < world.terms.first.deadline + MARGIN:
        world.cheat(plan)
        if world.now_s >= back_s:
            how = killed[runs % len(killed)] if not was_killed else ""
            was_killed = world.act(killed=how)
            back_s = world.now_s + away_s[runs % len(away_s)]
            runs += 1
            world.cheat(plan)
        world.now_s += 1
    world.act(killed="")
    mine, wanted = ("first", "second") if honest is Role.MAKER else ("second", "first")
    assert world.status[mine] is not OPEN
    assert world.status[mine] is not CLAIMED or world.status[wanted] is CLAIMED


def test_terms_that_are_changed_are_other_locks() -> None:
    terms = make_terms()
    for name, value in (
        ("value", 11),
        ("deadline", FIRST + 1),
        ("asset", CONTRACT),
        ("recipient", MAKER),
        ("sender", TAKER),
        ("hash", Hash32(bytes(32))),
    ):
        assert msgspec.structs.replace(terms.first, **{name: value}).id != terms.first.id
