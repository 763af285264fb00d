"""Quantiles of the last so many values."""

from provider.monitoring.quantiles import RecentQuantiles


def test_of_nothing_there_is_none() -> None:
    assert RecentQuantiles(10).at(0.5) is None


def test_the_share_is_reached_exactly() -> None:
    recent = RecentQuantiles(100)
    for value in range(100, 0, -1):
        recent.add(float(value))
    assert [recent.at(share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]
    single = RecentQuantiles(5)
    single.add(7.0)
    assert [single.at(share) for share in (0.5, 0.99)] == [7, 7]


def test_only_the_newest_count() -> None:
    recent = RecentQuantiles(3)
    for value in (100.0, 1.0, 2.0, 3.0):
        recent.add(value)
    assert (recent.at(0.5), recent.at(1.0)) == (2, 3)
