"""How long an accepted job may take."""

import pytest

from hub.jobs.accepting import lasts_s
from hub.orders.request import JobRequest, SignedPart

NOW_S = 1_770_000_000.0


def request(*, expiry: int | None = None, deadline_s: float | None = None) -> JobRequest:
    words = {"salt": "0x" + "01" * 32, "nonce": "0x" + "02" * 32, "signature": "0x" + "03" * 65}
    part = None
    if expiry is not None:
        part = SignedPart(client="0x" + "11" * 20, max_price="5", expiry=expiry, **words)
    return JobRequest(prompt="a cat", client_request=part, deadline_s=deadline_s)


@pytest.mark.parametrize(
    ("asked", "lasts"),
    [
        (request(), 86_400.0),
        (request(deadline_s=60.0), 60.0),
        (request(deadline_s=90_000.0), 86_400.0),
        (request(expiry=int(NOW_S)), 3_600.0),
        (request(expiry=int(NOW_S) + 600, deadline_s=86_000.0), 4_200.0),
        (request(expiry=int(NOW_S) + 600, deadline_s=60.0), 60.0),
        (request(expiry=int(NOW_S) + 86_400), 86_400.0),
    ],
)
def test_no_work_begins_when_its_receipt_would_be_worth_nothing(asked: JobRequest, lasts: float) -> None:
    assert lasts_s(asked, 86_400.0, NOW_S) == lasts
