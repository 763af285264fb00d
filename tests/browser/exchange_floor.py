"""A node with a market of its own, for tests of the web exchange, and people in browsers who visit it.

Pictures of the pages are written where AITBC_PICTURES names a folder, for whoever wants to look at them.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Final

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from tests.chain.conftest import People, RunningNode
from tests.chain.trading import Trading
from tests.clients.network import run_script

SCENARIOS: Final = Path(__file__).parent / "exchange.mjs"
TROUBLES: Final = Path(__file__).parent / "exchange_trouble.mjs"


def visit(page_url: str, scenario: str, *, script: Path = SCENARIOS, **inputs: Any) -> dict[str, Any]:
    """What people in browsers saw."""
    more = {"pageUrl": page_url, "chromiumPath": shutil.which("chromium"), "pictures": os.environ.get("AITBC_PICTURES")}
    return run_script(script, scenario, {**more, **inputs}, timeout_s=240)


def assert_quiet(node_url: str, person: dict[str, Any]) -> None:
    """No error in the browser's console, such as one of the content-security policy's; and only the node was asked."""
    assert person["said"] == []
    assert person["asked"] == [node_url]


class Floor:
    """A node with a market of its own, and people who hold something."""

    def __init__(self, path: Path) -> None:
        people = People()
        self.node = RunningNode(people, path)
        self.trading = Trading(people)
        for transactions in self.trading.founding():
            assert set(self.node.settle(*transactions)) == {"success"}

    @property
    def client(self) -> NodeClient:
        """The node's REST."""
        return self.node.client

    @property
    def page_url(self) -> str:
        """Of the market."""
        return f"{self.node.url}/exchange/1"

    def key(self, name: str) -> str:
        """Of somebody, in hex."""
        return to_hex(self.trading.people.key(name).secret)

    def address(self, name: str) -> str:
        """Of somebody, as people write it."""
        return to_checksum_address(self.trading.people.address(name))

    def visit(self, scenario: str, **inputs: Any) -> dict[str, Any]:
        """What people in browsers saw of the market."""
        return visit(self.page_url, scenario, **inputs)
