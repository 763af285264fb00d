"""What the hub's tests share: a chain, registered providers, a hub that most tests use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from tests.hub.dialled import DialledProvider
from tests.hub.running import Chain, HubProcess


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The network of all tests of the hub."""
    network = Chain(tmp_path_factory.mktemp("chain"))
    yield network
    network.close()


@pytest.fixture(scope="session")
def provider_keys(chain: Chain) -> list[PrivateKey]:
    """Of providers that are registered."""
    keys = [PrivateKey(bytes([0x51 + number]) * 32) for number in range(3)]
    for key in keys:
        chain.register(key)
    return keys


@pytest.fixture
def make_hub(tmp_path: Path, chain: Chain) -> Iterator[Callable[..., HubProcess]]:
    """Starts hubs of the test's own."""
    made: list[HubProcess] = []

    def make(**flags: Any) -> HubProcess:
        made.append(HubProcess(tmp_path / f"hub-{len(made)}", chain, **flags).start())
        return made[-1]

    yield make
    for hub in made:
        if hub.process is not None and hub.process.poll() is None:
            hub.stop()


@pytest.fixture
def dial(chain: Chain, provider_keys: list[PrivateKey]) -> Iterator[Callable[..., DialledProvider]]:
    """Providers that are connected until the test ends."""
    made: list[DialledProvider] = []

    def make(hub: HubProcess, number: int = 0, **fields: Any) -> DialledProvider:
        provider = DialledProvider(provider_keys[number], chain, **fields)
        made.append(provider)
        return provider.dial(hub.workers_url)

    yield make
    for provider in made:
        provider.hang_up()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, provider_keys: list[PrivateKey]
) -> Iterator[tuple[HubProcess, DialledProvider, DialledProvider]]:
    """A hub that a file's tests share, with two providers."""
    hub = HubProcess(tmp_path_factory.mktemp("hub"), chain, webhook_networks="127.0.0.0/8").start()
    providers = [DialledProvider(key, chain).dial(hub.workers_url) for key in provider_keys[:2]]
    yield hub, providers[0], providers[1]
    for provider in providers:
        provider.hang_up()
    assert hub.stop() == 0, hub.log
