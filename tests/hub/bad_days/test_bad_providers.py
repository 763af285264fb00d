"""Providers that lie, stall and vanish: the work goes elsewhere, and nobody is paid for what another has made."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from tests.hub.bad_days.invariants import check
from tests.hub.dialled import DialledProvider, draw, serve_honestly
from tests.hub.running import PRICE, Chain, HubProcess, wait_until

pytestmark = pytest.mark.timeout(600)

Join = Callable[..., DialledProvider]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, chain: Chain) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("hub"), chain).start()
    yield process
    assert process.stop() == 0, process.log


def send(hub: HubProcess, prompt: str, **fields: Any) -> str:
    answer = hub.post_job(prompt=prompt, wait_s=0, **fields)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def test_a_straggler_is_helped_and_comes_too_late(hub: HubProcess, join: Join) -> None:
    is_over = threading.Event()

    async def late(provider: DialledProvider, assignment: Assignment) -> None:
        await asyncio.to_thread(is_over.wait)
        await serve_honestly(provider, assignment)

    straggler = join(hub, 1, behaviour=late)
    job_id = send(hub, "a crane")
    wait_until(lambda: straggler.assignments)
    helper = join(hub, 0)
    job = hub.ended(job_id)
    assert (job["status"], job["provider"]) == ("done", helper.address)
    is_over.set()
    lease_id = straggler.assignments[-1].lease_id
    wait_until(lambda: any(refusal.about == lease_id for refusal in straggler.refusals))
    assert lease_id not in straggler.taken
    assert lease_id in straggler.cancelled
    wait_until(lambda: hub.job(job_id)["mint"]["state"] == "minted")


def test_one_result_for_two_jobs_and_the_same_result_twice(hub: HubProcess, join: Join, chain: Chain) -> None:
    kept: list[tuple[Assignment, list[bytes]]] = []

    async def twice(provider: DialledProvider, assignment: Assignment) -> None:
        if not kept:
            kept.append((assignment, provider.pictures(assignment)))
            await provider.deliver(*kept[0])
            await provider.say(*provider._sent[assignment.lease_id])
        else:
            before, pictures = kept[0]
            await provider.say(*provider._sent[before.lease_id])
            await provider.deliver(assignment, pictures, job_id=before.job_id, nonce=before.lease_id)

    liar = join(hub, 0, behaviour=twice)
    before_atoms = chain.balance(liar.key)
    first = hub.ended(send(hub, "a rose", seed=1))
    assert (first["status"], first["provider"]) == ("done", liar.address)
    wait_until(lambda: hub.job(first["job_id"])["mint"]["state"] == "minted")
    second = send(hub, "a rose", seed=2)
    wait_until(lambda: len(liar.assignments) > 1)
    wait_until(lambda: any(refusal.reason in ("wrong_job", "wrong_nonce") for refusal in liar.refusals))
    # The same again is taken again, also when its job has ended.
    wait_until(lambda: liar.taken.count(kept[0][0].lease_id) == 3)
    honest = join(hub, 1)
    job = hub.ended(second)
    if job["status"] != "done":  # Everybody who was there had failed, before the other one came.
        job = hub.ended(send(hub, "a rose", seed=2))
    assert (job["status"], job["provider"]) == ("done", honest.address)
    assert chain.balance(liar.key) == before_atoms + PRICE


def test_anothers_picture(hub: HubProcess, join: Join) -> None:
    async def copied(provider: DialledProvider, assignment: Assignment) -> None:
        run = assignment.run
        await provider.deliver(assignment, [draw("a rose", 1, run.width, run.height)])

    liar = join(hub, 2, behaviour=copied)
    job_id = send(hub, "a tulip", seed=9)
    wait_until(lambda: liar.assignments)
    job = hub.ended(job_id)
    assert (job["status"], job["reason"], job["receipt"]) == ("failed", "providers_failed", None)
    liar.hang_up()
    honest = join(hub, 1)
    again = hub.ended(send(hub, "a tulip", seed=9))
    assert (again["status"], again["provider"]) == ("done", honest.address)


def test_all_of_them_vanish(hub: HubProcess, join: Join) -> None:
    async def once(provider: DialledProvider, assignment: Assignment) -> None:
        if not provider.taken:
            await serve_honestly(provider, assignment)

    provider = join(hub, 1, behaviour=once)
    job_id = send(hub, "a hive", n=4, deadline_s=20)
    wait_until(lambda: provider.taken and len(provider.assignments) == 2)
    provider.hang_up()
    assert hub.job(job_id)["status"] == "running"
    job = hub.ended(job_id)
    assert (job["status"], job["reason"], job["pictures_done"]) == ("failed", "deadline_passed", 2)
    assert job["receipt"] is not None
    join(hub, 1)
    wait_until(lambda: hub.job(job_id)["mint"]["state"] == "minted")


def test_nobody_was_paid_twice(hub: HubProcess, chain: Chain, crew: list[PrivateKey], join: Join) -> None:
    for number in range(len(crew)):
        join(hub, number)
    check(hub, chain, crew)
