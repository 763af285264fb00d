"""Messages of the WebSocket, as a client reads them."""

import json
from typing import Any

import pytest

from provider.ordering.errors import JobFailed, ProviderRefused, ProviderUnavailable
from provider.ordering.live import Accepted, Event, Previewed, Queued, Stepped, read_message
from provider.ordering.order import PictureOrder, prepare
from provider.ordering.verification import Expected


def read(**message: Any) -> Event | None:
    return read_message(json.dumps(message), prepare(PictureOrder("a red circle")), Expected())


def test_what_a_provider_tells() -> None:
    assert read(type="accepted", job_id="2025-09-26-000123") == Accepted("2025-09-26-000123")
    assert read(type="queued", position=3) == Queued(3)
    assert read(type="step", step=2, steps=30, pictures=[0, 15]) == Stepped(2, 30, (0, 15))
    assert read(type="preview", picture=1, image_base64="data:image/jpeg;base64,/9g=") == Previewed(1, b"\xff\xd8")
    assert read(type="something new") is None


def test_bad_ends() -> None:
    with pytest.raises(JobFailed, match="no memory") as failed:
        read(type="failed", reason="out_of_memory", detail="no memory")
    assert failed.value.reason == "out_of_memory"
    with pytest.raises(ProviderRefused) as refused:
        read(type="error", reason="malformed", detail="\x1b[31mred", field="steps")
    assert (str(refused.value), refused.value.field) == ("?[31mred", "steps")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "step", "step": -1},
        {"type": "step", "steps": 10**400},
        {"type": "step", "pictures": [16]},
        {"type": "step", "pictures": [0] * 17},
        {"type": "queued", "position": -1},
        {"type": "preview", "picture": -1},
        {"type": "preview", "image_base64": "data:image/jpeg;base64,é"},
        {"type": "finished"},
    ],
)
def test_what_no_provider_says(message: dict[str, Any]) -> None:
    with pytest.raises(ProviderUnavailable):
        read(**message)
