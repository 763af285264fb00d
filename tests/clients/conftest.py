"""One network for all tests of this folder: its processes take seconds to start, and its people do not meet."""

from collections.abc import Iterator

import pytest

from chain.primitives.keys import PrivateKey
from tests.clients.network import DevnetNetwork


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetNetwork]:
    """The nodes of a devnet."""
    with DevnetNetwork(tmp_path_factory.mktemp("clients") / "net") as running:
        yield running


@pytest.fixture
def holder(network: DevnetNetwork) -> PrivateKey:
    """Somebody with 100 AIT."""
    return network.funded()
