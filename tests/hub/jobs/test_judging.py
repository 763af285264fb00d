"""The first look at a delivery: whose clock counts where the connection was lost meanwhile."""

import msgspec
import pytest

from chain.primitives.receipt import Receipt
from chain.primitives.types import Amount
from chain.primitives.units import compute_amount
from hub.jobs.judging import Judging, look_at
from hub.verification.errors import AnswerRefused, FaultReason
from hub.workers.desk import Delivery
from tests.hub.jobs.toys import entries_of, picture_of
from tests.hub.verification.answering import receipt_of
from tests.hub.verification.toy_model import RUN

NOW = 1_770_000_000
JUDGING = Judging(secret=b"s" * 32, clock_tolerance_s=5.0, metering_slack_s=0.25)
PICTURE = picture_of(RUN, entries_of(RUN)[-1])


def receipt(**fields: int) -> Receipt:
    made = msgspec.structs.replace(
        receipt_of(RUN, [PICTURE]), unit_type="gpu_seconds", price_per_unit=Amount(10**6), **fields
    )
    return msgspec.structs.replace(made, amount=compute_amount(made.micro_units, made.price_per_unit))


def look(made: Receipt, *, leased_at_s: float) -> None:
    """As of a provider that dialled in again, of whose speed nothing is known."""
    delivery = Delivery(
        lease_id="lease-1",
        provider=made.provider,
        receipt=made,
        provider_signature=b"",
        seeds=(RUN.seed,),
        profiles=(),
        duration_ms=1,
        compute_microseconds=1,
        gpu="a toy",
        pictures=(),
        sent_at_s=0.0,
        received_at_s=float(NOW),
        wall_s=0.0,
    )
    ceiling = Amount(10**18)
    look_at(
        delivery,
        [PICTURE],
        RUN,
        ceiling=ceiling,
        seconds_per_picture=None,
        slots=1,
        leased_at_s=leased_at_s,
        judging=JUDGING,
    )


def test_who_dials_in_again_is_held_to_when_the_lease_was_made() -> None:
    look(receipt(started_at=NOW - 10, finished_at=NOW, micro_units=9_000_000), leased_at_s=NOW - 10)
    for bent in (
        receipt(started_at=0, finished_at=NOW, micro_units=10**6),
        receipt(started_at=NOW - 16, finished_at=NOW, micro_units=10**6),
    ):
        with pytest.raises(AnswerRefused) as caught:
            look(bent, leased_at_s=NOW - 10)
        assert caught.value.reason is FaultReason.IMPLAUSIBLE_TIME
    with pytest.raises(AnswerRefused) as caught:
        look(receipt(started_at=NOW - 15, finished_at=NOW + 5, micro_units=22_000_000), leased_at_s=NOW - 10)
    assert caught.value.reason is FaultReason.IMPLAUSIBLE_UNITS
