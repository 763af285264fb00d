"""The web exchange in Chromium where something is amiss: people decline, wallets lie, nodes garble or go."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest

from chain.api.stream import MAX_STREAMS
from tests.browser.exchange_floor import TROUBLES, Floor, assert_quiet, visit
from tests.chain.conftest import CHAIN_ID

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.timeout(280)]

DECLINED: Final = "You declined it in your wallet."
REASONS: Final = {
    "<img src=x onerror=alert(1)>": "named no account",
    "garbled": "does not say which chain",
    "silent": "named no account",
    "stubborn": f"stays on chain 1; this market is on {CHAIN_ID}",
    "wordy": "^<b>nono",
    "wordless": "gave no reason",
    "busy": "a question open already",
}
"""What is said of each wallet that does not work, as an expression."""


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    opened = Floor(tmp_path_factory.mktemp("trouble") / "chain")
    yield opened
    opened.node.stop()


def trouble(floor: Floor, scenario: str, **inputs: Any) -> dict[str, Any]:
    return visit(floor.page_url, scenario, script=TROUBLES, **inputs)


def test_what_a_person_declines_is_not_done(floor: Floor) -> None:
    nonce = floor.client.account(floor.address("ann")).nonce
    seen = trouble(floor, "declining", key=floor.key("ann"))
    assert_quiet(floor.node.url, seen)
    *declined, last = seen["outcomes"]
    assert declined == [DECLINED] * 3
    assert last.startswith("Done")
    assert "1 AIT rest in the book" in last
    assert floor.client.account(floor.address("ann")).nonce == nonce + 1


def test_a_wallet_that_goes_to_another_chain_or_account(floor: Floor) -> None:
    nonces = [floor.client.account(floor.address(name)).nonce for name in ("bob", "cat")]
    seen = trouble(floor, "changing", key=floor.key("bob"), otherKey=floor.key("cat"))
    assert_quiet(floor.node.url, seen)
    assert (seen["first"], seen["second"]) == (floor.address("bob").lower(), floor.address("cat").lower())
    assert seen["fromOtherChain"].startswith("Done")
    assert seen["prompts"].count("wallet_addEthereumChain") == 1  # It knew the way back.
    assert "Nothing was signed" in seen["changed"]
    assert seen["prompts"].count("eth_sendTransaction") == 1
    assert seen["isAnythingLeft"] == 0
    assert [floor.client.account(floor.address(name)).nonce for name in ("bob", "cat")] == [nonces[0] + 1, nonces[1]]


def test_wallets_that_say_anything(floor: Floor) -> None:
    seen = trouble(floor, "wallets", chainId=hex(CHAIN_ID), reasons=REASONS)
    assert_quiet(floor.node.url, seen)
    assert set(REASONS) <= set(seen["offered"])
    assert len(seen["offered"]) == 20
    assert max(map(len, seen["offered"])) == 60
    assert max(map(len, seen["outcomes"].values())) == 300
    assert (seen["pictures"], seen["markup"]) == (0, 0)
    assert seen["connected"] == "0x" + "12" * 20


def test_answers_that_say_anything(floor: Floor) -> None:
    seen = trouble(floor, "answers", key=floor.key("bob"))
    assert seen["images"] == 0
    assert all(each.startswith("Not up to date: ") for each in seen["told"][::2])
    assert all(seen["told"])
    assert {each.split(" the server responded")[0] for each in seen["said"]} <= {"Failed to load resource:"}
    assert seen["asked"] == [floor.node.url]


def test_a_connection_that_breaks_comes_back_and_nothing_is_missed(floor: Floor) -> None:
    seen = trouble(floor, "disconnected", key=floor.key("bob"), otherKey=floor.key("cat"))
    assert seen["refused"] == "The node cannot be reached."
    assert seen["placed"].startswith("Done")
    assert "0.099" not in seen["before"]
    assert ["0.099", "1.00"] in [row[:2] for row in seen["after"]]


def test_who_gets_no_stream_sees_what_happens_all_the_same(floor: Floor) -> None:
    with ExitStack() as opened:
        client = opened.enter_context(httpx.Client(base_url=floor.node.url, timeout=60))
        for _ in range(MAX_STREAMS):
            opened.enter_context(client.stream("GET", "/v1/stream"))
        seen = trouble(floor, "crowded", key=floor.key("ann"))
    assert seen["placed"].startswith("Done")
    assert ["0.031", "1.00"] in [row[:2] for row in seen["bids"]]
    assert {each.split(" the server responded")[0] for each in seen["said"]} == {"Failed to load resource:"}
