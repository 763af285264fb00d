"""/v1/stream: blocks, trades and orders as they become final, from where a client has left off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from prometheus_client import CollectorRegistry

from chain.api.market_news import notice_of
from chain.api.reading import BlockCache
from chain.api.stream import MAX_STREAMS, MAX_STREAMS_PER_ADDRESS, Streams, Wanted
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.market import CANCEL_ORDER, OrderKind, Side
from chain.primitives.modules import MARKET
from chain.web.problems import Problem
from tests.chain.api.test_bad_input import assert_problem
from tests.chain.trading import Trading

if TYPE_CHECKING:
    from tests.chain.conftest import Chain, RunningNode, StartNode


class Told(NamedTuple):
    """One server-sent event."""

    name: str
    id: str | None
    content: dict[str, Any]


class Listening:
    """One open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self) -> Told:
        """The next event; comments are passed over."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and "data" in fields:
                return Told(fields["event"], fields.get("id"), json.loads(fields["data"]))
            elif not line:
                fields = {}
        raise AssertionError("the stream has ended")

    def until_block(self, height: int) -> list[Told]:
        """Everything up to and with this block."""
        told = [self.next()]
        while told[-1].name != "block" or told[-1].content["height"] < height:
            told.append(self.next())
        return told


@contextlib.contextmanager
def listen(node: RunningNode, query: str = "", **headers: str) -> Iterator[Listening]:
    with (
        httpx.Client(timeout=30) as http,
        http.stream("GET", f"{node.url}/v1/stream{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listening(answer)


def drain(stream: Listening) -> None:
    while True:
        stream.next()


@pytest.fixture
def trading(node: RunningNode) -> Trading:
    """Two markets of a running node."""
    trading = Trading(node.people)
    for transactions in (*trading.founding(), trading.open_market()):
        assert set(node.settle(*transactions)) == {"success"}
    return trading


def height_of(node: RunningNode) -> int:
    return node.client.status().finalized.height


def test_trades_and_orders_come_before_their_block(node: RunningNode, trading: Trading) -> None:
    address = node.people.address
    with listen(node) as stream:
        first = stream.next()
        while first.name != "block":
            first = stream.next()
        assert first.id == str(first.content["height"])
        node.settle(*trading.trade(500, 2), trading.place("cat", Side.BUY, 450, 1, client_id=5))
        order_id = node.client.account_orders(address("cat")).items[0].order_id
        node.settle(trading.call("cat", MARKET, CANCEL_ORDER, order_id))
        told = stream.until_block(height_of(node))
    heights = [each.content["height"] for each in told]
    assert heights == sorted(heights)
    blocks = [each for each in told if each.name == "block"]
    assert [each.id for each in blocks] == [str(each.content["height"]) for each in blocks]
    assert {each.id for each in told if each.name != "block"} == {None}
    assert blocks[-1].content["hash"] == node.client.block(heights[-1]).hash
    trades = [each.content for each in told if each.name == "trade"]
    assert trades == [json.loads(httpx.get(f"{node.url}/v1/markets/1/trades").content)["items"][0]]
    orders = [each.content for each in told if each.name == "order"]
    actions = [(each["action"], each["order_id"], each.get("reason")) for each in orders]
    assert actions == [
        ("placed", 1, None),
        ("placed", 2, None),
        ("closed", 1, "filled"),
        ("closed", 2, "filled"),
        ("placed", 3, None),
        ("closed", 3, "cancelled"),
    ]
    assert orders[4]["client_id"] == "5"
    assert orders[4]["owner"] == to_checksum_address(address("cat"))
    assert (orders[-1]["lots_left"], orders[-1]["finalized"]) == ("1", True)


def test_filters(node: RunningNode, trading: Trading) -> None:
    before = height_of(node)
    node.settle(*trading.trade(500, 1), *trading.trade(510, 1, market=2), trading.place("cat", Side.BUY, 450, 1))
    after, cat = height_of(node), to_checksum_address(node.people.address("cat"))
    seen = {}
    for query in ("", "?market=1", "?market=2", f"?account={cat}", f"?market=2&account={cat}", "?market=9"):
        with listen(node, query, **{"Last-Event-ID": str(before)}) as stream:
            told = stream.until_block(after)
            seen[query] = [each.name for each in told if each.name != "block"]
            assert [each.content["height"] for each in told if each.name == "block"] == list(
                range(before + 1, after + 1)
            )
    one_trade = ["order", "order", "trade", "order", "order"]
    assert sorted(seen[""]) == sorted(2 * one_trade + ["order"])
    assert sorted(seen["?market=1"]) == sorted([*one_trade, "order"])
    assert sorted(seen["?market=2"]) == sorted(one_trade)
    assert seen[f"?account={cat}"] == ["order"]
    assert seen[f"?market=2&account={cat}"] == seen["?market=9"] == []


def test_who_comes_back_misses_nothing(node: RunningNode, trading: Trading) -> None:
    with listen(node) as stream:
        last_id = stream.next().id
    assert last_id is not None
    node.settle(*trading.trade(500, 1))
    node.settle(*trading.trade(510, 1))
    for options in ({"Last-Event-ID": last_id}, {}):
        query = "" if options else f"?last_event_id={last_id}"
        with listen(node, query, **options) as stream:
            told = stream.until_block(height_of(node))
            assert [each.content["price"] for each in told if each.name == "trade"] == ["500", "510"]
            assert told[0].content["height"] == int(last_id) + 1


def test_ids_that_are_not_known_begin_anew_and_say_so(node: RunningNode) -> None:
    node.settle(node.people.mint("ann", 10**18, nonce=0))
    newest = height_of(node)
    for last_id in (newest + 1_000, 10**15 - 1):
        with listen(node, **{"Last-Event-ID": str(last_id)}) as stream:
            reset = stream.next()
            assert (reset.name, reset.id) == ("reset", None)
            assert reset.content["height"] >= newest - 1
            assert stream.until_block(newest)
    answer = httpx.get(f"{node.url}/v1/stream", headers={"Last-Event-ID": "abc"})
    assert_problem(answer)


def test_a_chain_that_has_nothing_but_its_genesis(start_node: StartNode) -> None:
    node = start_node(as_validator=False)
    assert height_of(node) == 0
    for headers in ({}, {"Last-Event-ID": "7"}):
        with listen(node, **headers) as stream:
            assert stream.until_block(0)[-1].content["hash"] == node.client.block(0).hash


def test_a_node_that_stops_ends_its_streams(start_node: StartNode) -> None:
    node = start_node()
    with listen(node) as stream:
        stream.next()
        stopping = threading.Thread(target=node.stop)
        stopping.start()
        with pytest.raises((AssertionError, httpx.HTTPError)):
            drain(stream)
        stopping.join(60)
        assert not stopping.is_alive()


def test_no_more_than_so_many(node: RunningNode) -> None:
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(listen(node)) for _ in range(MAX_STREAMS)]
        assert {stream.next().name for stream in streams} == {"block"}
        assert f"aitbc_streams {float(MAX_STREAMS)}" in httpx.get(f"{node.url}/metrics").text
        refused = httpx.get(f"{node.url}/v1/stream")
        assert (refused.status_code, refused.json()["reason"]) == (503, "crowded")
        assert "retry-after" in refused.headers
    for _ in range(600):
        if "aitbc_streams 0.0" in httpx.get(f"{node.url}/metrics").text:
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError("streams that nobody reads are still counted")
    with listen(node) as stream:
        stream.next()


def test_one_address_leaves_room_for_others(node: RunningNode) -> None:
    streams = Streams(node.node, BlockCache(), registry=CollectorRegistry())
    streams.start()
    try:
        for _ in range(MAX_STREAMS_PER_ADDRESS):
            streams.check_room("203.0.113.7")
            streams.enter("203.0.113.7")
        with pytest.raises(Problem) as refused:
            streams.check_room("203.0.113.7")
        assert (refused.value.status, refused.value.reason) == (503, "crowded")
        streams.check_room("203.0.113.8")
        streams.leave("203.0.113.7")
        streams.check_room("203.0.113.7")
        streams.stop()
        with pytest.raises(Problem) as refused:
            streams.check_room("203.0.113.8")
        assert refused.value.reason == "unavailable"
    finally:
        asyncio.run(streams.close())


def parts_of(node: RunningNode, count: int, last_id: int | None = None, **bounds: Any) -> list[bytes]:
    """The first parts of a stream with other bounds, on the node's own event loop."""
    told: Future[list[bytes]] = Future()
    tasks: list[asyncio.Future[None]] = []

    async def follow() -> None:
        streams = Streams(node.node, BlockCache(), registry=CollectorRegistry(), **bounds)
        streams.start()
        async with contextlib.aclosing(streams.follow(Wanted(), last_id)) as body:
            told.set_result([await anext(body) for _ in range(count)])
        await streams.close()

    node.call_soon(lambda: tasks.append(asyncio.ensure_future(follow())))
    return told.result(timeout=60)


