"""What a receipt says of time, units and price, against what was asked, measured, and is allowed on the chain. Pure.

That the receipt is for this lease, signed by this provider, at the job's price, has been checked as it came in
(`hub.workers.results`); that its amount is price × units, as it was read.
"""

import math
from dataclasses import dataclass
from typing import Final

from chain.primitives.receipt import Receipt
from chain.primitives.types import Amount
from chain.primitives.units import MICRO
from chain.primitives.worker_fields import PictureRun
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.suspicion import Suspicion

MAX_OVERCHARGE: Final = 4.0
"""How many times the device time that its own benchmark explains a provider may charge. A machine that others use, too,
is slower by its share: measured are 1.1 alone and 2.1 beside another computation on the same cores."""
DEAR: Final = 2.5
"""From here on it is looked at."""
QUICK: Final = 4.0
"""A run that takes less than this share of what the benchmark says may have left out steps. Batches explain 2.5."""
_ROUNDING_S: Final = 2
"""Receipts' times are whole seconds, cut off at both ends."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a lease was for."""

    run: PictureRun
    ceiling: Amount
    """Atoms that the network takes for one receipt at most."""
    seconds_per_picture: float | None = None
    """Of one slot, by this provider's benchmark and its last work of this size; None where nothing is known."""
    slots: int = 1
    """Batches that the provider computes at one time, as it says itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The hub's own clocks around the work, and how far it trusts them."""

    sent_at_s: float
    """Unix time at which the assignment went out; where another connection has sent it, at which the lease was made."""
    received_at_s: float
    wall_s: float | None
    """From sending the assignment to the last byte, monotonic; None where another connection has sent it."""
    clock_tolerance_s: float = 5.0
    """How far the provider's wall clock may differ from the hub's."""
    metering_slack_s: float = 0.25
    """How much more device time than has passed is taken for rounding."""


def check_terms(receipt: Receipt, asked: Asked, measured: Measured) -> tuple[Suspicion, ...]:
    """What is odd about it; raises AnswerRefused for what cannot be."""
    _check_times(receipt, measured)
    _check_units(receipt, asked, measured)
    if receipt.amount > asked.ceiling:
        detail = f"{receipt.amount} atoms, but a receipt may come to {asked.ceiling} at most"
        raise AnswerRefused(FaultReason.OVER_CEILING, detail)
    return tuple(odd for odd in (_too_quick(asked, measured), _too_dear(receipt, asked)) if odd is not None)


def _check_times(receipt: Receipt, measured: Measured) -> None:
    latest = math.ceil(measured.received_at_s + measured.clock_tolerance_s)
    earliest = math.floor(measured.sent_at_s - measured.clock_tolerance_s)
    if not earliest <= receipt.started_at <= receipt.finished_at <= latest:
        detail = (
            f"the receipt says {receipt.started_at} to {receipt.finished_at}, the hub's clock {earliest} to {latest}"
        )
        raise AnswerRefused(FaultReason.IMPLAUSIBLE_TIME, detail)


def _check_units(receipt: Receipt, asked: Asked, measured: Measured) -> None:
    if receipt.unit_type == "images":
        if receipt.micro_units != MICRO * asked.run.count:
            detail = f"{receipt.micro_units / MICRO} units for {asked.run.count} picture(s)"
            raise AnswerRefused(FaultReason.IMPLAUSIBLE_UNITS, detail)
        return
    charged_s = receipt.micro_units / MICRO
    passed_s, devices = _passed_s(measured), min(asked.slots, asked.run.count)
    if charged_s > (passed_s + measured.metering_slack_s) * devices:
        detail = f"{charged_s} device seconds, but only {passed_s:.3f} s have passed on {devices} device(s)"
        raise AnswerRefused(FaultReason.IMPLAUSIBLE_UNITS, detail)
    if receipt.micro_units > most_device_time(receipt, asked.run.count):
        detail = f"{charged_s} device seconds, but its own times are {receipt.started_at} to {receipt.finished_at}"
        raise AnswerRefused(FaultReason.IMPLAUSIBLE_UNITS, detail)
    expected_s = _expected_s(asked)
    if expected_s is not None and charged_s > MAX_OVERCHARGE * expected_s + measured.metering_slack_s:
        detail = f"{charged_s} device seconds, where its own benchmark explains {expected_s:.3f}"
        raise AnswerRefused(FaultReason.IMPLAUSIBLE_UNITS, detail)
    if receipt.micro_units == 0 and receipt.price_per_unit > 0:
        raise AnswerRefused(FaultReason.IMPLAUSIBLE_UNITS, "no device time at all for paid pictures")


def most_device_time(receipt: Receipt, pictures: int) -> int:
    """Micro-seconds that devices can have worked between the receipt's own times: one on each picture, at most.

    Every attester goes by this, and knows no more: what is above it would never be attested, so that a liar among many
    would cost all of a job their pay.
    """
    return (receipt.finished_at - receipt.started_at + _ROUNDING_S) * MICRO * pictures


def _too_quick(asked: Asked, measured: Measured) -> Suspicion | None:
    expected_s, passed_s = _expected_s(asked), _passed_s(measured)
    if expected_s is None or passed_s * asked.slots * QUICK >= expected_s:
        return None
    return Suspicion("too_quick", f"done in {passed_s:.3f} s, where its benchmark says {expected_s:.3f} s")


def _too_dear(receipt: Receipt, asked: Asked) -> Suspicion | None:
    expected_s, charged_s = _expected_s(asked), receipt.micro_units / MICRO
    if receipt.unit_type != "gpu_seconds" or expected_s is None or charged_s <= DEAR * expected_s:
        return None
    return Suspicion("too_dear", f"{charged_s} device seconds, where its benchmark says {expected_s:.3f}")


def _expected_s(asked: Asked) -> float | None:
    """Device time of all the pictures."""
    return None if asked.seconds_per_picture is None else asked.seconds_per_picture * asked.run.count


def _passed_s(measured: Measured) -> float:
    if measured.wall_s is not None:
        return measured.wall_s
    return max(0.0, measured.received_at_s - measured.sent_at_s) + measured.clock_tolerance_s
