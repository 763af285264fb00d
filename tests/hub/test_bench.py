"""Who sits out, and for how long."""

import time

import pytest

from chain.primitives.types import Address
from hub.bench import Bench
from hub.errors import FaultReason, ProviderFault

PROVIDER = Address(b"\x01" * 20)


def fault(reason: FaultReason) -> ProviderFault:
    return ProviderFault(reason, "because")


def test_lie_is_worse_than_a_failure() -> None:
    for reason, seconds in ((FaultReason.UNREACHABLE, 10), (FaultReason.WRONG_PRICE, 1000)):
        bench = Bench(failure_s=10, lie_s=1000)
        bench.put(PROVIDER, fault(reason))
        seat = bench.seat(PROVIDER)
        assert seat is not None
        assert seat.reason is reason
        assert seconds - 1 < bench.remaining_s(PROVIDER) <= seconds


def test_time_doubles_and_is_bounded() -> None:
    bench = Bench(failure_s=10, lie_s=1000)
    for expected in (10, 20, 40, 80, 160, 320, 640, 640, 640):
        bench.put(PROVIDER, fault(FaultReason.TIMED_OUT))
        assert expected - 1 < bench.remaining_s(PROVIDER) <= expected


def test_success_after_the_time_makes_faults_forgotten() -> None:
    bench = Bench(failure_s=0.01, lie_s=1000)
    for _ in range(2):
        bench.put(PROVIDER, fault(FaultReason.TIMED_OUT))
    time.sleep(0.03)
    bench.clear(PROVIDER)
    bench.put(PROVIDER, fault(FaultReason.TIMED_OUT))
    seat = bench.seat(PROVIDER)
    assert seat is not None
    assert seat.faults_in_a_row == 1


def test_success_of_another_job_does_not_cut_the_time_short() -> None:
    bench = Bench(failure_s=10, lie_s=1000)
    bench.put(PROVIDER, fault(FaultReason.WRONG_PRICE))
    bench.clear(PROVIDER)
    assert bench.seat(PROVIDER) is not None


@pytest.mark.parametrize(
    "reason", [FaultReason.BUSY, FaultReason.REQUEST_REFUSED, FaultReason.OTHER_MODEL, FaultReason.OVER_BUDGET]
)
def test_no_fault_no_bench(reason: FaultReason) -> None:
    bench = Bench(failure_s=10, lie_s=1000)
    bench.put(PROVIDER, fault(reason))
    assert bench.seat(PROVIDER) is None


def test_time_is_served() -> None:
    bench = Bench(failure_s=0, lie_s=0)
    bench.put(PROVIDER, fault(FaultReason.WRONG_PRICE))
    assert bench.seat(PROVIDER) is None
    assert bench.remaining_s(PROVIDER) == 0
