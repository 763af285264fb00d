"""Work given out and brought back: results, refusals, lapses, reconnects, lies."""

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from chain.primitives.hub_messages import Assignment, Cancel, Outstanding, Taken, Welcome
from chain.primitives.provider_messages import Accepted, AskOutstanding, Progress
from chain.primitives.types import Hash32
from chain.primitives.worker_message import Drain, Heartbeat, Refused
from chain.primitives.worker_messages import CHUNK_BYTES
from chain.web.websocket import MAX_MESSAGE_BYTES
from hub.workers.errors import ResultRefused
from hub.workers.intake import TRY_AGAIN
from tests.hub.workers.rig import (
    SALT,
    Peer,
    RunningHub,
    dialled,
    grant_to,
    joined,
    key_of,
    result_for,
    run_of,
    serving,
    until,
)

PICTURES = (b"first picture" * 9_000, b"second picture" * 9_000)


async def given(hub: RunningHub, peer: Peer, **changes: Any) -> Assignment:
    """The assignment that the peer gets."""
    hub.desk.waiting.append(grant_to(1, **changes))
    hub.workers.wake()
    return await peer.expect(Assignment)


def spooled(hub: RunningHub) -> list[Path]:
    return list(hub.spool.iterdir())


async def test_a_result_is_kept_with_its_pictures_and_then_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer, run=run_of(2))
        await peer.send(Accepted(lease_id="lease-1"))
        await peer.send(result_for(peer.key, assignment, PICTURES), PICTURES)
        assert (await peer.expect(Taken)).lease_id == "lease-1"
        delivery = hub.desk.deliveries["lease-1"]
        assert hub.desk.delivered_pictures["lease-1"] == PICTURES
        assert delivery.receipt.nonce == "lease-1"
        assert delivery.seeds == (7, 8)
        assert delivery.wall_s > 0
        await until(lambda: not spooled(hub))
        view = hub.workers.view(peer.key.address)
        assert view is not None
        assert view.leased_pictures == 0


