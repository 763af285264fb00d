"""What the tests of the JSON-RPC share: a plain client that knows nothing of what it should be answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.chain.conftest import RunningNode

JSON = {"Content-Type": "application/json"}


class RpcClient:
    """Calls over HTTP."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=40)

    def post(self, body: bytes | str, path: str = "/rpc") -> httpx.Response:
        """Any bytes as a request."""
        return self.http.post(path, content=body, headers=JSON)

    def request(self, method: str, *parameters: Any) -> dict[str, Any]:
        """The whole response to one call."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = self.http.post("/rpc", json=call)
        assert answer.status_code == 200, answer.text
        response: dict[str, Any] = answer.json()
        assert (response.pop("jsonrpc"), response.pop("id")) == ("2.0", 1)
        assert len(response) == 1
        return response

    def call(self, method: str, *parameters: Any) -> Any:
        """The result of a call that goes well."""
        response = self.request(method, *parameters)
        assert "result" in response, response
        return response["result"]

    def error(self, method: str, *parameters: Any) -> dict[str, Any]:
        """The error of one that does not."""
        error: dict[str, Any] = self.request(method, *parameters)["error"]
        assert isinstance(error["code"], int)
        assert isinstance(error["message"], str)
        return error

    def batch(self, *calls: dict[str, Any]) -> Any:
        """The response to a batch."""
        return self.http.post("/rpc", json=[{"jsonrpc": "2.0", **call} for call in calls]).json()


@pytest.fixture
def rpc_of() -> Iterator[Callable[[RunningNode], RpcClient]]:
    """Makes clients of nodes."""
    clients: list[RpcClient] = []

    def make(node: RunningNode) -> RpcClient:
        clients.append(RpcClient(node.url))
        return clients[-1]

    yield make
    for client in clients:
        client.http.close()


@pytest.fixture
def rpc(node: RunningNode, rpc_of: Callable[[RunningNode], RpcClient]) -> RpcClient:
    """A client of the node with the default parameters."""
    return rpc_of(node)


@pytest.fixture(scope="module")
def rpc_client() -> type[RpcClient]:
    """For tests that look after their clients themselves."""
    return RpcClient
