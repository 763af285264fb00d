"""What the tests of settlements share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chain.rules.escrow.paid_jobs import deposit

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain


@pytest.fixture
def paying_chain(rich_chain: Chain) -> Chain:
    """alice has put DEPOSITED aside for HUB; bob holds 100 AIT and nothing there."""
    rich_chain.add(deposit(rich_chain))
    return rich_chain
