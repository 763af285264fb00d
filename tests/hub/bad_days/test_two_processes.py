"""Two processes of one hub on one PostgreSQL database: whatever one has begun, the other one knows, and can end."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from tests.hub.bad_days.invariants import check
from tests.hub.dialled import DialledProvider, draw
from tests.hub.postgresql import PostgresqlServer, running_server
from tests.hub.running import CLIENT_KEYS, PATIENCE_S, PRICE, Chain, HubProcess, wait_until
from tests.hub.signing_clients import new_account, signed_order
from tests.s3 import S3Server

pytestmark = [pytest.mark.timeout(600), pytest.mark.postgresql]

Join = Callable[..., DialledProvider]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with running_server(is_durable=True) as running:
        yield running


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, server: PostgresqlServer
) -> Iterator[tuple[HubProcess, HubProcess]]:
    """Each has a folder of its own; database, pictures and secrets are shared. The pictures are in S3."""
    folder, s3 = tmp_path_factory.mktemp("hub"), S3Server()
    s3.make_bucket("pictures")
    shared = {
        "database_url": server.url(),
        "artifacts": "s3://pictures/of-the-hub",
        "secrets_file": folder / "hub-secrets.json",
        "signed_orders": "all",
        **s3.environment,
    }
    hubs = [HubProcess(folder / name, chain, **shared) for name in "ab"]
    with ThreadPoolExecutor() as pool:  # At one time: one makes the tables and draws the secrets, the other waits.
        list(pool.map(HubProcess.start, hubs))
    yield hubs[0], hubs[1]
    for hub in hubs:
        assert hub.stop() == 0, hub.log
    s3.kill()


def events_of(hub: HubProcess, job_id: str) -> list[dict[str, Any]]:
    """Until the job's end."""
    path = f"{hub.url}/v1/jobs/{job_id}/events"
    headers = {"Authorization": f"Bearer {CLIENT_KEYS['alice']}"}
    with hub._http.stream("GET", path, headers=headers) as answer:
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


async def slowly(provider: DialledProvider, assignment: Assignment) -> None:
    await asyncio.sleep(1.0)
    await provider.deliver(assignment, provider.pictures(assignment))


async def never(_provider: DialledProvider, _assignment: Assignment) -> None:
    """Takes work and does nothing."""


def test_what_one_accepts_the_others_workers_make(pair: tuple[HubProcess, HubProcess], join: Join) -> None:
    first, second = pair
    provider = join(second)
    answer = wait_until(lambda: done if (done := first.post_job(prompt="a lamp", seed=3)).status_code == 200 else None)
    job = answer.json()
    assert (job["status"], job["provider"]) == ("done", provider.address)
    kinds = [event["kind"] for event in events_of(first, job["job_id"])]
    assert kinds == [event["kind"] for event in events_of(second, job["job_id"])]
    assert [kinds[0], kinds[-1]] == ["queued", "done"]
    for hub in pair:
        assert hub.request("GET", job["pictures"][0]["url"], api_key="none").content == draw("a lamp", 3, 256, 256)
        assert hub.request("GET", "/v1/models").json()["data"][0]["id"] == "aitbc/tiny-sd"
        assert hub.request("GET", "/v1/hub").json()["providers"] == 1


def test_a_job_is_split_over_both_and_its_receipt_signed_through_the_database(
    pair: tuple[HubProcess, HubProcess], join: Join, chain: Chain
) -> None:
    first, second = pair
    signer = join(first, 1, behaviour=slowly, max_pictures=2)
    other = join(second, 2, behaviour=slowly, max_pictures=2, signs=False)
    before = [chain.balance(each.key) for each in (signer, other)]
    jobs = [second.post_job(prompt=f"boat {number}", n=4, wait_s=0).json()["job_id"] for number in range(2)]
    for job_id in jobs:
        job = first.ended(job_id)
        assert job["status"] == "done", job
        assert job["provider"] == signer.address
    assert signer.assignments
    assert other.assignments
    wait_until(lambda: all(first.job(job_id)["mint"]["state"] == "minted" for job_id in jobs))
    gained = [chain.balance(each.key) - was for each, was in zip((signer, other), before, strict=True)]
    payouts = [payout for job_id in jobs for payout in first.job(job_id)["payouts"]]
    for provider, atoms in zip((signer, other), gained, strict=True):
        assert atoms == sum(int(each["amount"]) for each in payouts if each["provider"] == provider.address)
        # One that took long may have been given to both: only the first to come is paid.
        assert 0 < atoms <= PRICE * sum(assignment.run.count for assignment in provider.assignments)
    assert sum(gained) == 8 * PRICE
    # Also whoever is connected to another process than the receipt's signer has its attestation.
    for job in [first.job(job_id) for job_id in jobs]:
        if other.address in {payout["provider"] for payout in job["payouts"]}:
            wait_until(lambda it=job: it["receipt_hash"] in {each.receipt_hash for each in other.attested})  # type: ignore[misc]


