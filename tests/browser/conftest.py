"""One network for all tests of this folder: its processes take seconds to start, and its people do not meet."""

from collections.abc import Iterator
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey
from genesis.topology import DEVNET_NAME, wallet_network
from tests.clients.network import DevnetNetwork


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetNetwork]:
    """The nodes of a devnet."""
    with DevnetNetwork(tmp_path_factory.mktemp("wallets") / "net") as running:
        yield running


@pytest.fixture
def holder(network: DevnetNetwork) -> PrivateKey:
    """Somebody with 100 AIT."""
    return network.funded()


@pytest.fixture
def chain_parameter(network: DevnetNetwork) -> dict[str, Any]:
    """What a wallet is told to add the network, as `aitbc devnet` writes it."""
    return wallet_network(network.chain_id, DEVNET_NAME, network.url)
