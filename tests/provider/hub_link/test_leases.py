"""A provider serves what a hub gives it: over a real connection to a hub's workers, with pictures that are hashes."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Hash32
from genesis.processes import free_port
from provider.storage.rows import ReceiptState
from tests.hub.workers.rig import HUB, RunningHub, grant_to, run_of, serving, until
from tests.provider.engine.conftest import picture_of
from tests.provider.hub_link.rig import SlowGate, linked

CLIENT = PrivateKey(b"\x21" * 32)
CLIENT_ADDRESS = to_checksum_address(CLIENT.address)


async def test_an_assignment_becomes_pictures_and_a_receipt(tmp_path: Path) -> None:
    run = run_of(2, prompts=("a red circle", "a blue circle"))
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.desk.waiting.append(grant_to(1, run=run, price_per_unit="150"))
        await until(lambda: "lease-1" in hub.desk.deliveries)
        delivery = hub.desk.deliveries["lease-1"]
        request = provider.backend.begun.get_nowait()[1]
        assert [row.prompt for row in request.rows] == ["a red circle", "a blue circle"]
        assert hub.desk.delivered_pictures["lease-1"] == tuple(picture_of(row) for row in request.rows)
        assert (delivery.receipt.amount, delivery.receipt.price_per_unit) == (300, 150)
        stored = provider.outbox.of_job("main-hub", "job-1")
        assert [(each.lease_id, each.state) for each in stored] == [("lease-1", ReceiptState.SIGNED)]
        await until(lambda: provider.links.report()[0].leases == 0)


async def test_two_parts_of_one_job_have_two_receipts(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.desk.waiting += [grant_to(1), grant_to(1, "lease-2", run=run_of(seed=8))]
        await until(lambda: len(hub.desk.deliveries) == 2)
        assert {each.lease_id for each in provider.outbox.of_job("main-hub", "job-1")} == {"lease-1", "lease-2"}


async def test_progress_is_told_while_it_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        provider.backend.gate = SlowGate()
        hub.desk.waiting.append(grant_to(1, preview_every=1, run=run_of(steps=20)))
        await until(lambda: hub.desk.deliveries)
        steps = [progress.step for _, progress in hub.desk.progresses]
        assert steps == sorted(set(steps))
        assert len(steps) > 1
        assert hub.desk.progresses[0][1].preview == b"preview of 7"


async def test_a_lease_again_gets_the_same_receipt_also_from_another_process(tmp_path: Path) -> None:
    """The provider is done, but the hub has not heard of it: neither of a live one, nor of one started anew."""
    async with serving(tmp_path) as hub:
        async with linked(tmp_path / "provider", hub.url) as provider:
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: hub.desk.deliveries)
            first = hub.desk.deliveries.pop("lease-1")
            await until(lambda: provider.links.report()[0].leases == 0)
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: hub.desk.deliveries)
            again = hub.desk.deliveries.pop("lease-1")
            assert sum(provider.backend.computed.values()) == 1
        hub.desk.waiting.append(grant_to(1))
        async with linked(tmp_path / "provider", hub.url) as provider:
            await until(lambda: hub.desk.deliveries)
            third = hub.desk.deliveries["lease-1"]
            assert not provider.backend.computed
        assert first.receipt == again.receipt == third.receipt
        assert first.provider_signature == third.provider_signature


async def test_the_job_goes_on_while_the_hub_is_away(tmp_path: Path) -> None:
    port = free_port()
    async with linked(tmp_path / "provider", f"ws://127.0.0.1:{port}") as provider:
        async with serving(tmp_path, port=port) as hub:
            provider.backend.gate.clear()
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: provider.tools.engine.busy_slots)
            desk = hub.desk
        await until(lambda: provider.state != "connected")
        provider.backend.gate.set()
        await until(lambda: provider.outbox.of_job("main-hub", "job-1"))
        async with serving(tmp_path, port=port, desk=desk):
            await until(lambda: desk.deliveries)
        assert sum(provider.backend.computed.values()) == 1


async def test_what_a_hub_no_longer_wants_ends_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    async with linked(tmp_path / "provider", f"ws://127.0.0.1:{port}") as provider:
        async with serving(tmp_path, port=port) as hub:
            provider.backend.gate.clear()
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: provider.tools.engine.busy_slots)
        async with serving(tmp_path, port=port):
            await until(lambda: provider.state == "connected")
            provider.backend.gate.set()
            await until(lambda: provider.tools.jobs.jobs_under_way == 0)
            assert not provider.outbox.of_job("main-hub", "job-1")


async def test_a_cancelled_lease_ends_between_two_steps(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        provider.backend.gate.clear()
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: provider.tools.engine.busy_slots)
        await hub.workers.cancel("lease-1")
        await until(lambda: provider.tools.jobs.jobs_under_way == 0)
        provider.backend.gate.set()
        await until(lambda: provider.links.report()[0].leases == 0)
        assert not hub.desk.deliveries


async def test_a_result_that_the_hub_could_not_keep_is_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url):
        hub.desk.trouble = RuntimeError("the database is away")
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: hub.desk.deliveries)


async def test_work_that_is_not_done_for_anybody_is_refused_with_a_reason(tmp_path: Path) -> None:
    huge_prompt = run_of(prompts=("x" * 5_000,))
    refused: dict[str, dict[str, Any]] = {
        "price_too_low": {"price_per_unit": "99"},
        "unit_type_differs": {"unit_type": "gpu_seconds"},
        "too_large": {"run": run_of(5)},
        "out_of_range": {"run": run_of(width=8192)},
        "unknown_model": {"run": run_of(model="no-such-model")},
        "price_limit": {"max_amount": "99"},
    }
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        for number, (reason, changes) in enumerate(refused.items()):
            hub.desk.waiting.append(grant_to(1, f"lease-{number}", **changes))
            await until(partial(_has_more_than, hub.desk.returns, number))
            assert hub.desk.returns[number] == (f"lease-{number}", reason, False)
        hub.desk.waiting.append(grant_to(1, "lease-prompt", run=huge_prompt))
        await until(lambda: len(hub.desk.returns) > len(refused))
        assert hub.desk.returns[-1] == ("lease-prompt", "too_large", False)
        assert provider.backend.begun.empty()


async def test_what_its_client_has_not_signed_is_not_done(tmp_path: Path) -> None:
    signature = to_hex(CLIENT.sign(eip191_digest(Hash32(b"\xac" * 32))))
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.desk.waiting.append(grant_to(1, client=CLIENT_ADDRESS, client_signature=signature))
        await until(lambda: hub.desk.returns)
        assert hub.desk.returns == [("lease-1", "bad_signature", False)]
        assert provider.backend.begun.empty()


async def test_its_clients_signature_stands_in_the_receipt(tmp_path: Path) -> None:
    signature = CLIENT.sign(eip191_digest(Hash32(b"\xab" * 32)))
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url):
        hub.desk.waiting.append(grant_to(1, client=CLIENT_ADDRESS, client_signature=to_hex(signature)))
        await until(lambda: hub.desk.deliveries)
        receipt = hub.desk.deliveries["lease-1"].receipt
        assert (receipt.client, receipt.client_signature) == (CLIENT_ADDRESS, signature)


async def test_other_work_under_the_same_lease_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url):
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: hub.desk.deliveries)
        hub.desk.waiting.append(grant_to(1, run=run_of(seed=1234)))
        await until(lambda: hub.desk.returns)
        assert hub.desk.returns == [("lease-1", "duplicate_job", False)]


async def test_a_draining_provider_finishes_hands_over_and_takes_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        provider.backend.gate.clear()
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: provider.tools.engine.busy_slots)
        provider.tools.jobs.refuse_new()
        await provider.links.drain()
        await until(lambda: all(view.is_draining for view in hub.workers.views()))
        hub.desk.waiting.append(grant_to(1, "lease-2"))
        provider.backend.gate.set()
        async with asyncio.timeout(60):
            await provider.tools.jobs.wait_until_idle()
            await provider.links.finish()
        assert list(hub.desk.deliveries) == ["lease-1"]
        assert hub.desk.waiting


async def test_what_was_made_while_the_hub_was_away_is_brought_in_a_drain(tmp_path: Path) -> None:
    """Work that nobody else need do again; what has not been begun is not begun."""
    port = free_port()
    async with linked(tmp_path / "provider", f"ws://127.0.0.1:{port}") as provider:
        async with serving(tmp_path, port=port) as hub:
            provider.backend.gate.clear()
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: provider.tools.engine.busy_slots)
            desk = hub.desk
        await until(lambda: provider.state != "connected")
        provider.tools.jobs.refuse_new()
        provider.backend.gate.set()
        await provider.tools.jobs.wait_until_idle()
        await provider.links.finish()
        concluding = asyncio.create_task(provider.links.conclude(lambda: None))
        await until(lambda: provider.links.report()[0].leases == 0)
        desk.open["lease-2"] = grant_to(1, "lease-2", job_id="job-2")  # It was under way to this provider.
        async with serving(tmp_path, port=port, desk=desk):
            async with asyncio.timeout(60):
                await concluding
        assert list(desk.deliveries) == ["lease-1"]
        assert ("lease-2", "draining", False) in desk.returns
        assert sum(provider.backend.computed.values()) == 1


async def test_what_a_draining_hub_has_given_is_brought_before_it_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        provider.backend.gate.clear()
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: provider.tools.engine.busy_slots)
        draining = asyncio.create_task(hub.workers.drain(60))
        await until(lambda: provider.state == "hub_draining")
        provider.backend.gate.set()
        await draining
        assert list(hub.desk.deliveries) == ["lease-1"]
        await until(lambda: provider.state == "draining")


async def test_several_hubs_are_served_at_once(tmp_path: Path) -> None:
    other = replace(HUB, hub_id="other-hub")
    async with (
        serving(tmp_path / "a") as one,
        serving(tmp_path / "b", hub=other) as two,
        linked(tmp_path / "provider", one.url, two.url),
    ):
        one.desk.waiting.append(grant_to(1))
        two.desk.waiting.append(grant_to(1))
        await until(lambda: one.desk.deliveries and hub_ids(two))
        assert [hub_ids(one), hub_ids(two)] == [["main-hub"], ["other-hub"]]


def _has_more_than(items: list[tuple[str, str, bool]], count: int) -> bool:
    return len(items) > count


def hub_ids(hub: RunningHub) -> list[str]:
    return [delivery.receipt.hub_id for delivery in hub.desk.deliveries.values()]
