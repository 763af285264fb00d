"""Who is asked to check: drawn by lot, but never a stranger where somebody with a standing is there."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address, Amount
from hub.jobs.asking import HelpingHands
from hub.jobs.roster import Roster
from hub.store import providers
from hub.store.providers import Standing
from hub.store.store import HubIdentity, Store, now_ms
from hub.workers.desk import OfferedModel, WorkerView
from hub.workers.orders import Orders
from tests.hub.verification.toy_model import PROFILE, RUN, profile

MAKER, *OTHERS = (Address(bytes([number]) * 20) for number in range(1, 7))


def view(address: Address, **fields: Any) -> WorkerView:
    known = WorkerView(
        address=address,
        session_id=address.hex()[:16],
        connected_at_s=time.time(),
        models={RUN.model: OfferedModel(Amount(1), True, 0)},
        unit_type="images",
        device="a test",
        device_class="cuda",
        vram_mib=0,
        slots=1,
        concurrency=1,
        max_pictures=1,
        records_trajectories=True,
        software="test",
        leased_pictures=0,
        busy_until_s=(),
        busy_slots=0,
        waiting_pictures=0,
        is_draining=False,
        suspension=None,
    )
    return replace(known, **fields)


class Room:
    """Who is connected."""

    def __init__(self, *present: WorkerView) -> None:
        self.orders = Orders({})
        self._present = present

    def views(self) -> list[WorkerView]:
        return list(self._present)

    def view(self, provider: Address) -> WorkerView | None:
        return next((each for each in self._present if each.address == provider), None)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", HubIdentity("hub-1", 424_242, "0x" + "ab" * 32))
    yield opened
    await opened.close()


async def chosen(store: Store, *present: WorkerView, excluded: frozenset[Address] = frozenset()) -> Counter[Any]:
    """Forty times."""
    hands = HelpingHands(Room(*present), Roster(store, "here"))
    found: Counter[Any] = Counter()
    for _ in range(40):
        found[await hands.find_checker(RUN, excluded=frozenset({MAKER}) | excluded, profile=PROFILE)] += 1
    return found


def raised(store: Store, address: Address, standing: Standing) -> None:
    name = to_checksum_address(address)
    store.write_now(lambda t: providers.change(t, name, lambda known: replace(known, standing=standing), now_ms()))


async def test_equals_are_drawn_by_lot_and_never_the_maker(store: Store) -> None:
    found = await chosen(store, view(MAKER), *(view(other) for other in OTHERS[:3]))
    assert set(found) == set(OTHERS[:3])


async def test_a_crowd_of_newcomers_does_not_check_where_somebody_has_a_standing(store: Store) -> None:
    raised(store, OTHERS[4], Standing.NORMAL)
    crowd = [view(other) for other in OTHERS[:4]]
    busy = view(OTHERS[4], device_class="cpu", leased_pictures=3)
    assert set(await chosen(store, *crowd, busy)) == {OTHERS[4]}
    assert set(await chosen(store, *crowd, busy, excluded=frozenset({OTHERS[4]}))) == set(OTHERS[:4])


async def test_the_same_kind_of_device_comes_first_then_whoever_is_idle(store: Store) -> None:
    views = [view(OTHERS[0], device_class="cpu"), view(OTHERS[1], leased_pictures=1), view(OTHERS[2])]
    assert set(await chosen(store, *views)) == {OTHERS[2]}
    hands = HelpingHands(Room(*views), Roster(store, "here"))
    on_cpu = profile(device_class="cpu")
    assert await hands.find_checker(RUN, excluded=frozenset(), profile=on_cpu) == OTHERS[0]


async def test_nobody_who_is_paused_leaves_or_has_another_model(store: Store) -> None:
    name = to_checksum_address(OTHERS[3])
    store.write_now(
        lambda t: providers.suspend(t, name, until_ms=None, reason="cheat", detail="caught", now_ms=now_ms())
    )
    absent = [
        view(OTHERS[0], suspension="rest"),
        view(OTHERS[1], is_draining=True),
        view(OTHERS[2], models={}),
        view(OTHERS[3]),
    ]
    assert set(await chosen(store, *absent)) == {None}
