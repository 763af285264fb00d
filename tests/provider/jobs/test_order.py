"""How a repeated request is recognised."""

from provider.jobs.order import asked_bytes, chosen_seed


def test_the_same_request_has_the_same_bytes_whoever_asks() -> None:
    first = asked_bytes("/v1/a", {"prompt": "x", "steps": 5, "api_key": "one"})
    assert first == asked_bytes("/v1/a", {"api_key": "two", "steps": 5, "prompt": "x"})
    assert b"one" not in first
    for other in (
        asked_bytes("/v1/b", {"prompt": "x", "steps": 5}),
        asked_bytes("/v1/a", {"prompt": "x", "steps": 6}),
        asked_bytes("/v1/a", {"prompt": "x", "steps": 5, "seed": None}),
        asked_bytes("/v1/a", {"prompt": "x", "steps": "5"}),
    ):
        assert other != first


def test_a_chosen_seed_is_kept_and_a_drawn_one_survives_javascript() -> None:
    assert chosen_seed(2**63 - 1) == 2**63 - 1
    assert chosen_seed(0) == 0
    drawn = {chosen_seed(None) for _ in range(50)}
    assert len(drawn) == 50
    assert max(drawn) < 2**53
