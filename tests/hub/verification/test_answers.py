"""Time, units and price of a receipt, against what was asked and measured."""

from typing import Any

import msgspec
import pytest

from chain.primitives.receipt import Receipt
from chain.primitives.types import Amount
from chain.primitives.units import compute_amount
from hub.verification.answers import Asked, Measured, check_terms
from hub.verification.errors import AnswerRefused, FaultReason
from tests.hub.verification.answering import receipt_of
from tests.hub.verification.toy_model import RUN

T0 = 1_770_000_000
TWO = msgspec.structs.replace(RUN, count=2)
ASKED = Asked(run=TWO, ceiling=Amount(10**18), seconds_per_picture=1.0)
MEASURED = Measured(sent_at_s=T0 + 0.0, received_at_s=T0 + 2.0, wall_s=2.0)


def receipt(**fields: Any) -> Receipt:
    per_second = {"unit_type": "gpu_seconds", "micro_units": 1_500_000, "price_per_unit": Amount(10**17)} | fields
    made = msgspec.structs.replace(receipt_of(TWO, [b"a", b"b"]), **per_second)
    return msgspec.structs.replace(made, amount=compute_amount(made.micro_units, made.price_per_unit))


def refused(made: Receipt, asked: Asked = ASKED, measured: Measured = MEASURED) -> FaultReason:
    with pytest.raises(AnswerRefused) as caught:
        check_terms(made, asked, measured)
    return caught.value.reason


def asked(**fields: Any) -> Asked:
    known: dict[str, Any] = {"run": TWO, "ceiling": Amount(10**18), "seconds_per_picture": 1.0, "slots": 1} | fields
    return Asked(**known)


def measured(**fields: Any) -> Measured:
    known: dict[str, Any] = {"sent_at_s": T0 + 0.0, "received_at_s": T0 + 2.0, "wall_s": 2.0} | fields
    return Measured(**known)


def test_honest_receipt_passes_without_suspicion() -> None:
    assert check_terms(receipt(), ASKED, MEASURED) == ()


@pytest.mark.parametrize(("started", "finished"), [(T0 - 6, T0), (T0, T0 + 8), (T0 - 100, T0 - 90)])
def test_outside_of_the_hubs_own_time(started: int, finished: int) -> None:
    assert refused(receipt(started_at=started, finished_at=finished)) is FaultReason.IMPLAUSIBLE_TIME


def test_clocks_may_differ_a_little() -> None:
    assert check_terms(receipt(started_at=T0 - 5, finished_at=T0 + 7), ASKED, MEASURED) == ()


def test_a_connection_that_was_lost_meanwhile_gives_nobody_more_time() -> None:
    """Then it is the hub's wall clock that says how long it took."""
    unknown = measured(wall_s=None)
    assert check_terms(receipt(), ASKED, unknown) == ()
    assert refused(receipt(started_at=T0 - 6), ASKED, unknown) is FaultReason.IMPLAUSIBLE_TIME
    assert refused(receipt(finished_at=T0 + 8), ASKED, unknown) is FaultReason.IMPLAUSIBLE_TIME
    nothing_known = asked(seconds_per_picture=None)
    long = {"started_at": T0 - 5, "finished_at": T0 + 7}
    check_terms(receipt(micro_units=7_250_000, **long), nothing_known, unknown)
    assert refused(receipt(micro_units=7_250_001, **long), nothing_known, unknown) is FaultReason.IMPLAUSIBLE_UNITS


class TestUnits:
    """What is paid for."""

    def test_up_to_the_time_that_has_passed(self) -> None:
        check_terms(receipt(micro_units=2_250_000), ASKED, MEASURED)
        assert refused(receipt(micro_units=2_250_001)) is FaultReason.IMPLAUSIBLE_UNITS

    def test_on_every_device_at_once(self) -> None:
        run = msgspec.structs.replace(RUN, count=4)
        four = asked(run=run, slots=4, seconds_per_picture=None)
        check_terms(receipt(micro_units=9_000_000), four, MEASURED)
        assert refused(receipt(micro_units=9_000_001), four) is FaultReason.IMPLAUSIBLE_UNITS

    def test_no_more_devices_than_pictures(self) -> None:
        """Who says that it has a thousand slots is paid for no more than the pictures keep busy."""
        many = asked(slots=1_000, seconds_per_picture=None)
        check_terms(receipt(micro_units=4_500_000), many, MEASURED)
        assert refused(receipt(micro_units=4_500_001), many) is FaultReason.IMPLAUSIBLE_UNITS

    def test_up_to_the_time_that_its_own_receipt_states(self) -> None:
        """Attesters go by that: what they would refuse must not spoil the receipt of all who worked at the job."""
        slow = measured(wall_s=60.0, received_at_s=T0 + 60.0)
        at_once = {"started_at": T0 + 1, "finished_at": T0 + 1}
        check_terms(receipt(micro_units=4_000_000, **at_once), ASKED, slow)
        assert refused(receipt(micro_units=4_000_001, **at_once), ASKED, slow) is FaultReason.IMPLAUSIBLE_UNITS

    def test_up_to_what_its_own_benchmark_explains(self) -> None:
        """It may wait for a minute and still not charge it."""
        slow = measured(wall_s=60.0, received_at_s=T0 + 60.0)
        check_terms(receipt(micro_units=8_250_000, finished_at=T0 + 60), ASKED, slow)
        bent = receipt(micro_units=8_250_001, finished_at=T0 + 60)
        assert refused(bent, ASKED, slow) is FaultReason.IMPLAUSIBLE_UNITS

    def test_none_at_all(self) -> None:
        assert refused(receipt(micro_units=0)) is FaultReason.IMPLAUSIBLE_UNITS
        assert check_terms(receipt(micro_units=0, price_per_unit=Amount(0)), ASKED, MEASURED) == ()

    @pytest.mark.parametrize("micro_units", [0, 1, 1_000_000, 1_999_999, 2_000_001, 3_000_000])
    def test_a_picture_is_a_unit(self, micro_units: int) -> None:
        per_picture = receipt(unit_type="images", micro_units=2_000_000)
        assert check_terms(per_picture, ASKED, MEASURED) == ()
        bent = receipt(unit_type="images", micro_units=micro_units)
        assert refused(bent) is FaultReason.IMPLAUSIBLE_UNITS

    def test_ceiling_of_the_network(self) -> None:
        most = asked(ceiling=Amount(15 * 10**16))
        assert check_terms(receipt(), most, MEASURED) == ()
        assert refused(receipt(), asked(ceiling=Amount(15 * 10**16 - 1))) is FaultReason.OVER_CEILING


class TestSuspicions:
    """Odd, but no lie."""

    def test_far_quicker_than_the_benchmark(self) -> None:
        quick = measured(wall_s=0.49, received_at_s=T0 + 0.5)
        found = check_terms(receipt(micro_units=400_000), ASKED, quick)
        assert [suspicion.reason for suspicion in found] == ["too_quick"]
        assert check_terms(receipt(micro_units=400_000), ASKED, measured(wall_s=0.5)) == ()
        assert check_terms(receipt(micro_units=400_000), asked(seconds_per_picture=None), quick) == ()

    def test_far_dearer_than_the_benchmark(self) -> None:
        slow = measured(wall_s=60.0, received_at_s=T0 + 60.0)
        assert check_terms(receipt(micro_units=5_000_000), ASKED, slow) == ()
        found = check_terms(receipt(micro_units=5_000_001), ASKED, slow)
        assert [suspicion.reason for suspicion in found] == ["too_dear"]
