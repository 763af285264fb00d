"""How long a lease holds."""

from hub.scheduling.leases import lease_s


def test_four_times_the_expected_time_and_never_less_than_half_a_minute() -> None:
    assert lease_s(0.1) == 30.0
    assert lease_s(7.5) == 30.0
    assert lease_s(100.0) == 400.0
