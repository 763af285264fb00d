"""The one price per unit of a job, and the least and the most that the job will cost at it.

All parts of a job are paid at one price, and only who asks no more than that may serve it. A low price leaves few
workers, a high one pays the cheap ones more than they ask. The cheapest policy takes the lowest total that can be had;
the others the cheapest price at which the job is done nearly as soon as with the client's whole budget.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chain.primitives.units import MICRO
from hub.scheduling.costs import PER_PICTURE, picture_units
from hub.scheduling.estimates import Estimate, estimate
from hub.scheduling.filters import is_eligible
from hub.scheduling.policies.policy import Policy
from hub.scheduling.runs import DEFAULT_PRIORITY, Need, Run
from hub.scheduling.workers import Worker

NEARLY_AS_SOON: Final = 1.25
"""Times the end that the whole budget would buy."""
METERING_SPREAD: Final = 1.25
"""A metered time may be so many times the expected one, which nine of ten simulated shards keep; or as much less."""
_MOST_PRICES: Final = 8
"""Of a unit type that are tried: the lowest, the highest and some between, because each costs an estimate."""


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A price, and what comes of it."""

    unit_type: str
    price_per_unit: int
    """Atoms: `Need.price_per_unit` and `Need.unit_type` of the job."""
    least_atoms: int
    most_atoms: int
    estimate: Estimate


def quote(
    workers: Sequence[Worker],
    waiting: Sequence[Run],
    need: Need,
    pictures: int,
    now_s: float,
    *,
    most_atoms: int | None,
    policy: Policy,
    rank_s: float = math.inf,
    priority: int = DEFAULT_PRIORITY,
) -> Quote | None:
    """For a job whose total may be `most_atoms`, None being any; None where no worker can serve it for that.

    A need that names a unit type or a price already is only quoted for that.
    """
    quotes: list[Quote] = []
    for unit_type, price in _candidates(workers, need):
        priced = msgspec.structs.replace(need, unit_type=unit_type, price_per_unit=price)
        expected = estimate(workers, waiting, priced, pictures, now_s, rank_s=rank_s, priority=priority)
        if expected is None:
            continue
        least, most = cost_bounds(workers, priced, pictures)
        if most_atoms is None or most <= most_atoms:
            quotes.append(
                Quote(
                    unit_type=unit_type,
                    price_per_unit=price,
                    least_atoms=least,
                    most_atoms=most,
                    estimate=expected,
                )
            )
    if not quotes:
        return None
    if policy is not Policy.CHEAPEST:
        soonest_s = min(quoted.estimate.ends_s for quoted in quotes)
        quotes = [quoted for quoted in quotes if quoted.estimate.ends_s <= NEARLY_AS_SOON * soonest_s]
    return min(quotes, key=lambda quoted: (quoted.most_atoms, quoted.estimate.ends_s, quoted.unit_type))


def least_budget(workers: Sequence[Worker], need: Need, pictures: int) -> int:
    """The lowest `most_atoms` for which `quote` finds a price; somebody has to be eligible."""
    return min(
        cost_bounds(workers, msgspec.structs.replace(need, unit_type=unit_type, price_per_unit=price), pictures)[1]
        for unit_type, price in _candidates(workers, need)
    )


def cost_bounds(workers: Iterable[Worker], need: Need, pictures: int) -> tuple[int, int]:
    """The least and the most atoms that so many pictures will cost at the need's own price, as expected.

    Exact where a picture is a unit; elsewhere from the fastest and the slowest worker that may serve.
    """
    assert need.price_per_unit is not None
    units = [picture_units(worker, need) for worker in workers if is_eligible(worker, need)]
    fewest, most = min(units, default=0.0), max(units, default=0.0)
    if need.unit_type != PER_PICTURE:
        fewest, most = fewest / METERING_SPREAD, most * METERING_SPREAD
    micro_units = (math.floor(fewest * MICRO), math.ceil(most * MICRO))
    least, highest = (pictures * micro * need.price_per_unit for micro in micro_units)
    return least // MICRO, -(-highest // MICRO)


def _candidates(workers: Iterable[Worker], need: Need) -> list[tuple[str, int]]:
    """Unit types and prices that eligible workers ask, or the need's own."""
    asked: dict[str, set[int]] = {}
    for worker in workers:
        if is_eligible(worker, need):
            offer = worker.offers[need.model]
            price = offer.price_per_unit if need.price_per_unit is None else need.price_per_unit
            asked.setdefault(offer.unit_type, set()).add(price)
    return [(unit_type, price) for unit_type in sorted(asked) for price in _spread(sorted(asked[unit_type]))]


def _spread(prices: list[int]) -> list[int]:
    """At most so many of them, first and last included."""
    if len(prices) <= _MOST_PRICES:
        return prices
    return [prices[place * (len(prices) - 1) // (_MOST_PRICES - 1)] for place in range(_MOST_PRICES)]
