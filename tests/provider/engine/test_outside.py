"""Listeners that raise."""

import structlog

from provider.engine.outside import call_outside, where_raised


def explode(prompt: str) -> int:
    raise ValueError(f"what about {prompt}?")


def test_what_a_listener_answers() -> None:
    assert call_outside(0, int, "7") == 7


def test_what_a_listener_raises_is_logged_without_its_words() -> None:
    with structlog.testing.capture_logs() as logs:
        assert call_outside(3, explode, "a secret prompt") == 3
    (entry,) = logs
    assert entry["listener"] == "explode"
    assert entry["error"] == "ValueError"
    assert entry["where"].startswith(__file__)
    assert "secret" not in str(logs)


def test_an_error_that_was_never_raised() -> None:
    assert where_raised(ValueError()) == "unknown"
