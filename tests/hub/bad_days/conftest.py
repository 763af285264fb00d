"""Providers of these tests' own, so that what they have on the chain is what they were paid here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from tests.hub.dialled import DialledProvider
from tests.hub.running import Chain, HubProcess


@pytest.fixture(scope="module")
def crew(chain: Chain) -> list[PrivateKey]:
    """Registered, and never paid before."""
    keys = [PrivateKey.generate() for _ in range(3)]
    for key in keys:
        chain.register(key)
    return keys


@pytest.fixture(scope="module")
def outboxes(crew: list[PrivateKey]) -> list[dict[str, Any]]:
    """What a provider has on its disk: receipts that it signed, attestations of them."""
    return [{"receipts": {}, "attested": []} for _ in crew]


@pytest.fixture
def join(
    chain: Chain, crew: list[PrivateKey], outboxes: list[dict[str, Any]]
) -> Iterator[Callable[..., DialledProvider]]:
    """Connects one of them until the test ends."""
    made: list[DialledProvider] = []

    def connect(hub: HubProcess, number: int = 0, **fields: Any) -> DialledProvider:
        made.append(DialledProvider(crew[number], chain, **outboxes[number], **fields))
        return made[-1].dial(hub.workers_url)

    yield connect
    for provider in made:
        provider.hang_up()
