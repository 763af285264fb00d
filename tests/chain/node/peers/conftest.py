"""Fixtures of the peer network's tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from chain.primitives.network import Network
from tests.chain.node.peers.stations import Enter, Intruder, MakeStation, Station, key_of


@pytest.fixture(scope="module", autouse=True)
def quiet_logs() -> Iterator[None]:
    """Only errors."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def make_station() -> AsyncIterator[MakeStation]:
    """Starts stations, and stops them: `await make_station(network, "name" or None, **settings)`."""
    stations: list[Station] = []

    async def make(network: Network, name: str | None = None, **settings: Any) -> Station:
        station = Station(network, key_of(name) if name is not None else None, **settings)
        stations.append(station)
        await station.start()
        return station

    yield make
    await asyncio.gather(*(station.stop() for station in stations))


@pytest.fixture
async def enter() -> AsyncIterator[Enter]:
    """Intruders, who leave with the test."""
    intruders: list[Intruder] = []

    async def make(station: Station, *arguments: Any, **options: Any) -> Intruder:
        intruders.append(await Intruder.enter(station, *arguments, **options))
        return intruders[-1]

    yield make
    for intruder in intruders:
        intruder.leave()
