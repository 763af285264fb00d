"""The network of these tests: started once, with three registered providers and two attesters."""

from collections.abc import Iterator

import pytest

from tests.hub.attestation.hubs import TwoAttesterChain, running_chain


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoAttesterChain]:
    """Every mint and settlement needs both attesters."""
    with running_chain(tmp_path_factory.mktemp("network") / "node") as chain:
        yield chain
