"""The chain's node killed under a running hub: jobs go on, attestations wait, and are minted once it is back."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from tests.hub.bad_days.invariants import check
from tests.hub.dialled import DialledProvider
from tests.hub.running import Chain, HubProcess, wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One of its own, to be killed."""
    network = Chain(tmp_path_factory.mktemp("chain"))
    yield network
    network.close()


def test_jobs_go_on_and_attestations_wait(
    make_hub: Callable[..., HubProcess], join: Callable[..., DialledProvider], chain: Chain, crew: list[PrivateKey]
) -> None:
    hub = make_hub(AITBC_HUB_CHAIN_GRACE_S=3_600)
    join(hub)
    before = hub.post_job(prompt="a star").json()
    assert before["status"] == "done"
    wait_until(lambda: hub.job(before["job_id"])["mint"]["state"] == "minted")
    chain.kill()
    job_ids: list[str] = []

    def served_without_the_chain() -> dict[str, Any]:
        job_id = hub.post_job(prompt=f"a moon {len(job_ids)}", n=3, wait_s=0).json()["job_id"]
        job_ids.append(job_id)
        wait_until(lambda: hub.job(job_id)["pictures_done"] == 3)
        served: dict[str, Any] = hub.job(job_id, wait_s=1)
        return served

    # What the hub has read of the chain's attesters is good for a moment, so a first job may still be attested.
    wait_until(lambda: served_without_the_chain()["status"] == "verifying")
    job = served_without_the_chain()
    assert (job["status"], job["receipt"]) == ("verifying", None)
    assert hub.request("GET", job["pictures"][2]["url"]).status_code == 200
    assert all(hub.job(job_id)["mint"]["state"] != "minted" for job_id in job_ids)
    assert hub.request("GET", "/healthz").status_code == 200
    chain.start()
    assert {hub.ended(job_id)["status"] for job_id in job_ids} == {"done"}
    check(hub, chain, crew)


def test_a_hub_that_has_not_heard_of_the_chain_for_long_takes_nothing(
    make_hub: Callable[..., HubProcess], join: Callable[..., DialledProvider], chain: Chain
) -> None:
    hub = make_hub(AITBC_HUB_CHAIN_GRACE_S=1)
    join(hub)
    assert hub.request("GET", "/readyz").json() == {"status": "ok"}
    chain.kill()
    wait_until(lambda: hub.request("GET", "/readyz").status_code == 503)
    assert hub.request("GET", "/healthz").status_code == 200
    answer = hub.post_job(prompt="a comet", wait_s=0)
    assert (answer.status_code, answer.json()["reason"], answer.headers["Retry-After"]) == (503, "not_ready", "5")
    chain.start()
    wait_until(lambda: hub.request("GET", "/readyz").status_code == 200)
