"""The pauses between attempts to deliver, and between looks for a mint."""

from hub.delivery import retry_pause_s
from hub.minting import mint_check_pause_ms


def test_delivery_pauses_double_up_to_the_longest() -> None:
    pauses = [retry_pause_s(failures, first_s=1, longest_s=300) for failures in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert retry_pause_s(10**9, first_s=1, longest_s=300) == 300


def test_mint_is_looked_for_ever_more_rarely() -> None:
    minute, day = 60_000, 86_400_000
    assert [mint_check_pause_ms(age) for age in (0, 5_000, minute, day, 400 * day)] == [
        500,
        500,
        3_000,
        3_600_000,
        3_600_000,
    ]
