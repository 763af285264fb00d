"""Attestations to providers over their own sockets: all who worked are told, again until one has it."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address, to_hex
from chain.primitives.hub_messages import Attested
from chain.primitives.provider_messages import AttestationTaken
from chain.primitives.receipt import Receipt
from chain.primitives.settlement import settlement_of
from chain.primitives.types import Address, Amount
from chain.primitives.worker_message import Refused
from hub.attestation.delivering import Delivering, DeliverySettings, retry_pause_s
from hub.attestation.metrics import AttestationMetrics
from hub.store import jobs, receipts
from hub.store.store import now_ms
from tests.hub.attestation.evidences import SPLIT, Job
from tests.hub.attestation.hubs import Hub, TwoAttesterChain
from tests.hub.workers.rig import RunningHub, joined, key_of, until
from tests.hub.workers.rig import serving as serving_workers

MAKERS = ((key_of(1), 2), (key_of(2), 1))
SIGNATURES = "0x" + "ab" * 130


@pytest.fixture
async def east(network: TwoAttesterChain, tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub("east", tmp_path / "east", network)
    yield hub
    hub.listener.close()
    await hub.close()


@asynccontextmanager
async def delivering(hub: Hub, folder: Path) -> AsyncIterator[tuple[RunningHub, Delivering]]:
    async with serving_workers(folder / "workers") as running:
        loop = Delivering(
            DeliverySettings(first_retry_s=0.05),
            store=hub.store,
            postman=running.workers.orders,
            is_connected=lambda provider: running.workers.view(provider) is not None,
            asked_of=hub.asked_of,
            metrics=AttestationMetrics(CollectorRegistry()),
        )
        task = asyncio.create_task(loop.run())
        try:
            yield running, loop
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def attested(hub: Hub, job: Job, **facts: Any) -> tuple[str, Receipt]:
    """A job whose receipt has its signatures."""
    evidence = job.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time())).evidence()
    job_id = hub.bring(evidence)
    if facts:
        hub.store.write_now(lambda t: jobs.keep_facts(t, job_id, **facts))
    hub.store.write_now(lambda t: receipts.attested(t, job_id, to_hex(evidence.receipt.hash), SIGNATURES, now_ms()))
    return job_id, evidence.receipt


async def take(peer: Any) -> Attested:
    message: Attested = await peer.expect(Attested)
    await peer.send(AttestationTaken(receipt_hash=message.receipt_hash, state="attested"))
    return message


async def test_all_who_worked_are_told(east: Hub, tmp_path: Path) -> None:
    async with (
        delivering(east, tmp_path) as (running, _),
        joined(running.url, 1) as first,
        joined(running.url, 2) as second,
    ):
        job_id, receipt = attested(east, SPLIT.but(makers=MAKERS))
        for message in await asyncio.gather(take(first), take(second)):
            assert (message.form, message.signatures) == ("split", SIGNATURES)
            assert Receipt.from_json(bytes(message.receipt)) == receipt
        await until(lambda: east.receipt(job_id).delivered_at_ms is not None)
        assert east.receipt(job_id).next_delivery_ms is None


async def test_a_settlement_can_be_made_of_the_message(east: Hub, tmp_path: Path) -> None:
    fee = {"recipient": to_checksum_address(Address(b"\x0f" * 20)), "amount": "17"}
    async with delivering(east, tmp_path) as (running, _), joined(running.url, 1) as provider:
        _, receipt = attested(east, Job(makers=MAKERS[:1], is_paid=True), fee=fee)
        message = await take(provider)
        terms = message.settlement
        assert message.form == "settle" and terms is not None
        request = ClientRequest(
            chain_id=receipt.chain_id,
            audience=terms.audience,
            prompt_hash=parse_hash(terms.prompt_hash),
            parameters_hash=parse_hash(terms.parameters_hash),
            max_price=Amount(int(terms.max_price)),
            nonce=parse_hash(terms.nonce),
            expiry=terms.expiry,
        )
        recipient = parse_address(terms.fee_recipient)
        settlement = settlement_of(receipt, request, fee_recipient=recipient, fee=int(terms.fee))
        assert to_hex(settlement.receipt_hash) == message.receipt_hash


async def test_one_who_is_away_is_told_when_it_is_back(east: Hub, tmp_path: Path) -> None:
    async with delivering(east, tmp_path) as (running, _):
        job_id, _ = attested(east, Job(makers=MAKERS[:1]))
        await until(lambda: east.receipt(job_id).delivery_attempts >= 2)
        assert (east.receipt(job_id).delivery_error or "").startswith("worker_gone")
        async with joined(running.url, 1) as provider:
            name = to_checksum_address(provider.key.address)
            east.store.write_now(lambda t: receipts.deliver_again(t, name, now_ms()))  # As the desk does.
            message = await take(provider)
            assert (message.form, message.has_receipt) == ("mint", False)
            await until(lambda: east.receipt(job_id).delivered_at_ms is not None)


async def test_one_who_does_not_answer_keeps_nobody_waiting(east: Hub, tmp_path: Path) -> None:
    """However many of its receipts are due."""
    async with delivering(east, tmp_path) as (running, _), joined(running.url, 1) as silent:
        for _ in range(6):
            attested(east, Job(makers=MAKERS[:1]))
        for _ in range(4):
            await silent.expect(Attested)
        async with joined(running.url, 2) as quick:
            job_id, _ = attested(east, Job(makers=MAKERS[1:]))
            assert (await take(quick)).form == "mint"
            await until(lambda: east.receipt(job_id).delivered_at_ms is not None)


async def test_one_who_says_no_is_asked_again_until_the_chain_has_it(east: Hub, tmp_path: Path) -> None:
    async with delivering(east, tmp_path) as (running, _), joined(running.url, 1) as provider:
        job_id, _ = attested(east, Job(makers=MAKERS[:1]))
        for _ in range(2):
            message = await provider.expect(Attested)
            await provider.send(Refused(about=message.receipt_hash, reason="disk_full", detail="no room"))
        await until(lambda: "disk_full" in (east.receipt(job_id).delivery_error or ""))
        east.store.write_now(lambda t: receipts.keep_on_chain(t, job_id, transaction_hash="0x" + "22" * 32, height=5))
        assert east.receipt(job_id).next_delivery_ms is None


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [retry_pause_s(failures, first_s=1, longest_s=300) for failures in (0, 1, 2, 8, 9, 10**6)]
    assert pauses == [1, 2, 4, 256, 300, 300]
