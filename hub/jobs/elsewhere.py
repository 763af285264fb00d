"""Providers that are connected to other processes of this hub, as the database knows them.

Also to one that was killed a moment ago, perhaps this hub's only one before this: they are about to dial again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chain.primitives.hexadecimal import parse_address
from chain.primitives.types import Address, Amount
from hub.store import leases, sessions
from hub.store.sessions import Session
from hub.store.store import now_ms
from hub.store.transaction import Reader
from hub.workers.desk import OfferedModel, WorkerView

_ALIVE_MS: Final = 15_000
"""A process says every five seconds that it lives. What one that died had is not counted on for longer."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """As of one reading."""

    views: dict[Address, WorkerView]
    busy_until_s: dict[Address, list[float]]
    """When each of their leases is expected to end, on the monotonic clock."""


def read(reader: Reader, process: str) -> Elsewhere:
    """Of all processes but this one."""
    now, now_s = now_ms(), time.monotonic()
    found = [each for each in sessions.alive(reader, since_ms=now - _ALIVE_MS) if each.process != process]
    busy: dict[Address, list[float]] = {}
    pictures: dict[Address, int] = {}
    names = {each.provider for each in found}
    for lease in leases.active(reader) if names else ():
        if lease.provider in names:
            address = parse_address(lease.provider)
            expected_s = float(lease.attributes.get("expected_s", (lease.deadline_ms - lease.started_at_ms) / 1_000))
            busy.setdefault(address, []).append(now_s + expected_s - (now - lease.started_at_ms) / 1_000)
            pictures[address] = pictures.get(address, 0) + lease.pictures
    views = [_view_of(each, busy, pictures) for each in found]
    return Elsewhere({view.address: view for view in views}, busy)


def declared_by(view: WorkerView) -> dict[str, Any]:
    """What a provider says of itself, as it is kept and shown."""
    return {
        "models": {
            name: {"price_per_unit": str(model.price_per_unit), "vram_mib": model.vram_mib}
            for name, model in view.models.items()
        },
        "loaded": sorted(name for name, model in view.models.items() if model.is_loaded),
        "unit_type": view.unit_type,
        "device": view.device,
        "device_class": view.device_class,
        "vram_mib": view.vram_mib,
        "slots": view.slots,
        "concurrency": view.concurrency,
        "max_pictures": view.max_pictures,
        "records_trajectories": view.records_trajectories,
        "software": view.software,
    }


def _view_of(session: Session, busy: dict[Address, list[float]], pictures: dict[Address, int]) -> WorkerView:
    declared, address = session.declared, parse_address(session.provider)
    loaded: Sequence[str] = declared.get("loaded", ())
    return WorkerView(
        address=address,
        session_id=session.session,
        connected_at_s=session.opened_at_ms / 1_000,
        models={
            name: OfferedModel(Amount(int(model["price_per_unit"])), name in loaded, model["vram_mib"])
            for name, model in declared["models"].items()
        },
        unit_type=declared["unit_type"],
        device=declared["device"],
        device_class=declared["device_class"],
        vram_mib=declared["vram_mib"],
        slots=declared["slots"],
        concurrency=declared["concurrency"],
        max_pictures=declared["max_pictures"],
        records_trajectories=declared.get("records_trajectories", False),
        software=declared["software"],
        leased_pictures=pictures.get(address, 0),
        busy_until_s=tuple(busy.get(address, ())),
        busy_slots=len(busy.get(address, ())),
        waiting_pictures=0,
        is_draining=False,
        suspension=None,
    )