def test_silence_is_broken(start_node: StartNode) -> None:
    node = start_node(as_validator=False)  # Which makes no block that could break it.
    retry, _, heartbeat, again = parts_of(node, 4, heartbeat_s=0.01)
    assert retry == b"retry: 2000\n\n"
    assert heartbeat == again
    assert heartbeat.startswith(b": ")


def test_a_stream_says_which_block_it_cannot_tell(node: RunningNode, trading: Trading) -> None:
    before = height_of(node)
    node.settle(*trading.trade(500, 1), *trading.trade(510, 1))
    newest = height_of(node)
    parts = parts_of(node, 1 + newest - before, before, max_events=1)
    told = b"".join(parts).decode()
    assert "event: reset" in told
    assert "event: trade" not in told
    assert f"id: {newest}\nevent: block" in told


def test_a_block_with_too_much_says_so(chain: Chain) -> None:
    trading = Trading(chain.people)
    for transactions in trading.founding():
        chain.add_block(*transactions)
    chain.add_block(*trading.trade(500, 1), trading.place("cat", Side.BUY, 10, 1, kind=OrderKind.POST_ONLY))
    stored = BlockCache().block_at(chain.ledger.view(), chain.head.height)
    assert stored is not None
    whole, cut = notice_of(stored, max_events=6), notice_of(stored, max_events=3)
    assert (whole.is_whole, len(whole.news)) == (True, 6)
    assert (cut.is_whole, len(cut.news)) == (False, 3)
    assert whole.octets == cut.octets
    assert len(b"".join(each.octets for each in whole.news)) < whole.size_bytes < 5_000
