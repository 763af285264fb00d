"""What a hub asks besides work, over a real connection, with a backend whose latents are hashes."""

import asyncio
from pathlib import Path

import pytest

from chain.primitives.worker_fields import Place
from hub.workers.errors import WorkerRefused
from provider.generation import ImageRequest, Row
from tests.hub.workers.rig import grant_to, run_of, serving, until
from tests.provider.engine.conftest import entry_of, picture_of
from tests.provider.hub_link.rig import linked

RUN = run_of(2)
PLACES = (Place(picture=0, step=0), Place(picture=1, step=3))


async def test_steps_are_planned_and_computed_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        await until(lambda: hub.workers.count)
        key, orders = provider.key, hub.workers.orders
        plan = await orders.plan_check(key.address, RUN, PLACES)
        assert (plan.evaluations, plan.needed) == (5, ((), (2,)))
        opened = {Place(picture=1, step=2): b"opened" * 30_000}
        checked, latents = await orders.check_steps(key.address, RUN, PLACES, opened, batch_rows=4)
        assert latents == (entry_of(row_of(0), 0), entry_of(row_of(1), 3))
        assert checked.profile.batch_rows == 4
        for wrong, reason in (
            (orders.check_steps(key.address, RUN, PLACES, {}, batch_rows=1), "bad_latents"),
            (orders.plan_check(key.address, RUN, (Place(picture=2, step=0),)), "out_of_range"),
            (orders.plan_check(key.address, run_of(model="none"), PLACES[:1]), "unknown_model"),
            (orders.plan_check(key.address, run_of(steps=1_000), PLACES[:1]), "out_of_range"),
        ):
            with pytest.raises(WorkerRefused) as caught:
                await wrong
            assert caught.value.reason == reason


def row_of(index: int) -> Row:
    request = ImageRequest("a red circle", steps=5, guidance=2.5, width=256, height=256, seed=7, count=2)
    return request.row(index)


async def test_pictures_without_a_receipt_leave_none(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        await until(lambda: hub.workers.count)
        computed, pictures, latents = await hub.workers.orders.compute(provider.key.address, RUN, purpose="benchmark")
        batch = provider.backend.begun.get_nowait()[1]
        assert pictures == tuple(picture_of(row) for row in batch.rows)
        assert (latents, computed.digests, len(computed.profiles)) == ((), (), 2)
        assert provider.outbox.page(None, before=None, limit=10) == []


async def test_what_is_not_paid_for_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url, hub_check_limit="3/hour") as provider:
        await until(lambda: hub.workers.count)
        await hub.workers.orders.compute(provider.key.address, RUN, purpose="check")
        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.compute(provider.key.address, RUN, purpose="check")
        assert (caught.value.reason, caught.value.retry_after_s) == ("check_limit", 60.0)
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: hub.desk.deliveries)


async def test_a_receipt_without_a_commitment_has_no_steps_to_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: hub.desk.deliveries)
        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.open_steps(provider.key.address, lease_id="lease-1", places=PLACES[:1])
        assert caught.value.reason == "no_trajectory"


async def test_many_questions_at_once_are_all_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        await until(lambda: hub.workers.count)
        plans = await asyncio.gather(
            *(hub.workers.orders.plan_check(provider.key.address, RUN, PLACES) for _ in range(40))
        )
        assert {plan.evaluations for plan in plans} == {5}
