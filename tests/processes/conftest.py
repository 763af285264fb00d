"""What the tests with real processes share."""

from collections.abc import Iterator

import pytest

from tests.processes.links import Links


@pytest.fixture
def links() -> Iterator[Links]:
    """Proxies between nodes."""
    with Links() as proxies:
        yield proxies
