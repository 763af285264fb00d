"""The mailbox between processes: each order is taken once and answered once."""

from collections.abc import Callable

from hub.store import orders
from hub.store.orders import Order, OrderState
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, NOW_MS


def put(store: Store, order_id: str, provider: str = ANNA) -> None:
    store.write_now(
        lambda t: orders.put(
            t, order_id, provider=provider, body={"type": "open"}, now_ms=NOW_MS, expires_at_ms=NOW_MS + 100
        )
    )


def take(store: Store, *providers: str, now_ms: int = NOW_MS) -> list[str]:
    taken = store.write_now(lambda t: orders.take_for(t, providers, process="q", now_ms=now_ms))
    return [order.order_id for order in taken]


def the_order(store: Store, order_id: str) -> Order:
    order = store.read_now(lambda c: orders.get(c, order_id))
    assert order is not None
    return order


async def test_an_order_goes_to_the_provider_s_process_and_its_answer_comes_back(
    open_store: Callable[[], Store],
) -> None:
    here, there = open_store(), open_store()
    put(here, "o-1")
    put(here, "o-2", BERTA)

    assert take(there, BERTA) == ["o-2"]
    assert take(there, ANNA, BERTA) == ["o-1"]
    assert take(here, ANNA, BERTA) == []
    async with here.announcements.subscribe(orders.topic("o-1")) as changes:
        assert await there.write(lambda t: orders.answer(t, "o-1", {"yes": 1}))
        while (await here.read(lambda c: orders.get(c, "o-1"))).state != OrderState.ANSWERED:  # type: ignore[union-attr]
            assert await changes.wait(30)

    assert not there.write_now(lambda t: orders.answer(t, "o-1", {"no": 1}, is_failure=True))
    assert the_order(here, "o-1").answer == {"yes": 1}
    assert there.write_now(lambda t: orders.answer(t, "o-2", {"why": "gone"}, is_failure=True))
    assert (the_order(here, "o-2").state, the_order(here, "o-2").taken_by) == (OrderState.FAILED, "q")


def test_an_expired_order_is_not_taken(store: Store) -> None:
    put(store, "o-1")

    assert take(store, ANNA, now_ms=NOW_MS + 100) == []
    assert the_order(store, "o-1").state == OrderState.WAITING
