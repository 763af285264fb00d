"""A mailbox between the hub's processes: what one wants of a provider that is connected to another."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select, text, update

from hub.store.records import columns_of, made
from hub.store.tables.providers import ORDERS
from hub.store.transaction import Reader, Transaction

TOPIC: Final = "orders"
"""Announced when there is a new one."""
_IS_WAITING: Final = text("orders.state = 'waiting'")


class OrderState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    TAKEN = "taken"
    ANSWERED = "answered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted, and what came of it."""

    order_id: str
    provider: str
    body: dict[str, Any]
    state: OrderState
    taken_by: str | None
    answer: dict[str, Any] | None
    created_at_ms: int
    expires_at_ms: int


_ORDER: Final = select(*columns_of(ORDERS, Order))


def _order_of(row: Any) -> Order:
    return made(Order, {**row, "state": OrderState(row["state"])})


def topic(order_id: str) -> str:
    """Announced when the order has its answer."""
    return f"order/{order_id}"


def put(
    transaction: Transaction, order_id: str, *, provider: str, body: dict[str, Any], now_ms: int, expires_at_ms: int
) -> None:
    """For whichever process has the provider's session."""
    transaction.insert(
        ORDERS,
        order_id=order_id,
        provider=provider,
        body=body,
        state=OrderState.WAITING,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
    )
    transaction.announce(TOPIC)


def take_for(
    transaction: Transaction, providers: Collection[str], *, process: str, now_ms: int, limit: int = 64
) -> list[Order]:
    """Orders to these providers that have not expired, each to one process only, oldest first."""
    free = (
        select(ORDERS.c.order_id)
        .where(_IS_WAITING, ORDERS.c.provider.in_(providers), ORDERS.c.expires_at_ms > now_ms)
        .order_by(ORDERS.c.created_at_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    chosen = transaction.execute(free).scalars().all()
    if not chosen:
        return []
    rows = transaction.execute(
        update(ORDERS)
        .where(ORDERS.c.order_id.in_(chosen))
        .values(state=OrderState.TAKEN, taken_by=process)
        .returning(*columns_of(ORDERS, Order))
    ).mappings()
    return sorted((_order_of(row) for row in rows), key=lambda order: (order.created_at_ms, order.order_id))


def answer(transaction: Transaction, order_id: str, answer: dict[str, Any], *, is_failure: bool = False) -> bool:
    """What came of it; False where it has an answer, or is forgotten."""
    state = OrderState.FAILED if is_failure else OrderState.ANSWERED
    open_states = (OrderState.WAITING, OrderState.TAKEN)
    answered = transaction.execute(
        update(ORDERS)
        .where(ORDERS.c.order_id == order_id, ORDERS.c.state.in_(open_states))
        .values(state=state, answer=answer)
    )
    transaction.announce(topic(order_id))
    return answered.rowcount == 1


def get(reader: Reader, order_id: str) -> Order | None:
    """The order as it is; None once it is forgotten, some time after it expired."""
    row = reader.execute(_ORDER.where(ORDERS.c.order_id == order_id)).mappings().one_or_none()
    return None if row is None else _order_of(row)