def test_a_signed_order_is_taken_by_one_and_its_token_opens_it_at_both(
    pair: tuple[HubProcess, HubProcess], join: Join, chain: Chain
) -> None:
    join(pair[1])
    wait_until(lambda: pair[0].request("GET", "/v1/hub").json()["providers"])
    body = signed_order(new_account(), chain.chain_id)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda hub: hub._http.post(f"{hub.url}/v1/jobs", json=body), pair * 4))
    assert [answer.status_code for answer in answers].count(409) == 7, [each.text for each in answers]
    job = next(answer.json() for answer in answers if answer.status_code != 409)
    for hub in pair:
        ended = hub.request("GET", f"/v1/jobs/{job['job_id']}?wait_s=50", api_key=job["job_token"]).json()
        assert ended["status"] == "done", ended


def test_cancelled_here_called_off_there(pair: tuple[HubProcess, HubProcess], join: Join) -> None:
    first, second = pair
    provider = join(second, behaviour=never)
    job_id = first.post_job(prompt="a coat", wait_s=0).json()["job_id"]
    wait_until(lambda: provider.assignments)
    for hub in (first, second, first):
        assert hub.request("POST", f"/v1/jobs/{job_id}/cancel").status_code == 200
    assert first.ended(job_id)["status"] == "cancelled"
    wait_until(lambda: provider.cancelled == [provider.assignments[0].lease_id])
    assert [event["kind"] for event in events_of(second, job_id)].count("cancelled") == 1


def test_a_provider_that_moves_keeps_its_lease_and_leaves_its_old_session(
    pair: tuple[HubProcess, HubProcess], join: Join
) -> None:
    first, second = pair
    provider = join(first, behaviour=never, stays_away=True)
    job_id = first.post_job(prompt="a bag", wait_s=0).json()["job_id"]
    wait_until(lambda: provider.assignments)
    moved = join(second)
    job = second.ended(job_id)
    assert (job["status"], job["provider"]) == ("done", moved.address)
    assert [each.lease_id for each in moved.assignments] == [each.lease_id for each in provider.assignments]
    wait_until(lambda: any(refusal.reason == "replaced" for refusal in provider.refusals))


def test_one_dies_and_the_other_carries_on(pair: tuple[HubProcess, HubProcess], join: Join) -> None:
    first, second = pair
    provider = join(first, behaviour=never)
    taken = first.post_job(prompt="a lake", wait_s=0).json()["job_id"]
    wait_until(lambda: provider.assignments)
    first.kill()
    try:
        provider.hang_up()
        moved = join(second)
        job = second.ended(taken)
        assert (job["status"], job["provider"]) == ("done", moved.address)
    finally:
        first.start()
    assert first.job(taken)["status"] == "done"


def test_the_database_is_killed_under_both(
    pair: tuple[HubProcess, HubProcess],
    join: Join,
    chain: Chain,
    crew: list[PrivateKey],
    server: PostgresqlServer,
) -> None:
    first, second = pair
    provider = join(second, behaviour=slowly)
    job_id = wait_until(
        lambda: sent.json()["job_id"] if (sent := first.post_job(prompt="a fox", wait_s=0)).status_code == 202 else None
    )
    wait_until(lambda: provider.assignments)
    server.kill()
    answer = first.post_job(prompt="a bear", wait_s=0)
    assert (answer.status_code, answer.json()["reason"]) == (503, "database_unavailable")
    wait_until(lambda: first.request("GET", "/healthz").status_code == 503)
    server.start(is_durable=True)
    for hub in pair:
        wait_until(lambda it=hub: it.request("GET", "/readyz").status_code == 200)  # type: ignore[misc]
    assert first.ended(job_id)["status"] == "done"
    job = wait_until(
        lambda: sent.json() if (sent := first.post_job(prompt="a bear")).status_code == 200 else None, 2 * PATIENCE_S
    )
    assert job["status"] == "done"
    for number in (1, 2):
        join(first, number)
    check(first, chain, crew)