async def test_progress_goes_to_those_who_watch(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        await given(hub, peer)
        for step in range(1, 6):
            await peer.send(Progress(lease_id="lease-1", step=step, steps=5, fraction=step / 5, preview="/9j/4AAQ"))
        await until(lambda: hub.desk.progresses and hub.desk.progresses[-1][1].step == 5)
        assert hub.desk.progresses[-1][1].preview == b"\xff\xd8\xff\xe0\x00\x10"
        assert len(hub.desk.progresses) < 5


async def test_a_refused_assignment_goes_back_without_fault(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        await given(hub, peer)
        await peer.send(Refused(about="lease-1", reason="busy", detail="too much to do"))
        await until(lambda: hub.desk.returns)
        assert hub.desk.returns == [("lease-1", "busy", False)]


async def test_a_lapsed_lease_goes_back_and_a_late_result_is_still_offered(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer, deadline_s=0.2)
        await until(lambda: hub.desk.returns)
        assert hub.desk.returns == [("lease-1", "lapsed", True)]
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        await peer.expect(Taken)
        assert "lease-1" in hub.desk.deliveries


async def test_a_second_result_is_refused_in_the_desks_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        hub.desk.refusal = ResultRefused("another provider was faster", reason="already_served")
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        refusal = await peer.expect(Refused)
        assert (refusal.about, refusal.reason) == ("lease-1", "already_served")
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        assert (await peer.expect(Refused)).reason == "unknown_lease"
        await until(lambda: not spooled(hub))


async def test_a_result_that_comes_again_and_again_is_looked_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        hub.desk.gate.clear()
        result = result_for(peer.key, assignment, PICTURES[:1])
        for _ in range(5):
            await peer.send(result, PICTURES[:1])
        for _ in range(4):
            refusal = await peer.expect(Refused)
            assert (refusal.about, refusal.reason) == ("lease-1", "try_again")
        assert hub.desk.looked_at == ["lease-1"]
        assert len(spooled(hub)) == 1
        hub.desk.gate.set()
        await peer.expect(Taken)
        # Once it is taken, the same is answered so; another one is not wanted.
        await peer.send(result, PICTURES[:1])
        await peer.expect(Taken)
        await peer.send(result_for(peer.key, assignment, PICTURES[1:]), PICTURES[1:])
        assert (await peer.expect(Refused)).reason == "unknown_lease"
        assert hub.desk.looked_at == ["lease-1"]


async def test_a_result_that_cannot_be_kept_is_wanted_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        hub.desk.trouble = RuntimeError("the database is away")
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        refusal = await peer.expect(Refused)
        assert (refusal.reason, refusal.retry_after_s) == ("try_again", 5.0)
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        await peer.expect(Taken)


async def test_who_comes_back_gets_what_it_has_not_heard_of(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub:
        async with joined(hub.url) as peer:
            await given(hub, peer)
            await given(hub, peer, lease_id="lease-2")
            peer.connection.transport.abort()
        async with dialled(hub.url) as peer:
            await peer.send(peer.hello(leases=("lease-1",)))
            assert (await peer.expect(Welcome)).leases == ("lease-1",)
            again = await peer.expect(Assignment)
            assert again.lease_id == "lease-2"
            await peer.send(result_for(peer.key, again, PICTURES[:1]), PICTURES[:1])
            await peer.expect(Taken)
        assert is_timed_from_its_lease(hub, "lease-2")


def is_timed_from_its_lease(hub: RunningHub, lease_id: str) -> bool:
    """Not from when it was sent again: work that was done while nobody was connected would be taken for a lie."""
    delivery = hub.desk.deliveries[lease_id]
    return (delivery.sent_at_s, delivery.wall_s) == (0.0, 0.0)


async def test_a_hub_that_starts_anew_gives_the_same_leases_again(tmp_path: Path) -> None:
    """Its memory is gone, its database is not."""
    async with serving(tmp_path) as hub:
        async with joined(hub.url) as peer:
            await given(hub, peer)
        desk = hub.desk
    async with serving(tmp_path, desk=desk, port=hub.port) as hub, dialled(hub.url) as peer:
        await peer.send(peer.hello())
        await peer.expect(Welcome)
        again = await peer.expect(Assignment)
        await peer.send(result_for(peer.key, again, PICTURES[:1]), PICTURES[:1])
        await peer.expect(Taken)
        assert is_timed_from_its_lease(hub, "lease-1")


async def test_a_cancelled_lease_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        await hub.workers.cancel("lease-1")
        assert (await peer.expect(Cancel)).lease_id == "lease-1"
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        assert (await peer.expect(Refused)).reason == "unknown_lease"
        assert hub.desk.deliveries == {}


async def test_no_work_for_who_drains_or_is_suspended(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url, 1) as one, joined(hub.url, 2) as two:
        await one.send(Drain())
        hub.workers.suspend(two.key.address, "checks_failed", "two of three failed")
        await until(lambda: all(view.is_draining or view.suspension for view in hub.workers.views()))
        hub.desk.waiting += [grant_to(1), grant_to(2, "lease-2")]
        hub.workers.wake()
        await asyncio.sleep(0.5)
        assert not hub.desk.open
        hub.workers.lift(two.key.address)
        await until(lambda: hub.desk.open)
        assert list(hub.desk.open) == ["lease-2"]


LIES: list[tuple[str, dict[str, Any]]] = [
    ("wrong_nonce", {"nonce": "lease-2"}),
    ("wrong_job", {"job_id": "job-2"}),
    ("wrong_hub", {"hub_id": "other-hub"}),
    ("wrong_chain_id", {"chain_id": 1}),
    ("wrong_client", {"client": "bob"}),
    ("wrong_request_hash", {"request_hash": Hash32(bytes(32))}),
    ("wrong_model", {"model": "other"}),
    ("wrong_prompt", {"prompt_hash": run_of(prompts=("a blue circle",)).prompt_hash(SALT)}),
    ("wrong_price", {"price_per_unit": 101, "amount": 101}),
    ("bad_receipt", {"amount": 101}),
    ("wrong_artifact", {"artifact_sha256": hashlib.sha256(b"another").hexdigest()}),
    ("wrong_signature", {"provider": key_of(2).address}),
]


@pytest.mark.parametrize(("reason", "changes"), LIES)
async def test_a_receipt_that_lies_is_refused_and_held_against_its_provider(
    tmp_path: Path, reason: str, changes: dict[str, Any]
) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        await peer.send(result_for(peer.key, assignment, PICTURES[:1], **changes), PICTURES[:1])
        assert (await peer.expect(Refused)).reason == reason
        assert hub.desk.returns == [("lease-1", reason, True)]
        assert hub.desk.deliveries == {}


async def test_a_receipt_that_another_key_has_signed_is_a_lie(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        await peer.send(result_for(peer.key, assignment, PICTURES[:1], signer=key_of(2)), PICTURES[:1])
        assert (await peer.expect(Refused)).reason == "wrong_signature"


async def test_the_amount_is_bounded_by_what_the_hub_has_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer, max_amount="99")
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        assert (await peer.expect(Refused)).reason == "too_dear"


async def test_other_bytes_than_announced_end_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        result = result_for(peer.key, assignment, PICTURES[:1])
        await peer.send(result, [bytes(len(PICTURES[0]))])
        assert await peer.ended() == "wrong_bytes"
        await until(lambda: hub.desk.returns)
        assert hub.desk.returns == [("lease-1", "wrong_bytes", True)]
        assert not spooled(hub)


@pytest.mark.parametrize("case", ["unannounced", "too_many", "too_large", "two_at_once", "empty", "wrong_count"])
async def test_frames_that_no_honest_provider_sends_end_the_session(tmp_path: Path, case: str) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        result = result_for(peer.key, assignment, PICTURES[:1])
        if case == "unannounced":
            await peer.connection.send(b"bytes")
        elif case == "too_many":
            await peer.send(result, [PICTURES[0][:CHUNK_BYTES]])
            await peer.connection.send(PICTURES[0][CHUNK_BYTES:] + b"more")
        elif case == "too_large":
            await peer.send(result_for(peer.key, assignment, [bytes(600_000)]))
        elif case == "two_at_once":
            await peer.send(result)
            await peer.send(result)
        elif case == "empty":
            await peer.send(result)
            await peer.connection.send(b"")
        else:
            await peer.send(result_for(peer.key, assignment, PICTURES).__class__(**_fields(result, PICTURES)))
        assert await peer.ended() in ("malformed", "wrong_bytes", "answer_too_large", "wrong_count")
        assert hub.desk.deliveries == {}
        await until(lambda: not spooled(hub))
        await until(lambda: hub.workers.count == 0)


def _fields(result: Any, pictures: tuple[bytes, ...]) -> dict[str, Any]:
    from chain.primitives.worker_messages import attachment_of

    fields = {name: getattr(result, name) for name in result.__struct_fields__}
    return fields | {"pictures": tuple(attachment_of(each) for each in pictures), "seeds": (7, 8)}


async def test_a_frame_that_is_too_large_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        await given(hub, peer)
        with contextlib.suppress(ConnectionClosed):
            await peer.connection.send(bytes(MAX_MESSAGE_BYTES + 1))
        await peer.connection.wait_closed()
        assert peer.connection.close_code == 1009
        await until(lambda: hub.workers.count == 0)
        assert "lease-1" in hub.desk.open


async def test_a_result_for_anothers_lease_is_no_result(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url, 1) as one, joined(hub.url, 2) as two:
        assignment = await given(hub, one)
        await two.send(result_for(two.key, assignment, PICTURES[:1]), PICTURES[:1])
        refusal = await two.expect(Refused)
        assert (refusal.about, refusal.reason) == ("lease-1", "unknown_lease")
        assert (hub.desk.deliveries, hub.desk.returns, spooled(hub)) == ({}, [], [])
        await one.send(result_for(one.key, assignment, PICTURES[:1]), PICTURES[:1])
        await one.expect(Taken)
        assert hub.desk.deliveries["lease-1"].provider == one.key.address


async def test_a_draining_hub_waits_for_what_is_under_way(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        assignment = await given(hub, peer)
        draining = asyncio.create_task(hub.workers.drain(60))
        await peer.expect(Drain)
        hub.desk.waiting.append(grant_to(1, "lease-2"))
        hub.workers.wake()
        await peer.send(result_for(peer.key, assignment, PICTURES[:1]), PICTURES[:1])
        await peer.expect(Taken)
        assert (await peer.expect(Refused)).reason == "draining"
        await draining
        assert list(hub.desk.deliveries) == ["lease-1"]
        assert hub.desk.waiting


async def test_a_provider_that_is_cut_off_mid_picture_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub:
        async with joined(hub.url) as peer:
            assignment = await given(hub, peer)
            await peer.send(result_for(peer.key, assignment, PICTURES[:1]), [PICTURES[0][:CHUNK_BYTES]])
            await until(lambda: spooled(hub))
            peer.connection.transport.abort()
        await until(lambda: hub.workers.count == 0)
        await until(lambda: not spooled(hub))
        assert "lease-1" in hub.desk.open


async def test_who_floods_is_sent_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        ended = asyncio.create_task(peer.ended())
        while not ended.done():
            with contextlib.suppress(ConnectionClosed):
                await peer.connection.send('{"type":"heartbeat"}')
            await asyncio.sleep(0.005)  # What lies unread when the hub closes may cost its reason.
        assert await ended == "too_many_messages"


async def test_who_has_much_to_do_has_much_to_say(tmp_path: Path) -> None:
    """Many quick leases, which have ended by the time that their messages are counted."""
    async with serving(tmp_path) as hub, joined(hub.url, slots=1) as peer:
        for number in range(60):
            hub.desk.waiting = [grant_to(1, f"lease-{number}")]
            hub.workers.wake()
            assignment = await peer.expect(Assignment)
            for _ in range(2):
                await peer.send(Heartbeat(busy_slots=1, waiting_pictures=0, loaded=()))
            await peer.send(Refused(about=assignment.lease_id, reason="busy", detail="not now"))
            await until(lambda: not hub.desk.open)


async def test_who_falls_silent_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, heartbeat_s=0.2) as hub, joined(hub.url) as peer:
        assert await peer.ended() == "silent"
        await until(lambda: hub.workers.count == 0)


async def test_who_asks_is_told_what_is_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        await given(hub, peer)
        hub.desk.open_checks = 3
        await peer.send(AskOutstanding(order_id="question-1"))
        told = await peer.expect(Outstanding)
        assert told == Outstanding(order_id="question-1", leases=1, checks=3, jobs=0, attestations=0)
        hub.desk.trouble = OSError("the database is away")
        await peer.send(AskOutstanding(order_id="question-2"))
        refused = await peer.expect(Refused)
        assert (refused.about, refused.reason, refused.retry_after_s) == ("question-2", TRY_AGAIN, 1.0)


async def test_who_asks_without_end_costs_one_look_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        hub.desk.gate.clear()
        for number in range(4):
            await peer.send(AskOutstanding(order_id=f"question-{number}"))
        told = [await peer.expect(Refused) for _ in range(3)]
        assert [(each.about, each.retry_after_s) for each in told] == [(f"question-{n}", 1.0) for n in (1, 2, 3)]
        hub.desk.gate.set()
        assert (await peer.expect(Outstanding)).order_id == "question-0"
        assert hub.desk.questions == 1
        for number in range(200):
            await peer.send(AskOutstanding(order_id=f"more-{number}"))
        assert await peer.ended() == "too_many_messages"
