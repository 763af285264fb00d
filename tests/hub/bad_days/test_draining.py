"""SIGTERM: nothing new is taken, providers are told, what is under way ends, and the hub answers until then."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from chain.primitives.hub_messages import Assignment
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import HubProcess, wait_until

pytestmark = pytest.mark.timeout(600)


def test_what_is_under_way_ends(make_hub: Callable[..., HubProcess], join: Callable[..., DialledProvider]) -> None:
    may_go_on = threading.Event()

    async def when_told(provider: DialledProvider, assignment: Assignment) -> None:
        await asyncio.to_thread(may_go_on.wait)
        await serve_honestly(provider, assignment)

    hub = make_hub(shutdown_grace_s=60)
    provider = join(hub, behaviour=when_told)
    job_id = hub.post_job(prompt="a bell", wait_s=0).json()["job_id"]
    wait_until(lambda: provider.assignments)
    assert hub.process is not None
    hub.process.terminate()
    wait_until(lambda: hub.request("GET", "/readyz").status_code == 503)
    answer = hub.post_job(prompt="a horn", wait_s=0)
    assert (answer.status_code, answer.json()["reason"]) == (503, "shutting_down")
    assert int(answer.headers["Retry-After"]) > 0
    fields = {"prompt": "a horn", "size": "256x256"}
    assert hub.request("POST", "/v1/images/generations", json=fields).status_code == 503
    assert hub.request("GET", "/healthz").status_code == 200
    assert hub.job(job_id)["status"] == "running"
    may_go_on.set()
    assert hub.process.wait(60) == 0, hub.log
    assert provider.taken == [provider.assignments[0].lease_id]
    assert "Traceback" not in hub.log
    hub.start()
    assert hub.ended(job_id)["status"] == "done"


def test_what_does_not_end_in_time_is_taken_up_again(
    make_hub: Callable[..., HubProcess], join: Callable[..., DialledProvider]
) -> None:
    async def never(_provider: DialledProvider, _assignment: Assignment) -> None:
        """Takes work and does nothing."""

    hub = make_hub(shutdown_grace_s=1)
    provider = join(hub, behaviour=never)
    job_id = hub.post_job(prompt="a drum", wait_s=0).json()["job_id"]
    wait_until(lambda: provider.assignments)
    assert hub.stop() == 0, hub.log
    provider.behaviour = serve_honestly
    hub.start()
    assert hub.ended(job_id)["status"] == "done"
    assert {each.lease_id for each in provider.assignments} == {provider.assignments[0].lease_id}
