"""eth_subscribe over real WebSockets: heads without gaps, logs as eth_getLogs has them, transactions as they come."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.utils.subscriptions import LogsSubscription, NewHeadsSubscription, PendingTxSubscription

from chain.api.rpc.subscriptions import MAX_SUBSCRIPTIONS
from chain.node.peers.settings import PeerSettings
from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import MINTED_EVENT, MINTER, TOKEN, TRANSFER_EVENT
from chain.primitives.types import ATOMS_PER_AIT
from chain.web.server import listen
from tests.chain.api.rpc.rpc_socket import RpcSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import Chain, People, RunningNode

HEAD_FIELDS = {
    *("number", "hash", "parentHash", "timestamp", "miner", "stateRoot", "transactionsRoot", "receiptsRoot"),
    *("logsBloom", "gasLimit", "gasUsed", "baseFeePerGas", "sha3Uncles", "difficulty", "extraData", "mixHash", "nonce"),
}


@pytest.fixture
def socket(node: RunningNode) -> Iterator[RpcSocket]:
    """A connection to the node."""
    with RpcSocket(node.url) as connected:
        yield connected


def test_heads_come_in_order_and_are_the_blocks(node: RunningNode, socket: RpcSocket, rpc: RpcClient) -> None:
    heads = socket.call("eth_subscribe", "newHeads")
    known = int(socket.call("eth_blockNumber"), 16)
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for nonce in range(1, 6):
        node.settle(node.people.transfer("ann", "bob", 1, nonce=nonce))
    socket.wait(6)
    told = socket.results(heads)
    numbers = [int(head["number"], 16) for head in told]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] <= known + 1
    for head in told:
        assert head.keys() == HEAD_FIELDS
        block = rpc.call("eth_getBlockByHash", head["hash"], False)
        assert head == {name: block[name] for name in HEAD_FIELDS}


def test_heads_of_a_node_that_catches_up(
    people: People, chain_class: type[Chain], running_node: type[RunningNode], tmp_path: Path
) -> None:
    chain = chain_class(people, tmp_path / "validator")
    for _ in range(300):
        chain.add_block()
    chain.ledger.close()
    with ExitStack() as running:
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        listener.close()
        peers = PeerSettings(bootstrap=(f"ws://127.0.0.1:{port}/p2p",), retry_first_s=0.05, retry_last_validator_s=0.2)
        follower = running_node(people, tmp_path / "follower", validator=None, peers=peers)
        running.callback(follower.stop)
        listening = running.enter_context(RpcSocket(follower.url))
        listening.call("eth_subscribe", "newHeads")
        validator = running_node(people, tmp_path / "validator", listener=listen("127.0.0.1", port))
        running.callback(validator.stop)
        numbers = [int(head["number"], 16) for _, head in listening.wait(300)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_logs_are_those_of_get_logs(node: RunningNode, socket: RpcSocket, rpc: RpcClient) -> None:
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    first = int(rpc.call("eth_blockNumber"), 16) + 1
    minted = {"address": to_hex(MINTER), "topics": [to_hex(MINTED_EVENT.topic)]}
    mints, everything = socket.call("eth_subscribe", "logs", minted), socket.call("eth_subscribe", "logs")
    node.settle(people.transfer("ann", "bob", 1, nonce=1), people.mint("bob", 7, nonce=0))
    node.settle(people.mint("cat", 8, nonce=0))
    socket.wait(2 + 5)
    assert socket.results(mints) == rpc.call("eth_getLogs", {**minted, "fromBlock": hex(first)})
    assert socket.results(everything) == rpc.call("eth_getLogs", {"fromBlock": hex(first)})


def test_transactions_by_hash_and_whole(node: RunningNode, socket: RpcSocket) -> None:
    people = node.people
    hashes = socket.call("eth_subscribe", "newPendingTransactions")
    explicit = socket.call("eth_subscribe", "newPendingTransactions", False)
    whole = socket.call("eth_subscribe", "newPendingTransactions", True)
    sent = [people.mint("ann", ATOMS_PER_AIT, nonce=0)]
    node.settle(*sent)
    sent += [people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 4)]
    node.settle(*sent[1:])
    socket.wait(12)
    assert socket.results(hashes) == socket.results(explicit) == [to_hex(each.hash) for each in sent]
    told = socket.results(whole)
    assert [each["hash"] for each in told] == [to_hex(each.hash) for each in sent]
    assert {(each["from"], each["blockHash"], each["blockNumber"]) for each in told} == {
        (to_hex(people.address("ann")), None, None)
    }


def test_ended_subscriptions_tell_nothing_more(node: RunningNode, socket: RpcSocket) -> None:
    ended, kept = (socket.call("eth_subscribe", "newPendingTransactions") for _ in range(2))
    assert socket.call("eth_unsubscribe", ended) is True
    assert socket.error("eth_unsubscribe", ended) == {"code": -32000, "message": "subscription not found"}
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    socket.wait(1)
    assert [name for name, _ in socket.told] == [kept]


def test_another_connection_can_neither_hear_nor_end_them(node: RunningNode, socket: RpcSocket) -> None:
    subscribed = socket.call("eth_subscribe", "newHeads")
    with RpcSocket(node.url) as stranger:
        assert stranger.error("eth_unsubscribe", subscribed)["message"] == "subscription not found"
        node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
        socket.wait(1)
        assert stranger.call("eth_chainId") == hex(node.people.network.chain_id)
        assert stranger.told == []


def test_the_id_comes_before_what_it_names(node: RunningNode, socket: RpcSocket) -> None:
    """In one batch with a call that takes its time, while transactions come."""
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newPendingTransactions"]},
        *({"jsonrpc": "2.0", "id": 2 + each, "method": "eth_getLogs", "params": [{}]} for each in range(200)),
    ]
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    for round_ in range(5):
        socket.socket.send(json.dumps(calls))
        sent = [node.people.transfer("ann", "bob", 1, nonce=1 + 4 * round_ + each) for each in range(4)]
        node.send(*sent)
        told_before = len(socket.told)
        answered = {each["id"]: each["result"] for each in socket.receive()}
        assert answered[1] not in {name for name, _ in socket.told[told_before:]}
        socket.call("eth_unsubscribe", answered[1])


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        ([], -32602, "missing value for required argument 0"),
        (["newBlocks"], -32602, "invalid argument 0: subscribe to one of"),
        ([["newHeads"]], -32602, "invalid argument 0: subscribe to one of"),
        (["newHeads", {}], -32602, "newHeads takes no filter"),
        (["logs", True], -32602, "logs takes no boolean"),
        (["logs", {"topics": "0x"}], -32602, "invalid argument 1: topics"),
        (["newPendingTransactions", {}], -32602, "newPendingTransactions takes no filter"),
        (["newPendingTransactions", "true"], -32602, "invalid argument 1"),
        (["newHeads", None, None], -32602, "too many arguments"),
    ],
)
def test_what_cannot_be_subscribed_to(socket: RpcSocket, parameters: list[Any], code: int, message: str) -> None:
    error = socket.error("eth_subscribe", *parameters)
    assert error["code"] == code
    assert error["message"].startswith(message)


def test_subscriptions_of_a_connection_are_bounded(socket: RpcSocket) -> None:
    ids = {socket.call("eth_subscribe", "logs", {"address": to_hex(TOKEN)}) for _ in range(MAX_SUBSCRIPTIONS)}
    assert len(ids) == MAX_SUBSCRIPTIONS
    error = socket.error("eth_subscribe", "newHeads")
    assert (error["code"], error["message"].split(":")[0]) == (-32005, "too many subscriptions")
    socket.call("eth_unsubscribe", ids.pop())
    socket.call("eth_subscribe", "newHeads")


def test_over_http_there_are_none(rpc: RpcClient) -> None:
    for method in ("eth_subscribe", "eth_unsubscribe"):
        assert rpc.error(method, "newHeads")["code"] == -32601


async def test_web3_subscribes_and_reads(node: RunningNode) -> None:
    people = node.people
    heads: list[Any] = []
    minted: list[Any] = []
    hashes: list[Any] = []
    all_told = asyncio.Event()

    def append_to(told: list[Any]) -> Callable[[Any], Coroutine[Any, Any, None]]:
        async def handler(context: Any) -> None:
            told.append(context.result)
            if heads and minted and hashes:
                all_told.set()

        return handler

    async with AsyncWeb3(WebSocketProvider(node.url.replace("http", "ws") + "/rpc")) as w3:
        assert await w3.is_connected()
        assert await w3.eth.chain_id == people.network.chain_id
        await w3.subscription_manager.subscribe(
            [
                NewHeadsSubscription(handler=append_to(heads)),
                LogsSubscription(
                    address=Web3.to_checksum_address(MINTER),
                    topics=["0x" + MINTED_EVENT.topic.hex()],
                    handler=append_to(minted),
                ),
                PendingTxSubscription(handler=append_to(hashes)),
            ]
        )
        listening = asyncio.create_task(w3.subscription_manager.handle_subscriptions())
        mint = people.mint("ann", ATOMS_PER_AIT, nonce=0)
        assert bytes(await w3.eth.send_raw_transaction(mint.raw)) == mint.hash
        receipt = await w3.eth.wait_for_transaction_receipt(mint.hash, timeout=60, poll_latency=0.05)
        async with asyncio.timeout(60):
            await all_told.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert [bytes(each) for each in hashes] == [mint.hash]
        assert bytes(minted[0]["transactionHash"]) == mint.hash
        assert minted[0] in receipt["logs"]
        assert await w3.eth.get_balance(Web3.to_checksum_address(people.address("ann"))) == ATOMS_PER_AIT
        watched = await w3.eth.filter(
            {"address": Web3.to_checksum_address(TOKEN), "topics": [to_hex(TRANSFER_EVENT.topic)]}
        )
        await asyncio.to_thread(node.settle, people.transfer("ann", "bob", 1, nonce=1))
        assert [each["data"][-1] for each in await watched.get_new_entries()] == [1]
