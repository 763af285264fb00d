"""Mints that the chain's events tell of, whoever brings them, however many follow; nodes that answer anything."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import MINT_SPLIT, MINTED_EVENT, MINTER
from chain.web.server import Server, listen
from hub.attestation.forms import digest_of
from hub.attestation.logs import ChainLogs, ChainUnclear
from hub.attestation.minting import NAME, MintFollower
from hub.ledger import books
from hub.ledger.accounts import provider_earnings
from hub.store import events, followed
from tests.hub.attestation.evidences import PROVIDERS, SPLIT
from tests.hub.attestation.hubs import ATTESTERS, PATIENCE_S, Hub, TwoAttesterChain, serving


def follower_of(hub: Hub) -> MintFollower:
    return MintFollower(store=hub.store, node=hub.node, logs=hub.logs, metrics=hub.metrics)


async def test_a_mint_is_kept_once_by_however_many(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east:
        follower = follower_of(east)
        assert not await follower.follow()  # From here on.
        begun = east.store.read_now(lambda c: followed.height(c, NAME))
        assert begun is not None and begun > 0
        kept = [SPLIT.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time())).evidence() for _ in "ab"]
        ids = [east.bring(each) for each in kept]
        for each in kept:
            who, amounts = zip(*each.receipt.payouts(), strict=True)
            digest = digest_of(each.form, each.receipt, each.request)
            signers = sorted(ATTESTERS.values(), key=lambda key: key.address)
            signatures = b"".join(key.sign(digest) for key in signers)
            network.send(PROVIDERS[2], MINTER, MINT_SPLIT.encode(who, amounts, each.receipt.hash, signatures))

        followers = [follower, follower_of(east), follower_of(east)]
        async with asyncio.timeout(PATIENCE_S):
            while any(east.receipt(job_id).chain_transaction is None for job_id in ids):
                await asyncio.gather(*(each.follow() for each in followers))
                await asyncio.sleep(0.1)
        for job_id in ids:
            told = east.store.read_now(partial(events.after, job_id=job_id, sequence=0))
            assert [each.kind for each in told].count("on_chain") == 1
            assert east.receipt(job_id).next_chain_check_ms is None
        paid: dict[str, int] = {}
        for maker, amount in [payout for each in kept for payout in each.receipt.payouts()]:
            name = provider_earnings(to_checksum_address(maker))
            paid[name] = paid.get(name, 0) + amount
        assert east.store.read_now(lambda c: books.balances(c, "provider:")) == paid
        assert east.store.read_now(books.trial_balance) == 0


@asynccontextmanager
async def saying(content: bytes) -> AsyncIterator[ChainLogs]:
    """A node that answers every call with this."""

    async def respond(request: Request) -> Response:
        await request.body()
        return Response(content, media_type="application/json")

    listener = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    application = FastAPI()
    application.add_route("/rpc", respond, methods=["POST"])
    server = Server(application, listener, max_connections=8)
    task = asyncio.create_task(server.serve(lambda _url: ready.set()))
    await ready.wait()
    logs = ChainLogs(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    try:
        yield logs
    finally:
        await logs.close()
        server.stop()
        await task


LOG: dict[str, Any] = {
    "blockNumber": "0x1",
    "transactionHash": "0x" + "11" * 32,
    "logIndex": "0x0",
    "topics": [to_hex(MINTED_EVENT.topic), "0x" + "00" * 12 + "22" * 20],
    "data": "0x" + "00" * 64,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 5_000,
        b"null",
        b'{"result": 5}',
        b'{"error": {"code": -32000, "message": "no"}}',
        json.dumps({"result": [LOG | {"blockNumber": "one"}]}).encode(),
        json.dumps({"result": [LOG | {"topics": 5}]}).encode(),
    ],
    ids=range(7),
)
async def test_a_node_that_answers_anything(content: bytes) -> None:
    async with saying(content) as logs:
        with pytest.raises(ChainUnclear):
            await logs.between(1, 1, MINTER, [to_hex(MINTED_EVENT.topic)])


@pytest.mark.parametrize("change", [{"topics": []}, {"topics": ["0x12"]}, {"data": "0x00"}, {"transactionHash": "0x"}])
async def test_logs_that_are_not_the_minters(network: TwoAttesterChain, tmp_path: Path, change: dict[str, Any]) -> None:
    hub = Hub("east", tmp_path / "east", network)
    async with saying(json.dumps({"result": [LOG | change]}).encode()) as logs:
        follower = MintFollower(store=hub.store, node=hub.node, logs=logs, metrics=hub.metrics)
        hub.store.write_now(lambda t: followed.advance(t, NAME, None, 0))
        with pytest.raises(ChainUnclear):
            await follower.follow()
        assert hub.store.read_now(lambda c: followed.height(c, NAME)) == 0
    hub.listener.close()
    await hub.close()
