"""What a provider says of itself, also before it can serve."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx

from chain.primitives.keys import PrivateKey
from provider.generation import EMBEDDED_MODEL


def test_health_in_the_plans_words_and_ours(running: Any, provider_key: PrivateKey) -> None:
    body = running.get("/v1/health").json()
    assert (body["status"], body["model"], body["detail"]) == ("ok", EMBEDDED_MODEL, None)
    assert (body["device"], body["vram_mib"], body["chain_id"]) == ("cpu", 0, 424_242)
    assert body["gpu"] == body["gpus"][0] != ""
    assert bytes.fromhex(body["provider"][2:]) == provider_key.address
    assert running.get("/healthz").json() == {"status": "ok"}


def test_models_have_prices_and_say_whether_they_are_loaded(start_provider: Callable[..., Any]) -> None:
    models = (EMBEDDED_MODEL, f"second={EMBEDDED_MODEL}")
    provider = start_provider(model=models, price_per_unit=7, prices=("second=9",), unit_type="images")
    listed = provider.get("/v1/health").json()["models"]
    assert [(each["name"], each["loaded"], each["price_per_unit"]) for each in listed] == [
        (EMBEDDED_MODEL, True, "7"),
        ("second", False, "9"),
    ]
    receipt = provider.generate(model="second", count=2).json()["receipt"]
    assert (receipt["model"], receipt["units"], receipt["amount"]) == ("second", 2, "18")
    assert [each["loaded"] for each in provider.get("/v1/health").json()["models"]] == [True, True]


def test_metrics_tell_of_jobs_and_receipts(running: Any) -> None:
    running.generate(count=2)
    text = running.get("/metrics").text
    for line in (
        "aitbc_provider_ready 1.0",
        "aitbc_provider_queue_length 0.0",
        "aitbc_provider_jobs_under_way 0.0",
        'aitbc_provider_jobs_total{outcome="ok",way_in="plan"} 1.0',
        'aitbc_provider_receipts{state="signed"} 1.0',
    ):
        assert line in text, line
    assert "aitbc_provider_pictures_total 2.0" in text


def test_it_answers_while_the_model_loads(start_provider: Callable[..., Any]) -> None:
    """The first look comes long before the libraries are imported."""
    seen: list[str] = []
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

    def look() -> None:
        while "ok" not in seen:
            try:
                health = httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=5).json()
                alive = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code
            except httpx.TransportError:
                continue
            if not seen or seen[-1] != health["status"]:
                seen.append(health["status"])
                assert (health["detail"] is None) == (health["status"] == "ok")
                assert alive in (200, 503)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    start_provider(bind_port=port)
    thread.join(60)
    assert seen == ["loading", "ok"]
