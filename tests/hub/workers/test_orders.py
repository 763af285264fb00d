"""Questions to one provider: each has its answer, its refusal, or an end."""

import asyncio
import hashlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Attested, CheckSteps, ComputePictures, OpenSteps, PlanCheck, SignReceipt
from chain.primitives.provider_messages import (
    AttestationTaken,
    Checked,
    Computed,
    Opened,
    OpenedStep,
    Plan,
    ReceiptSigned,
)
from chain.primitives.receipt import sign_receipt
from chain.primitives.worker_fields import Place, ProfileClaim
from chain.primitives.worker_message import Refused
from chain.primitives.worker_messages import attachment_of
from hub.workers.errors import WorkerGone, WorkerLied, WorkerRefused
from hub.workers.intake import MAX_LATENTS_BYTES
from tests.hub.workers.rig import (
    REQUEST_HASH,
    Peer,
    grant_to,
    joined,
    key_of,
    receipt_for,
    run_of,
    serving,
)

PLACES = (Place(picture=0, step=0), Place(picture=0, step=3))
LATENTS = (b"latents of the beginning" * 10_000, b"latents of step three" * 10_000)
PROFILE = ProfileClaim(
    weights_sha256="00" * 32,
    scheduler="Hash",
    dtype="float32",
    device_class="cpu",
    batch_rows=1,
    latent_shape=(4, 8, 8),
    versions={},
)


