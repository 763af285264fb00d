"""Calls looked up, read and answered: in order, in threads where they are heavy, and with an error whatever happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from chain.api.rpc.dispatch import TIMEOUT_S, Dispatcher
from chain.api.rpc.errors import RpcError
from chain.api.rpc.heavy_pool import MAX_HELD_BYTES, MAX_WAITING_CALLS, HeavyPool
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.metrics import RpcMetrics
from chain.api.rpc.protocol import MAX_RESPONSE_BYTES
from chain.api.rpc.values import BOOLEAN, NAME, UINT64
from chain.primitives.rejection import Rejected, RejectionReason
from chain.storage.errors import StorageError

ANYTHING: dict[str, Any] = {}


class Bench:
    """A dispatcher over methods that say what was asked of them."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self.registry = CollectorRegistry()
        self.pool = HeavyPool()
        self.release = threading.Event()
        self.groups: list[list[int]] = []
        number = Parameter("number", UINT64)
        self.dispatcher = Dispatcher(
            (
                Method(name="echo", summary="", parameters=(number,), result=ANYTHING, handler=lambda n: n),
                Method(
                    name="add",
                    summary="",
                    parameters=(number, Parameter("more", UINT64, 5), Parameter("minus", BOOLEAN, False)),
                    result=ANYTHING,
                    handler=lambda n, more, minus: n - more if minus else n + more,
                ),
                Method(
                    name="thread",
                    summary="",
                    result=ANYTHING,
                    handler=lambda: threading.current_thread().name,
                    is_heavy=True,
                ),
                Method(
                    name="sometimes",
                    summary="",
                    parameters=(number,),
                    result=ANYTHING,
                    handler=lambda _n: threading.current_thread().name,
                    is_heavy=lambda n: n > 7,
                ),
                Method(name="wait", summary="", result=ANYTHING, handler=self.release.wait, is_heavy=True),
                Method(
                    name="large",
                    summary="",
                    result=ANYTHING,
                    handler=lambda: "x" * (MAX_RESPONSE_BYTES // 4),
                    is_heavy=True,
                ),
                Method(name="fail", summary="", parameters=(Parameter("how", NAME),), result=ANYTHING, handler=_fail),
                Method(
                    name="many",
                    summary="",
                    parameters=(number,),
                    result=ANYTHING,
                    handler=lambda n: [n],
                    handle_all=self._handle_all,
                ),
                Method(name="pause", summary="", result=ANYTHING, handler=lambda: time.sleep(0.003)),
                Method(
                    name="early",
                    summary="",
                    result=ANYTHING,
                    handler=lambda: "answered",
                    is_early=lambda: True,
                    wait=_wait_for_ever,
                ),
            ),
            pool=self.pool,
            metrics=RpcMetrics(self.registry),
            timeout_s=timeout_s,
        )

    async def _handle_all(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        self.groups.append([number for (number,) in calls])
        if 99 in self.groups[-1]:
            raise RpcError(-32000, "none of you")
        if 98 in self.groups[-1]:
            await _wait_for_ever()
        return [RpcError(-32000, "odd") if number % 2 else number for (number,) in calls]

    async def ask(self, method: str, *parameters: Any) -> dict[str, Any]:
        """The response to one call."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        response: dict[str, Any] = json.loads(await self.dispatcher.answer(body) or b"null")
        return response

    async def ask_all(self, *calls: tuple[str, list[Any]]) -> list[Any]:
        """The results or errors of a batch."""
        answers = json.loads(await self.dispatcher.answer(batch_of(*calls)) or b"null")
        assert [answer["id"] for answer in answers] == list(range(len(calls)))
        return [answer.get("result", answer.get("error")) for answer in answers]


def batch_of(*calls: tuple[str, list[Any]]) -> bytes:
    return json.dumps(
        [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            for number, (method, parameters) in enumerate(calls)
        ]
    ).encode()


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()


def _fail(how: str) -> None:
    match how:
        case "rpc":
            raise RpcError(3, "execution reverted: no", "0x01")
        case "rejected":
            raise Rejected(RejectionReason.RECEIPT_USED, "receipt used")
        case "storage":
            raise StorageError("The disk in /secret/path is gone.")
    raise ZeroDivisionError("a secret detail")


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """Closed, with whatever still waits released."""
    made = Bench()
    yield made
    made.release.set()
    await made.pool.close()


@pytest.mark.asyncio
async def test_parameters_in_geth_s_words(bench: Bench) -> None:
    assert (await bench.ask("add", "0x2"))["result"] == 7
    assert (await bench.ask("add", "0x2", None, True))["result"] == -3
    assert (await bench.ask("add", "0x2", "0x1"))["result"] == 3
    for parameters, message in (
        ([], "missing value for required argument 0"),
        ([None], "missing value for required argument 0"),
        (["0x1", "0x2", True, 0], "too many arguments, want at most 3"),
        (["0x1", "0x2", "0x3"], "invalid argument 2: true or false is expected"),
        ([1], "invalid argument 0: a quantity is a hex string such as 0x1f"),
    ):
        error = (await bench.ask("add", *parameters))["error"]
        assert error == {"code": -32602, "message": message}


@pytest.mark.asyncio
async def test_heavy_calls_leave_the_event_loop_alone(bench: Bench) -> None:
    here = threading.current_thread().name
    assert (await bench.ask("thread"))["result"].startswith("rpc")
    assert (await bench.ask("sometimes", "0x7"))["result"] == here
    assert (await bench.ask("sometimes", "0x8"))["result"].startswith("rpc")
    waiting = asyncio.create_task(bench.ask("wait"))
    assert (await bench.ask("echo", "0x5"))["result"] == 5
    assert not waiting.done()
    bench.release.set()
    assert (await waiting)["result"] is True


@pytest.mark.asyncio
async def test_too_many_heavy_calls_are_refused_and_the_cheap_ones_are_not(bench: Bench) -> None:
    waiting = [asyncio.create_task(bench.ask("wait")) for _ in range(MAX_WAITING_CALLS)]
    await asyncio.sleep(0.05)
    error = (await bench.ask("wait"))["error"]
    assert error["code"] == -32005
    assert (await bench.ask("echo", "0x5"))["result"] == 5
    bench.release.set()
    assert all(answer["result"] for answer in await asyncio.gather(*waiting))
    assert (await bench.ask("wait"))["result"] is True


@pytest.mark.asyncio
async def test_errors_tell_what_concerns_the_client_alone(bench: Bench) -> None:
    for how, code in (("rpc", 3), ("rejected", -32000), ("storage", -32603), ("else", -32603)):
        error = (await bench.ask("fail", how))["error"]
        assert error["code"] == code
        assert "secret" not in json.dumps(error)
    assert (await bench.ask("fail", "rpc"))["error"]["data"] == "0x01"
    assert (await bench.ask("none"))["error"]["code"] == -32601


@pytest.mark.asyncio
async def test_neighbours_are_answered_together_and_in_their_places(bench: Bench) -> None:
    results = await bench.ask_all(
        *(("many", [hex(number)]) for number in range(4)),
        ("echo", ["0x9"]),
        ("many", ["0x4"]),
        ("many", ["nix"]),
        ("many", ["0x6"]),
        ("many", []),
        ("thread", []),
        ("many", ["0x8"]),
    )
    assert bench.groups == [[0, 1, 2, 3], [4, 6]]
    odd = {"code": -32000, "message": "odd"}
    assert results[:6] == [0, odd, 2, odd, 9, 4]
    assert results[6]["code"] == results[8]["code"] == -32602
    assert (results[7], results[10]) == (6, [8])  # A single one goes the single way.
    refused = await bench.ask_all(("many", ["0x63"]), ("many", []), ("many", ["0x1"]))
    assert [each["message"] for each in (refused[0], refused[2])] == ["none of you"] * 2
    assert refused[1]["code"] == -32602


@pytest.mark.asyncio
async def test_notifications_are_carried_out_and_not_answered(bench: Bench) -> None:
    assert await bench.dispatcher.answer(b'{"jsonrpc":"2.0","method":"echo","params":["0x1"]}') is None
    assert (
        await bench.dispatcher.answer(b'[{"jsonrpc":"2.0","method":"none"},{"jsonrpc":"2.0","method":"thread"}]')
        is None
    )
    both = await bench.dispatcher.answer(
        b'[{"jsonrpc":"2.0","method":"many","params":["0x2"]},{"jsonrpc":"2.0","id":7,"method":"many","params":["0x4"]}]'
    )
    assert json.loads(both or b"") == [{"jsonrpc": "2.0", "id": 7, "result": 4}]
    assert bench.groups == [[2, 4]]


@pytest.mark.asyncio
async def test_response_of_a_batch_is_bounded(bench: Bench) -> None:
    results = await bench.ask_all(*([("large", [])] * 8))
    assert [isinstance(result, str) for result in results] == [True] * 4 + [False] * 4
    assert {result["code"] for result in results[4:]} == {-32003}
    assert bench.pool.held_bytes == 0


@pytest.mark.asyncio
async def test_responses_of_all_batches_are_bounded_together(bench: Bench) -> None:
    bench.pool.held_bytes = MAX_HELD_BYTES  # What others are about to be answered.
    results = await bench.ask_all(("echo", ["0x1"]), ("echo", ["0x1"]))
    assert results[0] == 1  # One call is always answered.
    assert results[1]["code"] == -32005
    assert bench.pool.held_bytes == MAX_HELD_BYTES


@pytest.mark.asyncio
async def test_at_once_or_not_at_all(bench: Bench) -> None:
    echo = batch_of(("echo", ["0x1"]))
    assert json.loads(bench.dispatcher.answer_now(echo[1:-1]) or b"")["result"] == 1
    assert json.loads(bench.dispatcher.answer_now(echo) or b"")[0]["result"] == 1
    for slow in (
        b"",
        b"{",
        b"[]",
        b'{"jsonrpc":"2.0","method":"echo","params":["0x1"]}',
        batch_of(("thread", [])),
        batch_of(("echo", ["0x1"]), ("sometimes", ["0x8"])),
        batch_of(("many", ["0x1"]), ("many", ["0x2"])),
        batch_of(("echo", ["0x1"]), ("many", ["0x1"]), ("echo", ["0x1"]), ("many", ["0x2"])),
        batch_of(("early", [])),
        batch_of(*([("echo", ["0x1"])] * 101)),
        batch_of(("echo", ["0x1" + "0" * 70_000])),
    ):
        assert bench.dispatcher.answer_now(slow) is None
    for quick in (("fail", ["else"]), ("fail", ["storage"]), ("none", []), ("echo", [])):
        body = batch_of(quick, quick)
        assert json.loads(bench.dispatcher.answer_now(body) or b"")[1]["error"]["code"] < 0


@pytest.mark.asyncio
async def test_a_request_waits_once_however_many_of_its_calls_are_early() -> None:
    bench = Bench(timeout_s=0.2)
    started_at = time.monotonic()
    try:
        calls: list[tuple[str, list[Any]]] = [("early", []), ("many", ["0x62"]), ("many", ["0x2"]), ("echo", ["0x1"])]
        answers = await bench.ask_all(*(calls * 20))
    finally:
        await bench.pool.close()
    assert time.monotonic() - started_at < 60 * 0.2  # As each of them would have waited by itself.
    assert [each["code"] for index, each in enumerate(answers) if index % 4 < 3] == [-32002] * 60
    assert answers[3::4] == [1] * 20  # What takes no time is answered all the same.


@pytest.mark.asyncio
async def test_others_get_their_turn_while_a_batch_of_dear_calls_is_answered(bench: Bench) -> None:
    batch = asyncio.create_task(bench.ask_all(*([("pause", [])] * 30)))
    await asyncio.sleep(0)
    turns = 0
    while not batch.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 20
    assert await batch == [None] * 30


@pytest.mark.asyncio
async def test_more_methods_for_one_connection(bench: Bench) -> None:
    more = bench.dispatcher.with_methods([Method(name="mine", summary="", result=ANYTHING, handler=lambda: "mine")])
    body = b'{"jsonrpc":"2.0","id":1,"method":"mine"}'
    assert json.loads(await more.answer(body) or b"")["result"] == "mine"
    assert json.loads(await bench.dispatcher.answer(body) or b"")["error"]["code"] == -32601


@pytest.mark.asyncio
async def test_metrics_have_a_bounded_number_of_names(bench: Bench) -> None:
    for number in range(50):
        await bench.ask(f"made-up-{number}")
    await bench.ask("echo", "0x1")
    await bench.dispatcher.answer(b"{")
    metrics = generate_latest(bench.registry).decode()
    assert "made-up" not in metrics
    assert 'aitbc_rpc_errors_total{code="-32601",method="unknown"} 50.0' in metrics
    assert 'aitbc_rpc_errors_total{code="-32700",method="unknown"} 1.0' in metrics
    assert 'aitbc_rpc_call_seconds_count{method="echo"} 1.0' in metrics
