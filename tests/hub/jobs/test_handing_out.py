"""Whoever loses a race for work to another process looks again; real rows on PostgreSQL."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.engine import Connection

from chain.primitives.hexadecimal import parse_address
from chain.primitives.types import Amount
from hub.jobs.handing_out import HandingOut
from hub.jobs.places import DeskParts, Present
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.scheduling.assignment import Scheduler, SchedulingOptions
from hub.scheduling.fairness import FairClock
from hub.store.database import open_engine
from hub.store.store import Store
from hub.store.waiting import WaitingShard
from hub.workers.desk import OfferedModel, WorkerView
from tests.hub.postgresql import PostgresqlServer, running_server
from tests.hub.store.conftest import ANNA, add_job

pytestmark = pytest.mark.postgresql
MODEL = "aitbc/tiny-sd"


class Looking(Queue):
    """Counts, and has something happen before a look."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looks = 0
        self.before: dict[int, Callable[[], object]] = {}

    async def page(self, number: int, size: int, models: Collection[str]) -> list[WaitingShard]:
        self.looks += 1
        self.before.get(self.looks, int)()
        return await super().page(number, size, models)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def url(server: PostgresqlServer) -> Iterator[str]:
    made = server.url()
    yield made
    server.drop(made)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url, None)
    request = {"width": 256, "height": 256, "steps": 5, "guidance": 2.5}
    add_job(
        opened, model=MODEL, request=request, facts={"most_atoms": "1000", "unit_type": "images"}, price_per_unit=100
    )
    yield opened
    opened.close_now()


@pytest.fixture
def other(url: str) -> Iterator[Connection]:
    """Another process's, which is at the only job that waits."""
    engine = open_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def hold(connection: Connection) -> None:
    assert connection.exec_driver_sql("SELECT 1 FROM jobs WHERE job_id = 'job-1' FOR UPDATE").all()


def handing_out(store: Store, queue: Queue) -> HandingOut:
    unused: Any = None
    parts = DeskParts(
        store=store,
        artifacts=unused,
        chain=unused,
        roster=Roster(store, "p"),
        queue=queue,
        scheduler=Scheduler(SchedulingOptions(), FairClock()),
        board=unused,
        checking=unused,
        keeping=unused,
        judging=unused,
        wishes=unused,
        metrics=HubMetrics(CollectorRegistry()),
        process="p",
    )
    return HandingOut(parts, Present())


def anna() -> WorkerView:
    return WorkerView(
        address=parse_address(ANNA),
        session_id="session-a",
        connected_at_s=0.0,
        models={MODEL: OfferedModel(Amount(100), True, 0)},
        unit_type="images",
        device="a test",
        device_class="cpu",
        vram_mib=0,
        slots=1,
        concurrency=1,
        max_pictures=4,
        records_trajectories=False,
        software="test",
        leased_pictures=0,
        busy_until_s=(),
        busy_slots=0,
        waiting_pictures=0,
        is_draining=False,
        suspension=None,
    )


async def test_what_another_process_lets_go_is_had_without_waiting_for_news(store: Store, other: Connection) -> None:
    queue = Looking(store)
    queue.before[2] = other.rollback
    hold(other)
    (grant,) = await handing_out(store, queue).assign([anna()])
    assert (grant.message.job_id, queue.looks) == ("job-1", 2)


async def test_a_process_that_holds_on_is_not_looked_at_for_ever(store: Store, other: Connection) -> None:
    queue = Looking(store)
    hold(other)
    desk = handing_out(store, queue)
    assert await desk.assign([anna()]) == []
    assert queue.looks == 4
    # What was decided in vain is given back: the same provider is as free as before.
    other.rollback()
    (grant,) = await desk.assign([anna()])
    assert (grant.message.job_id, queue.looks) == ("job-1", 5)


async def test_where_nothing_waits_one_look_is_enough(store: Store) -> None:
    queue = Looking(store)
    desk = handing_out(store, queue)
    assert len(await desk.assign([anna()])) == 1
    assert await desk.assign([anna()]) == []
    assert queue.looks == 1