def asked(question: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(question)


def opened(order_id: str, places: tuple[Place, ...] = PLACES) -> Opened:
    return Opened(
        order_id=order_id,
        profiles=(PROFILE,),
        openings=tuple(
            OpenedStep(
                picture=place.picture,
                pictures=1,
                step=place.step,
                steps=5,
                latents_sha256=hashlib.sha256(latents).hexdigest(),
                siblings=(),
            )
            for place, latents in zip(places, LATENTS, strict=True)
        ),
        latents=tuple(attachment_of(latents) for latents in LATENTS),
    )


async def test_steps_are_opened_with_their_latents(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.open_steps(peer.key.address, lease_id="lease-1", places=PLACES))
        order = await peer.expect(OpenSteps)
        assert (order.lease_id, order.places) == ("lease-1", PLACES)
        await peer.send(opened(order.order_id), LATENTS)
        message, latents = await answer
        assert latents == LATENTS
        assert message.profiles == (PROFILE,)
        assert not list(hub.spool.iterdir())


async def test_other_steps_than_were_asked_for_are_a_lie(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.open_steps(peer.key.address, lease_id="lease-1", places=PLACES))
        order = await peer.expect(OpenSteps)
        await peer.send(opened(order.order_id, PLACES[::-1]), LATENTS)
        with pytest.raises(WorkerLied):
            await answer


async def test_steps_are_computed_again_from_what_was_opened(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        plan = asked(hub.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
        question = await peer.expect(PlanCheck)
        await peer.send(Plan(order_id=question.order_id, evaluations=5, needed=((), (2,))))
        assert (await plan).needed == ((), (2,))
        needed = {Place(picture=0, step=2): LATENTS[1]}
        answer = asked(hub.workers.orders.check_steps(peer.key.address, run_of(), PLACES, needed, batch_rows=3))
        order = await peer.expect(CheckSteps)
        assert (order.opened, order.batch_rows) == ((Place(picture=0, step=2),), 3)
        received = b""
        while len(received) < len(LATENTS[1]):
            frame = await peer.receive()
            if isinstance(frame, bytes):
                received += frame
        assert received == LATENTS[1]
        checked = Checked(
            order_id=order.order_id,
            profile=PROFILE,
            expected_rms=(1.0, 0.5),
            latents=tuple(attachment_of(each) for each in LATENTS),
        )
        await peer.send(checked, LATENTS)
        message, latents = await answer
        assert (message.expected_rms, latents) == ((1.0, 0.5), LATENTS)


async def test_pictures_are_computed_without_a_receipt(tmp_path: Path) -> None:
    pictures, latents = (b"picture",), (b"latents",)
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.compute(peer.key.address, run_of(), purpose="benchmark"))
        order = await peer.expect(ComputePictures)
        assert order.purpose == "benchmark"
        computed = Computed(
            order_id=order.order_id,
            profiles=(PROFILE,),
            compute_microseconds=1_000,
            duration_ms=2,
            digests=(("00" * 32,),),
            pictures=tuple(attachment_of(each) for each in pictures),
            latents=tuple(attachment_of(each) for each in latents),
        )
        await peer.send(computed, (*pictures, *latents))
        message, found_pictures, found_latents = await answer
        assert (message.compute_microseconds, found_pictures, found_latents) == (1_000, pictures, latents)


async def test_a_receipt_is_signed_by_whom_was_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        grant = grant_to(1)
        receipt = receipt_for(peer.key, grant.message, [b"picture"])
        for signer, is_right in ((peer.key, True), (key_of(2), False)):
            answer = asked(hub.workers.orders.sign_receipt(peer.key.address, receipt))
            order = await peer.expect(SignReceipt)
            signature = sign_receipt(signer, receipt)
            await peer.send(ReceiptSigned(order_id=order.order_id, signature=to_hex(signature)))
            if is_right:
                assert await answer == signature
            else:
                with pytest.raises(WorkerLied):
                    await answer


async def test_an_attestation_is_acknowledged(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        attested = Attested(receipt_hash=REQUEST_HASH, form="mint", signatures="0x" + "cd" * 65)
        answer = asked(hub.workers.orders.attest(peer.key.address, attested))
        assert await peer.expect(Attested) == attested
        await peer.send(AttestationTaken(receipt_hash=REQUEST_HASH, state="attested"))
        assert await answer == "attested"


async def test_a_refusal_comes_in_the_providers_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
        order = await peer.expect(PlanCheck)
        await peer.send(Refused(about=order.order_id, reason="check_limit", detail="enough\nfor now", retry_after_s=9))
        with pytest.raises(WorkerRefused, match=r"enough\?for now") as caught:
            await answer
        assert (caught.value.reason, caught.value.retry_after_s) == ("check_limit", 9)


async def test_the_answer_to_another_question_is_a_lie(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
        order = await peer.expect(PlanCheck)
        await peer.send(ReceiptSigned(order_id=order.order_id, signature="0x" + "cd" * 65))
        with pytest.raises(WorkerLied):
            await answer


async def test_too_many_bytes_for_an_answer_end_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        answer = asked(hub.workers.orders.open_steps(peer.key.address, lease_id="lease-1", places=PLACES[:1]))
        order = await peer.expect(OpenSteps)
        huge = opened(order.order_id)
        latents = tuple(type(each)(size_bytes=32 * 2**20, sha256=each.sha256) for each in huge.latents)
        await peer.send(type(huge)(order_id=huge.order_id, profiles=(), openings=huge.openings, latents=latents))
        with pytest.raises(WorkerLied):
            await answer
        assert await peer.ended() == "answer_too_large"


async def test_whoever_waits_is_told_when_the_provider_goes(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub:
        with pytest.raises(WorkerGone):
            await hub.workers.orders.plan_check(key_of(1).address, run_of(), PLACES)
        async with joined(hub.url) as peer:
            answer = asked(hub.workers.orders.plan_check(peer.key.address, run_of(), PLACES))
            await peer.expect(PlanCheck)
            peer.connection.transport.abort()
            with pytest.raises(WorkerGone):
                await answer


async def test_answers_that_nobody_waits_for_are_dropped(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        await peer.send(opened("unknown"), LATENTS)
        await peer.send(Plan(order_id="unknown", evaluations=5, needed=()))
        await still_there(hub.workers.orders.plan_check(peer.key.address, run_of(), PLACES), peer)
        assert not list(hub.spool.iterdir())


async def still_there(question: Coroutine[Any, Any, Any], peer: Peer) -> None:
    answer = asked(question)
    order = await peer.expect(PlanCheck)
    await peer.send(Plan(order_id=order.order_id, evaluations=5, needed=((), ())))
    await answer


async def test_one_who_does_not_read_holds_up_nobody_else(tmp_path: Path) -> None:
    """Megabytes for one that never reads; another is served meanwhile."""
    opened = {Place(picture=0, step=step): bytes(MAX_LATENTS_BYTES) for step in range(4)}
    async with serving(tmp_path) as hub, joined(hub.url, 1) as stalled, joined(hub.url, 2) as other:
        stalled.connection.transport.pause_reading()
        waiting = asked(hub.workers.orders.check_steps(stalled.key.address, run_of(), PLACES, opened, batch_rows=1))
        await asyncio.sleep(0.2)
        await still_there(hub.workers.orders.plan_check(other.key.address, run_of(), PLACES), other)
        assert not waiting.done()
        stalled.connection.transport.abort()
        with pytest.raises(WorkerGone):
            await waiting
