"""Questions to providers that are connected to another process of the hub: through the database they share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.hub_messages import CheckSteps, PlanCheck
from chain.primitives.provider_messages import Checked, Plan
from chain.primitives.worker_fields import Place
from chain.primitives.worker_message import Refused
from chain.primitives.worker_messages import attachment_of
from hub.artifacts import Artifacts
from hub.store import sessions
from hub.store.store import HubIdentity, Store, now_ms
from hub.workers.errors import WorkerGone, WorkerRefused
from hub.workers.mailbox import Mailbox
from tests.hub.workers.rig import HUB, Peer, RunningHub, joined, key_of, run_of, serving
from tests.hub.workers.test_orders import PLACES, PROFILE

LATENTS = bytes(200_000)


@asynccontextmanager
async def two_processes(folder: Path) -> AsyncIterator[tuple[Peer, RunningHub, RunningHub]]:
    """As two processes would be over PostgreSQL: each with its own sessions, and one database."""
    identity = HubIdentity(hub_id=HUB.hub_id, chain_id=HUB.chain_id, genesis_hash=HUB.genesis_hash)
    store = await asyncio.to_thread(Store, f"sqlite:///{folder / 'hub.sqlite3'}", identity)
    files = Artifacts(folder / "orders")
    try:
        async with (
            serving(folder / "a", mailbox=Mailbox(store, files, "a")) as one,
            serving(folder / "b", mailbox=Mailbox(store, files, "b")) as two,
            joined(one.url) as peer,
        ):
            await store.write(
                lambda t: sessions.open_session(
                    t,
                    "session-1",
                    provider=to_checksum_address(key_of(1).address),
                    process="a",
                    declared={},
                    now_ms=now_ms(),
                )
            )
            yield peer, one, two
    finally:
        await store.close()


async def test_an_answer_with_files_comes_from_the_other_process(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (peer, _one, two):
        opened = {Place(picture=0, step=2): LATENTS}
        question = two.workers.orders.check_steps(peer.key.address, run_of(), PLACES, opened, batch_rows=1)
        answer = asyncio.create_task(question)
        order = await peer.expect(CheckSteps)
        received = b""
        while len(received) < len(LATENTS):
            frame = await peer.receive()
            received += frame if isinstance(frame, bytes) else b""
        files = (b"one" * 50_000, b"two" * 50_000)
        checked = Checked(
            order_id=order.order_id,
            profile=PROFILE,
            expected_rms=(1.0, 1.0),
            latents=tuple(attachment_of(file) for file in files),
        )
        await peer.send(checked, files)
        assert await answer == (checked, files)
        assert not [path for path in (tmp_path / "orders").rglob("*") if path.is_file()]


async def test_a_refusal_comes_from_the_other_process(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (peer, _one, two):
        answer = asyncio.create_task(two.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
        order = await peer.expect(PlanCheck)
        await peer.send(Refused(about=order.order_id, reason="check_limit", detail="enough"))
        with pytest.raises(WorkerRefused, match="enough") as caught:
            await answer
        assert caught.value.reason == "check_limit"


async def test_who_is_connected_nowhere_is_gone_at_once(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (peer, one, two):
        with pytest.raises(WorkerGone):
            await two.workers.orders.plan_check(key_of(2).address, run_of(), PLACES)
        answer = asyncio.create_task(one.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
        order = await peer.expect(PlanCheck)
        await peer.send(Plan(order_id=order.order_id, evaluations=5, needed=((), ())))
        assert (await answer).evaluations == 5
