"""Which step of a swap may be taken now: pure, by what both chains say and the time that is left on each.

Why whoever is back before its deadline never loses:

- The maker locks only with time for the taker to lock and for itself to claim, and the taker only what the maker has
  locked for longer than its own lock lasts, by a margin.
- The maker shows its secret only to claim a lock that is there and lasts for another margin. Once it was shown, only
  claiming helps, whatever time is left.
- A secret that was shown stands in the second lock, so from then on, and until the first lock's deadline, the taker can
  claim: at least for a margin.
- A lock that nobody has claimed by its deadline goes back to its sender.
"""

from enum import StrEnum
from typing import Final

import msgspec

from chain.primitives.hashing import sha256
from chain.primitives.swap_records import SwapStatus
from wallet.swaps.terms import Terms

DEFAULT_MARGIN_S: Final = 1_800
"""Time in which a party that was away finds the node, the fee and the block for one step."""


class Role(StrEnum):
    """Of a party."""

    MAKER = "maker"
    TAKER = "taker"


class StepRefused(Exception):
    """This step must not be taken, now or at all; the message says why in a sentence."""


class LockState(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain says of one lock."""

    status: SwapStatus
    """In the newest block."""
    confirmed: SwapStatus
    """In the newest block that will not be undone."""
    secret: bytes | None
    """Shown by a claim."""
    chain_s: int
    """Time of the newest block."""
    clock_s: int
    """Time of this machine."""

    @property
    def now_s(self) -> int:
        """The later one: for what must not be begun too late. What may still help is judged by the chain's alone."""
        return max(self.chain_s, self.clock_s)


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision depends on."""

    terms: Terms
    role: Role
    first: LockState
    second: LockState
    margin_s: int
    secret: bytes | None = None
    """The maker's own."""
    was_shown: bool = False
    """Whether the maker may have sent it before."""

    @property
    def own(self) -> LockState:
        """What this party has locked, or would."""
        return self.first if self.role is Role.MAKER else self.second

    @property
    def is_secret_hidden(self) -> bool:
        """Whether nobody but this party can know the secret yet."""
        return self.role is Role.MAKER and not self.was_shown and self.first.status is not SwapStatus.CLAIMED

    @property
    def wanted(self) -> LockState:
        """What this party gets."""
        return self.second if self.role is Role.MAKER else self.first


def may_lock(now: Situation) -> bool:
    """Whether this party's lock is still to be made; False where it stands already. Raises StepRefused."""
    if now.own.status is SwapStatus.OPEN:
        return False
    if now.own.status is not SwapStatus.NONE:
        raise StepRefused(f"this side's lock was {now.own.status.name.lower()} before")
    _check_margin(now)
    remaining_s = now.terms.second.deadline - max(now.first.now_s, now.second.now_s)
    if now.role is Role.MAKER:
        if now.secret is None:
            raise StepRefused("this wallet does not have the secret of this swap")
        needed_s = 2 * now.margin_s
        if remaining_s < needed_s:
            raise StepRefused(
                f"too late to lock: the taker must lock and you claim in {remaining_s} s, which takes {needed_s} s"
            )
        return True
    _check_first_is_locked(now)
    if remaining_s < now.margin_s:
        raise StepRefused(f"too late to lock: the maker must claim in {remaining_s} s, which takes {now.margin_s} s")
    return True


def _check_margin(now: Situation) -> None:
    between_s = now.terms.first.deadline - now.terms.second.deadline
    if between_s < now.margin_s:
        raise StepRefused(
            f"the deadlines are {between_s} s apart: the taker needs {now.margin_s} s to claim after the maker"
        )


def _check_first_is_locked(now: Situation) -> None:
    if now.first.status is SwapStatus.NONE:
        raise StepRefused("the maker has not locked yet, or not exactly what the file says")
    if now.first.status is not SwapStatus.OPEN:
        raise StepRefused(f"the maker's lock was {now.first.status.name.lower()} before")
    if now.first.confirmed is not SwapStatus.OPEN:
        raise StepRefused("the maker's lock is not confirmed yet: try again in a while")


def claimable_secret(now: Situation) -> bytes | None:
    """The secret to claim with; None where it is claimed already. Raises StepRefused."""
    if now.wanted.status is SwapStatus.CLAIMED:
        return None
    if now.wanted.status is SwapStatus.REFUNDED:
        raise StepRefused("too late: what you would claim went back to the other side")
    return _makers_secret(now) if now.role is Role.MAKER else _takers_secret(now)


def _makers_secret(now: Situation) -> bytes:
    if now.secret is None:
        raise StepRefused("this wallet does not have the secret of this swap")
    if now.second.status is SwapStatus.NONE:
        raise StepRefused("the taker has not locked yet, or not exactly what the file says")
    if now.first.status is SwapStatus.NONE:
        raise StepRefused("you have not locked yet")
    deadline, remaining_s = now.terms.second.deadline, now.terms.second.deadline - now.second.now_s
    if now.second.chain_s >= deadline:
        raise StepRefused("too late: the taker's lock has lapsed; your own comes back with `refund` at its deadline")
    if not now.is_secret_hidden:
        return now.secret  # Whoever saw it can claim the other side: now only claiming helps.
    if now.second.confirmed is not SwapStatus.OPEN:
        raise StepRefused("the taker's lock is not confirmed yet: try again in a while")
    if remaining_s < now.margin_s:
        raise StepRefused(
            f"too late to show the secret: the taker's lock lapses in {remaining_s} s, a claim takes {now.margin_s} s. "
            "Your own lock comes back with `refund` at its deadline"
        )
    return now.secret


def _takers_secret(now: Situation) -> bytes:
    if now.first.status is SwapStatus.NONE:
        raise StepRefused("the maker has not locked yet, or not exactly what the file says")
    if now.terms.first.deadline <= now.first.chain_s:
        raise StepRefused("too late: the maker's lock has lapsed")
    shown = now.second.secret
    if now.second.status is not SwapStatus.CLAIMED or shown is None:
        raise StepRefused("the maker has not claimed yet, so the secret is not known")
    if sha256(shown) != now.terms.hash:
        raise StepRefused("the other chain's node shows a secret that is not this swap's: it lies, or is damaged")
    return shown


def may_refund(now: Situation) -> bool:
    """Whether this party's lock is to be taken back; False where it was. Raises StepRefused."""
    if now.own.status is SwapStatus.REFUNDED:
        return False
    if now.own.status is SwapStatus.NONE:
        raise StepRefused("this side has locked nothing")
    if now.own.status is SwapStatus.CLAIMED:
        raise StepRefused("the other side has claimed it: claim yours")
    deadline = now.terms.first.deadline if now.role is Role.MAKER else now.terms.second.deadline
    if now.own.now_s < deadline:
        raise StepRefused(f"it can be taken back from its deadline on, in {deadline - now.own.now_s} s")
    return True


def advice(now: Situation) -> str:
    """The next step of this party, in a sentence."""
    if now.wanted.status is SwapStatus.CLAIMED:
        return "done: this side has what it wanted"
    for question, words in (
        (claimable_secret, "claim: what you get is there for you"),
        (may_refund, "refund: take your lock back"),
        (may_lock, "lock your side: `offer` for the maker, `accept` for the taker"),
    ):
        try:
            if question(now):
                return words
        except StepRefused:
            continue
    if now.own.status is SwapStatus.REFUNDED:
        return "over: your lock came back"
    if now.own.status is SwapStatus.NONE:
        return "nothing: neither of you can lock any more, or the other has not yet"
    return "wait for the other side; if it does nothing, take your lock back at its deadline"
